"""The control port: faults, pace, complaints, connections and counts over HTTP, for other processes."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from .complaints import Complaints
from .faults import FaultPlan
from .listener import Listener
from .sentences import field_of, sentence_of
from .vendor import Vendor

Model = TypeVar("Model", bound=BaseModel)


class Control:
    """Serve the control API of some vendors."""

    def __init__(
        self,
        *,
        address: str,
        port: int,
        vendors: Mapping[str, Vendor],
        complaints: Complaints,
        describe: Callable[[], dict[str, Any]],
    ) -> None:
        self._vendors, self._complaints, self._describe = vendors, complaints, describe
        self._began = time.monotonic()
        app = web.Application()
        app.add_routes(
            [
                web.get("/", self._overview),
                web.get("/faults/{vendor}", self._get_faults),
                web.put("/faults/{vendor}", self._put_faults),
                web.delete("/faults/{vendor}", self._delete_faults),
                web.get("/pace/{vendor}", self._get_pace),
                web.put("/pace/{vendor}", self._put_pace),
                web.get("/complaints", self._get_complaints),
                web.delete("/complaints", self._delete_complaints),
                web.get("/connections", self._get_connections),
                web.get("/stats", self._get_stats),
            ]
        )
        self.listener = Listener("The simulators' control", app, address, port)

    def _vendor(self, request: web.Request) -> Vendor:
        name = request.match_info["vendor"]
        if name not in self._vendors:
            raise _problem(404, f"There is no vendor {name!r}; there are {', '.join(self._vendors)}.", "vendor")
        return self._vendors[name]

    async def _overview(self, _: web.Request) -> web.Response:
        return web.json_response(self._describe())

    async def _get_faults(self, request: web.Request) -> web.Response:
        return web.json_response(_faults_of(self._vendor(request)))

    async def _put_faults(self, request: web.Request) -> web.Response:
        vendor = self._vendor(request)
        await vendor.faults.apply(await _body(request, FaultPlan))
        return web.json_response(_faults_of(vendor))

    async def _delete_faults(self, request: web.Request) -> web.Response:
        vendor = self._vendor(request)
        await vendor.faults.clear()
        return web.json_response(_faults_of(vendor))

    async def _get_pace(self, request: web.Request) -> web.Response:
        return web.json_response(self._vendor(request).pace.model_dump())

    async def _put_pace(self, request: web.Request) -> web.Response:
        vendor = self._vendor(request)
        vendor.pace = await _body(request, type(vendor.pace))
        return web.json_response(vendor.pace.model_dump())

    async def _get_complaints(self, _: web.Request) -> web.Response:
        return web.json_response({"complaints": [complaint.as_dict() for complaint in self._complaints]})

    async def _delete_complaints(self, _: web.Request) -> web.Response:
        self._complaints.clear()
        return web.json_response({"complaints": []})

    async def _get_connections(self, _: web.Request) -> web.Response:
        known = [connection.as_dict() for vendor in self._vendors.values() for connection in vendor.connections]
        return web.json_response({"connections": known})

    async def _get_stats(self, _: web.Request) -> web.Response:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        process = {
            "seconds": round(time.monotonic() - self._began, 1),
            "cpuSeconds": round(usage.ru_utime + usage.ru_stime, 2),
            "peakMegabytes": usage.ru_maxrss // 1024,
        }
        return web.json_response({"process": process, **{n: v.stats() for n, v in self._vendors.items()}})


def _faults_of(vendor: Vendor) -> dict[str, Any]:
    plan = vendor.faults.plan.model_dump(mode="json", exclude_none=True)
    return {**plan, "connectionsCounted": vendor.faults.counted}


async def _body(request: web.Request, model: type[Model]) -> Model:
    try:
        return model.model_validate_json(await request.read())
    except ValidationError as error:
        raise _problem(422, f"The body is wrong at {sentence_of(error)}.", field_of(error)) from error


def _problem(status: int, sentence: str, field: str) -> web.HTTPException:
    kind = {404: web.HTTPNotFound, 422: web.HTTPUnprocessableEntity}[status]
    text = web.json_response({"error": sentence, "field": field}).text
    return kind(text=text, content_type="application/json")
