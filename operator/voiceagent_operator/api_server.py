"""The API server: the only module that imports the Kubernetes client. Single requests and watches, as plain objects.

The client package brings configuration, credentials and TLS. Requests go over a session of our own, because the
package's models would cost most of the operator's memory and its request layer twice the time (docs/decisions/0039).
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from .metrics import Metrics
from .observation import Object

TIMEOUT = 20.0
CONNECT_TIMEOUT = 5.0
BUFFER = 2 * 1024 * 1024  # an event, which is one line, may be twice as long


class ClusterError(Exception):
    """The API server could not be asked, or would not do it now: worth trying again."""


class ClusterBusyError(ClusterError):
    """The API server asks to be left alone for so many seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("the API server answered 429")
        self.retry_after = retry_after


class ClusterConflictError(ClusterError):
    """What was to be written rests on an observation that is no longer true: look again."""


class GoneError(ClusterError):
    """The version that was asked for is too old: list again."""


class ClusterRefusedError(ClusterError):
    """The API server understood and refused; the message is its own sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status, self.message = status, message


class NoClusterError(Exception):
    """There is no usable cluster configuration: a sentence for the user."""


@dataclass(frozen=True)
class Access:
    """Where the API server is and how to authenticate, read anew at each call since tokens rotate."""

    server: str
    token: str | None
    ca_path: str | None
    certificate_path: str | None
    private_key_path: str | None
    insecure: bool


class ApiServer:
    """One set of connections to the API server."""

    def __init__(self, configuration: Configuration, metrics: Metrics) -> None:
        self._configuration, self._metrics = configuration, metrics
        context = RESTClientObject(configuration).ssl_context
        self._session = aiohttp.ClientSession(
            # No limit: watches hold connections for ever, and the queue bounds the rest.
            connector=aiohttp.TCPConnector(limit=0, ssl=context),
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=BUFFER,
        )
        self.reachable = True
        """Whether the API server answered the last request."""

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        *,
        content_type: str = "application/json",
        timeout: float = TIMEOUT,
    ) -> Object:
        """Send one request and return the answer; raise ClusterError where it is not a success."""
        began, code = monotonic(), "error"
        try:
            async with asyncio.timeout(timeout):
                async with self._session.request(
                    method,
                    self._url(path, query),
                    headers=await self._headers() | {"Content-Type": content_type},
                    data=None if body is None else json.dumps(body, separators=(",", ":")).encode(),
                    timeout=aiohttp.ClientTimeout(connect=CONNECT_TIMEOUT),
                    allow_redirects=False,
                ) as response:
                    raw = await response.read()
            code = str(response.status)
            self.reachable = response.status < 500
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.reachable = False
            raise ClusterError(f"the API server cannot be reached: {type(error).__name__}") from error
        finally:
            self._metrics.api_requests.labels(method, code).inc()
            self._metrics.api_seconds.labels(method).observe(monotonic() - began)
        return _answer(response.status, raw, response.headers.get("Retry-After"))

    @asynccontextmanager
    async def watch(self, path: str, query: Mapping[str, str], silence: float) -> AsyncIterator[AsyncIterator[Object]]:
        """Open a watch and give its events until the API server ends it; raise ClusterError when it breaks."""
        code = "error"
        try:
            async with self._session.get(
                self._url(path, query),
                headers=await self._headers(),
                timeout=aiohttp.ClientTimeout(connect=CONNECT_TIMEOUT, sock_read=silence),
                allow_redirects=False,
            ) as response:
                code = str(response.status)
                if response.status != 200:
                    _answer(response.status, await response.read(), response.headers.get("Retry-After"))
                yield (_object(line) async for line in response.content)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise ClusterError(f"a watch broke: {type(error).__name__}") from error
        finally:
            self._metrics.api_requests.labels("WATCH", code).inc()

    async def access(self) -> Access:
        """Return the address and the credentials as they are now."""
        configuration = self._configuration
        key = await configuration.get_api_key_with_prefix("BearerToken")
        return Access(
            server=configuration.host,
            token=key.split(" ", 1)[-1].strip() if key else None,
            ca_path=configuration.ssl_ca_cert,
            certificate_path=configuration.cert_file,
            private_key_path=configuration.key_file,
            insecure=not configuration.verify_ssl,
        )

    def _url(self, path: str, query: Mapping[str, str] | None) -> str:
        return str(self._configuration.host) + path + (f"?{urlencode(query)}" if query else "")

    async def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json", "User-Agent": "voiceagent-operator"}
        auth = (await self._configuration.auth_settings()).get("BearerToken")
        if auth and auth["value"]:
            headers["Authorization"] = str(auth["value"])
        return headers


def _object(raw: bytes) -> Object:
    try:
        answer = json.loads(raw)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise ClusterError("the API server sent something that is not an object")
    return answer


def _answer(status: int, raw: bytes, retry_after: str | None) -> Object:
    if status < 300:
        return _object(raw)
    try:
        message = str(_object(raw).get("message", "no reason given"))
    except ClusterError:
        message = "no reason given"
    if status == 429:
        raise ClusterBusyError(float(retry_after) if (retry_after or "").isdigit() else 1.0)  # type: ignore[arg-type]
    if status == 409:
        raise ClusterConflictError(message)
    if status == 410:
        raise GoneError("the API server answered 410")
    if status in (400, 403, 404, 405, 413, 422):
        raise ClusterRefusedError(status, message)
    raise ClusterError(f"the API server answered {status}")


async def configure() -> Configuration:
    """Return the pod's own configuration, or kubeconfig's; raise NoClusterError where neither works."""
    configuration = Configuration()
    try:
        if "KUBERNETES_SERVICE_HOST" in os.environ:
            load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            path = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
            await load_kube_config(  # type: ignore[no-untyped-call]
                config_file=path, client_configuration=configuration
            )
    except (ConfigException, OSError) as error:
        raise NoClusterError(
            f"No cluster to work on: {error} Run in a pod, or set KUBECONFIG to a kubeconfig file."
        ) from None
    return configuration
