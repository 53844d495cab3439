"""Files of the user's own in the worker's container.

Only kinds that stay within the namespace and that no right of the author's is needed for, or that the admission
policy can check it for (docs/decisions/0032-what-a-voice-agent-may-say-about-its-pods.md).
"""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import ConfigDict, Field, model_validator

from .fields import Check, ConfigMapName, Model, Quantity, SecretKey, SecretName, UniqueBy, rule, rules

# Where the operator itself mounts; /var/run is a link to /run.
RESERVED_PATHS = (
    "/etc/voiceagent",
    "/etc/voiceagent-texts",
    "/etc/podinfo",
    "/var/run/secrets",
    "/run/secrets",
    "/tmp",
)
RESERVED_VOLUMES = ("config", "credentials", "podinfo", "tmp", "texts")
_KINDS = ("config_map", "secret", "projected", "empty_dir")
_ONE_KIND = "exactly one of configMap, secret, projected and emptyDir must be set"
_ONE_SOURCE = "exactly one of configMap and secret must be set"
# No component begins with a dot, so none leads upwards.
_COMPONENT = r"[A-Za-z0-9_-][A-Za-z0-9._-]*"


def _apart(path: str) -> bool:
    return not any(path == own or path.startswith(f"{own}/") or own.startswith(f"{path}/") for own in RESERVED_PATHS)


RelativePath = Annotated[str, Field(max_length=512, pattern=f"^{_COMPONENT}(/{_COMPONENT})*$")]
MountPath = Annotated[
    str,
    Field(max_length=512, pattern=f"^(/{_COMPONENT})+$"),
    Check(
        f"!{json.dumps(RESERVED_PATHS)}.exists(own, self == own || self.startsWith(own + '/') "
        "|| own.startsWith(self + '/'))",
        f"must not hide what the operator mounts at {', '.join(RESERVED_PATHS)}",
        _apart,
    ),
]
VolumeName = Annotated[
    str,
    Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"),
    Check(
        f"!(self in {json.dumps(RESERVED_VOLUMES)})",
        f"must not be one of the operator's own volumes {', '.join(RESERVED_VOLUMES)}",
        lambda name: name not in RESERVED_VOLUMES,
    ),
]


class File(Model):
    """One key as a file."""

    key: SecretKey = Field(description="The key.", examples=["menu.md"])
    path: RelativePath = Field(description="The file's path within the volume.", examples=["menu.md"])


Files = Annotated[list[File], Field(max_length=100)]


class ConfigMapFiles(Model):
    """A ConfigMap's keys as files."""

    name: ConfigMapName = Field(description="Name of the ConfigMap.", examples=["menus"])
    items: Files | None = Field(None, description="Which keys, and as which files. Default: all, by their names.")


class SecretFiles(Model):
    """A Secret's keys as files."""

    secret_name: SecretName = Field(description="Name of the Secret.", examples=["crm"])
    items: Files | None = Field(None, description="Which keys, and as which files. Default: all, by their names.")


class ProjectedSecret(Model):
    """A Secret's keys among other files."""

    name: SecretName = Field(description="Name of the Secret.", examples=["crm"])
    items: Files | None = Field(None, description="Which keys, and as which files. Default: all, by their names.")


class ProjectedSource(Model):
    """A ConfigMap or a Secret."""

    model_config = ConfigDict(json_schema_extra=rules(rule("has(self.configMap) != has(self.secret)", _ONE_SOURCE)))

    config_map: ConfigMapFiles | None = Field(None, description="A ConfigMap of the same namespace.")
    secret: ProjectedSecret | None = Field(None, description="A Secret of the same namespace.")

    @model_validator(mode="after")
    def _has_one_source(self) -> ProjectedSource:
        if bool(self.config_map) == bool(self.secret):
            raise ValueError(_ONE_SOURCE)
        return self


class Projected(Model):
    """Several sources in one folder."""

    sources: Annotated[list[ProjectedSource], Field(min_length=1, max_length=20)] = Field(
        description="ConfigMaps and Secrets whose keys become files, at most 20.",
        examples=[[{"configMap": {"name": "menus"}}, {"secret": {"name": "crm"}}]],
    )


class EmptyDir(Model):
    """An empty folder that goes with the pod."""

    size_limit: Quantity | None = Field(
        None, description="Most that it may hold; a pod that passes it is evicted. Default: 1Gi.", examples=["5Gi"]
    )


class Volume(Model):
    """Files that a container may mount."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "[has(self.configMap), has(self.secret), has(self.projected), has(self.emptyDir)]"
                ".filter(set, set).size() == 1",
                _ONE_KIND,
            )
        )
    )

    name: VolumeName = Field(description="Its name, which a mount refers to.", examples=["menus"])
    config_map: ConfigMapFiles | None = Field(None, description="The keys of a ConfigMap of the same namespace.")
    secret: SecretFiles | None = Field(None, description="The keys of a Secret of the same namespace.")
    projected: Projected | None = Field(None, description="Several ConfigMaps and Secrets in one folder.")
    empty_dir: EmptyDir | None = Field(None, description="An empty folder that goes with the pod.")

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> Volume:
        if sum(getattr(self, kind) is not None for kind in _KINDS) != 1:
            raise ValueError(_ONE_KIND)
        return self


class VolumeMount(Model):
    """Where the worker finds a volume's files."""

    name: VolumeName = Field(description="Name of the volume.", examples=["menus"])
    mount_path: MountPath = Field(description="The folder in the container.", examples=["/srv/menus"])
    sub_path: RelativePath | None = Field(
        None, description="A folder or file within the volume in place of all of it.", examples=["menu.md"]
    )


Volumes = Annotated[list[Volume], Field(max_length=20), UniqueBy("name")]
VolumeMounts = Annotated[list[VolumeMount], Field(max_length=20), UniqueBy("mount_path")]
