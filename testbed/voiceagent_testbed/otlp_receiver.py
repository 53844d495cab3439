"""A collector for tests: takes OTLP over HTTP and gRPC as a real one does, parses it, and keeps what it was told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import grpc
from aiohttp import web
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

PROTOBUF = "application/x-protobuf"


@dataclass(frozen=True, slots=True)
class Span:
    """One finished span; ids in hexadecimal, an empty `parent_id` is that of a root, attribute values as text."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    seconds: float
    resource: dict[str, str]
    attributes: dict[str, str]
    events: tuple[tuple[str, dict[str, str]], ...]

    @property
    def service(self) -> str:
        """The name of who made it."""
        return self.resource.get("service.name", "")

    @property
    def text(self) -> str:
        """All that the span says, for a search through it."""
        groups = [(self.name, self.attributes), ("resource", self.resource), *self.events]
        return "\n".join(f"{name} {key}={value}" for name, group in groups for key, value in group.items())


@dataclass(frozen=True, slots=True)
class Point:
    """One number of a metric as one request told it; of a histogram `value` is the sum."""

    name: str
    value: float
    count: int
    bounds: tuple[float, ...]
    delta: bool
    resource: dict[str, str]
    attributes: dict[str, str]

    @property
    def text(self) -> str:
        """All that the point says, for a search through it."""
        return f"{self.name} {self.resource} {self.attributes}"


class OTLPReceiver:
    """A collector on loopback: `async with OTLPReceiver() as collector: collector.endpoint`."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.points: list[Point] = []
        self.headers: list[dict[str, str]] = []
        self.delay = 0.0  # seconds before each answer
        application = web.Application(client_max_size=64 * 1024 * 1024)
        application.router.add_post("/v1/{signal:traces|metrics}", self._take)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        self._port = self._grpc_port = 0

    @property
    def endpoint(self) -> str:
        """What OTEL_EXPORTER_OTLP_ENDPOINT takes."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def grpc_endpoint(self) -> str:
        """The same for OTEL_EXPORTER_OTLP_PROTOCOL=grpc."""
        return f"http://127.0.0.1:{self._grpc_port}"

    def named(self, name: str) -> list[Span]:
        """Return the spans of this name, in the order in which they came."""
        return [span for span in self.spans if span.name == name]

    def points_of(self, name: str) -> list[Point]:
        """Return the points of the metric of this name, in the order in which they came."""
        return [point for point in self.points if point.name == name]

    async def _take(self, request: web.Request) -> web.Response:
        if request.content_type != PROTOBUF:
            return web.Response(status=415, text=f"send {PROTOBUF}")
        traces = request.match_info["signal"] == "traces"
        wanted = ExportTraceServiceRequest if traces else ExportMetricsServiceRequest
        try:
            message = wanted.FromString(await request.read())  # aiohttp unpacks gzip
        except DecodeError as error:
            return web.Response(status=400, text=f"no {wanted.__name__}: {error}")
        self.headers.append(dict(request.headers))
        answer = await self._keep(message)
        return web.Response(body=answer.SerializeToString(), content_type=PROTOBUF)

    async def Export(self, message: Any, context: Any) -> Any:  # noqa: N802 - the name of both gRPC methods
        """Answer a request by gRPC."""
        self.headers.append({key: str(value) for key, value in context.invocation_metadata()})
        return await self._keep(message)

    async def _keep(
        self, message: ExportTraceServiceRequest | ExportMetricsServiceRequest
    ) -> ExportTraceServiceResponse | ExportMetricsServiceResponse:
        await asyncio.sleep(self.delay)
        if isinstance(message, ExportTraceServiceRequest):
            for group in message.resource_spans:
                resource = _attributes(group.resource.attributes)
                self.spans += [_span(span, resource) for scope in group.scope_spans for span in scope.spans]
            return ExportTraceServiceResponse()
        for each in message.resource_metrics:
            resource = _attributes(each.resource.attributes)
            metrics = [metric for scope in each.scope_metrics for metric in scope.metrics]
            self.points += [point for metric in metrics for point in _points(metric, resource)]
        return ExportMetricsServiceResponse()

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self._port = self._runner.addresses[0][1]
        self._grpc = grpc.aio.server()
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self._grpc)  # type: ignore[no-untyped-call]
        metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(self, self._grpc)  # type: ignore[no-untyped-call]
        self._grpc_port = self._grpc.add_insecure_port("127.0.0.1:0")
        await self._grpc.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._grpc.stop(grace=None)
        await self._runner.cleanup()


def _points(metric: Metric, resource: dict[str, str]) -> Iterable[Point]:
    kind = metric.WhichOneof("data")
    data = getattr(metric, kind or "gauge")
    for point in data.data_points:
        histogram = kind == "histogram"
        yield Point(
            name=metric.name,
            value=point.sum if histogram else point.as_double or point.as_int,
            count=point.count if histogram else 1,
            bounds=tuple(point.explicit_bounds) if histogram else (),
            delta=kind != "gauge"
            and data.aggregation_temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA,
            resource=resource,
            attributes=_attributes(point.attributes),
        )


def _span(span: SpanMessage, resource: dict[str, str]) -> Span:
    return Span(
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
        resource=resource,
        attributes=_attributes(span.attributes),
        events=tuple((event.name, _attributes(event.attributes)) for event in span.events),
    )


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, str]:
    return {pair.key: _text(pair.value) for pair in pairs}


def _text(value: AnyValue) -> str:
    """Return any value as text: whoever looks for words in it wants them from lists and bytes, too."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return ", ".join(_text(item) for item in value.array_value.values)
    if kind == "kvlist_value":
        return ", ".join(f"{pair.key}={_text(pair.value)}" for pair in value.kvlist_value.values)
    if kind == "bytes_value":
        return value.bytes_value.decode(errors="replace")
    return "" if kind is None else str(getattr(value, kind))
