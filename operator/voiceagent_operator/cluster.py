"""Kubernetes: the only module that imports its client. Reads, server-side apply, status, and guarded deletes.

The client package brings configuration, credentials and TLS; requests go through its REST layer as plain
objects, because its models would cost most of the operator's memory and time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import (
    ConfigException,
    load_incluster_config,
    load_kube_config,
)

from .api.v1alpha1 import API_VERSION, PLURAL
from .metrics import Metrics
from .observation import Object
from .resources.metadata import MANAGER

TIMEOUT = aiohttp.ClientTimeout(total=20, connect=5)
_PLURALS = {
    "ServiceAccount": "serviceaccounts",
    "ConfigMap": "configmaps",
    "Deployment": "deployments",
    "VoiceAgent": PLURAL,
    "Pod": "pods",
}
_APIS = {"Deployment": "apps/v1", "VoiceAgent": API_VERSION}


class ClusterError(Exception):
    """The API server could not be asked, or would not do it now: worth trying again."""


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


class Cluster:
    """One connection to the API server."""

    def __init__(self, configuration: Configuration, metrics: Metrics) -> None:
        configuration.client_session_kwargs = {"trust_env": False}
        self._configuration, self._metrics = configuration, metrics
        self._client = ApiClient(configuration)
        self.reachable = True
        """Whether the API server answered the last request."""

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()  # type: ignore[no-untyped-call]

    async def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """Return an object, or None when there is none."""
        return await self._request("GET", _path(kind, namespace, name), missing_is_none=True)

    async def list(self, kind: str, namespace: str | None, selector: str = "", limit: int = 0) -> list[Object]:
        """Return the objects that carry the labels; `limit` > 0 takes only the first."""
        query: dict[str, str] = {"labelSelector": selector} if selector else {}
        if limit:
            query["limit"] = str(limit)
        answer = await self._request("GET", _path(kind, namespace), query)
        items: list[Object] = (answer or {}).get("items", [])
        return items

    async def apply(self, resource: Object) -> Object:
        """Make an object what it should be and return it as it is; other writers' fields stay theirs."""
        meta = resource["metadata"]
        path = _path(resource["kind"], meta["namespace"], meta["name"])
        return await self._apply(path, resource)

    async def apply_status(self, voice_agent: Object, status: Mapping[str, Any]) -> None:
        """Write a VoiceAgent's status; the object itself is never written."""
        meta = voice_agent["metadata"]
        # The uid makes the API server refuse when the name has gone to a new object meanwhile.
        identity = {"name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"]}
        body = {"apiVersion": API_VERSION, "kind": "VoiceAgent", "metadata": identity, "status": dict(status)}
        await self._apply(_path("VoiceAgent", meta["namespace"], meta["name"]) + "/status", body)

    async def delete(self, resource: Object, kind: str) -> None:
        """Delete an object if it still is the very one that was observed."""
        meta = resource["metadata"]
        conditions = {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
        await self._request(
            "DELETE",
            _path(kind, meta["namespace"], meta["name"]),
            body={"preconditions": conditions},
            missing_is_none=True,
        )

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

    async def _apply(self, path: str, body: Object) -> Object:
        query = {"fieldManager": MANAGER, "force": "true"}
        answer = await self._request("PATCH", path, query, body, content_type="application/apply-patch+yaml")
        if answer is None:
            raise ClusterError("the API server gave no answer to an apply")
        return answer

    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        *,
        content_type: str = "application/json",
        missing_is_none: bool = False,
    ) -> Object | None:
        headers = {"Accept": "application/json", "Content-Type": content_type}
        auth = (await self._configuration.auth_settings()).get("BearerToken")
        if auth and auth["value"]:
            headers["authorization"] = auth["value"]
        url = self._configuration.host + path + (f"?{urlencode(query)}" if query else "")
        code = "error"
        try:
            response = await self._client.rest_client.request(  # type: ignore[no-untyped-call]
                method, url, headers=headers, body=body, _request_timeout=TIMEOUT
            )
            raw = await response.read()
            code = str(response.status)
            self.reachable = response.status < 500
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.reachable = False
            raise ClusterError(f"the API server cannot be reached: {type(error).__name__}") from error
        finally:
            self._metrics.api_requests.labels(method, code).inc()
        if response.status == 404 and missing_is_none:
            return None
        return _answer(response.status, raw)


def _answer(status: int, raw: bytes) -> Object:
    try:
        answer = json.loads(raw)
    except ValueError:
        answer = {}
    if status < 300:
        return dict(answer)
    message = str(answer.get("message", "no reason given")) if isinstance(answer, dict) else "no reason given"
    if status in (400, 403, 404, 405, 413, 422):
        raise ClusterRefusedError(status, message)
    raise ClusterError(f"the API server answered {status}")


def _path(kind: str, namespace: str | None, name: str | None = None) -> str:
    api = _APIS.get(kind, "v1")
    parts = [f"/apis/{api}" if "/" in api else f"/api/{api}"]
    if namespace is not None:
        parts.append(f"namespaces/{quote(namespace, safe='')}")
    parts.append(_PLURALS[kind])
    if name is not None:
        parts.append(quote(name, safe=""))
    return "/".join(parts)


async def connect(metrics: Metrics) -> Cluster:
    """Connect as the pod's service account, or by kubeconfig; raise NoClusterError where neither works."""
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
    return Cluster(configuration, metrics)
