"""The external metrics API behind the real aggregator: what a HorizontalPodAutoscaler asks, and a test answers."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from aiohttp import ClientError, web

from voiceagent_testbed.part import Part
from voiceagent_testbed.ports import free_port

from .control_plane import ControlPlane

GROUP, VERSION = "external.metrics.k8s.io", "v1beta1"
SERVICE = f"{VERSION}.{GROUP}"
NAMESPACE, NAME = "kube-system", "external-metrics"
Answer = Callable[[str, str, dict[str, str]], Awaitable[list[float]]]
"""From namespace, metric and labels to values; a ClientError where they cannot be had."""


class ExternalMetrics(Part):
    """The API as an adapter serves it; only the aggregator's certificate gets in."""

    def __init__(self, plane: ControlPlane, answer: Answer) -> None:
        """Describe it; `answer` is where the values come from."""
        self._plane, self._answer = plane, answer
        self._runner: web.AppRunner | None = None
        self.asked = 0
        """How often it was asked for values."""

    async def up(self) -> None:
        """Serve it, and return when the API server passes requests on."""
        port, application = free_port(), web.Application()
        root = f"/apis/{GROUP}/{VERSION}"
        application.router.add_get(root, self._resources)
        application.router.add_get(root + "/namespaces/{namespace}/{metric}", self._values)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port, ssl_context=self._tls()).start()
        for thing in self._registration(port):
            await self._plane.kubectl("apply", "-f", "-", stdin=json.dumps(thing))
        await self._plane.kubectl("wait", "--for=condition=Available", f"apiservice/{SERVICE}", "--timeout=60s")

    async def down(self) -> None:
        """Take it out of the API and stop serving."""
        await self._plane.kubectl("delete", "apiservice", SERVICE, "--ignore-not-found")
        if self._runner:
            await self._runner.cleanup()

    def _tls(self) -> ssl.SSLContext:
        pair = self._plane.authority.issue(NAME, NAME, names=[f"{NAME}.{NAMESPACE}.svc"])
        context = ssl.create_default_context(
            ssl.Purpose.CLIENT_AUTH, cafile=str(self._plane.front_proxy.files.certificate)
        )
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(pair.certificate, pair.key)
        return context

    def _registration(self, port: int) -> list[dict[str, Any]]:
        bundle = base64.b64encode(self._plane.authority.files.certificate.read_bytes()).decode()
        meta = {"name": NAME, "namespace": NAMESPACE}
        service = {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]}
        spec = {
            "group": GROUP,
            "version": VERSION,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "service": {**meta, "port": port},
            "caBundle": bundle,
        }
        return [
            {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": service},
            {
                "apiVersion": "apiregistration.k8s.io/v1",
                "kind": "APIService",
                "metadata": {"name": SERVICE},
                "spec": spec,
            },
        ]

    async def _resources(self, _: web.Request) -> web.Response:
        return web.json_response(
            {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{GROUP}/{VERSION}", "resources": []}
        )

    async def _values(self, request: web.Request) -> web.Response:
        self.asked += 1
        metric, selector = request.match_info["metric"], request.query.get("labelSelector", "")
        labels = dict(each.split("=", 1) for each in selector.split(",") if each)
        try:
            values = await self._answer(request.match_info["namespace"], metric, labels)
        except (ClientError, TimeoutError) as error:
            said = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": str(error), "code": 500}
            return web.json_response(said, status=500)
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        items = [
            {"metricName": metric, "metricLabels": {}, "timestamp": now, "value": f"{round(each * 1000)}m"}
            for each in values
        ]
        kind = {"kind": "ExternalMetricValueList", "apiVersion": f"{GROUP}/{VERSION}", "metadata": {}}
        return web.json_response({**kind, "items": items})
