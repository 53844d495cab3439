"""A collector for tests: takes OTLP over HTTP as a real one does, parses it, and keeps the spans for whoever asks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from aiohttp import web
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
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
    service: str
    attributes: dict[str, str]
    events: tuple[tuple[str, dict[str, str]], ...]

    @property
    def text(self) -> str:
        """All that the span says, for a search through it."""
        groups = [(self.name, self.attributes), *self.events]
        return "\n".join(f"{name} {key}={value}" for name, group in groups for key, value in group.items())


class OTLPReceiver:
    """A collector on loopback: `async with OTLPReceiver() as collector: collector.endpoint`."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.requests = 0
        application = web.Application(client_max_size=64 * 1024 * 1024)
        application.router.add_post("/v1/traces", self._take)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        self._port = 0

    @property
    def endpoint(self) -> str:
        """What OTEL_EXPORTER_OTLP_ENDPOINT takes."""
        return f"http://127.0.0.1:{self._port}"

    def named(self, name: str) -> list[Span]:
        """Return the spans of this name, in the order in which they came."""
        return [span for span in self.spans if span.name == name]

    async def _take(self, request: web.Request) -> web.Response:
        if request.content_type != PROTOBUF:
            return web.Response(status=415, text=f"send {PROTOBUF}")
        body = await request.read()  # aiohttp unpacks gzip
        try:
            message = ExportTraceServiceRequest.FromString(body)
        except DecodeError as error:
            return web.Response(status=400, text=f"no ExportTraceServiceRequest: {error}")
        self.requests += 1
        for resource in message.resource_spans:
            service = _attributes(resource.resource.attributes).get("service.name", "")
            self.spans += [_span(span, service) for scope in resource.scope_spans for span in scope.spans]
        return web.Response(body=ExportTraceServiceResponse().SerializeToString(), content_type=PROTOBUF)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()


def _span(span: SpanMessage, service: str) -> Span:
    return Span(
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
        service=service,
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
