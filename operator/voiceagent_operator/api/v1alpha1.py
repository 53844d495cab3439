"""VoiceAgent v1alpha1: the types that the CRD, the reference and the operator's reading come from."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from .fields import DurationBetween, Model, Quantity, SecretName, rule, rules
from .pipeline import LLM, STT, TTS, VAD, Turn
from .platform import Platform

GROUP = "voiceagent.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "VoiceAgent"
PLURAL = "voiceagents"
LONGEST_NAME = 50


class LiveKitCredentials(Model):
    """The Secret with the LiveKit API key and secret."""

    secret_name: SecretName | None = Field(
        None,
        description="Name of a Secret with the keys `LIVEKIT_API_KEY` and `LIVEKIT_API_SECRET`, and "
        "`LIVEKIT_URL` where "
        "`livekit.url` is not set. Default: the operator's credentials Secret (`voiceagent-credentials`).",
        examples=["livekit"],
    )


class LiveKit(Model):
    """The LiveKit server that workers register with."""

    url: Annotated[str, Field(max_length=2048, pattern=r"^wss?://[^\s]+$")] | None = Field(
        None,
        description="WebSocket address of the server. Default: key `LIVEKIT_URL` of the credentials Secret.",
        examples=["wss://livekit.example.com"],
    )
    credentials: LiveKitCredentials | None = Field(
        None, description="The Secret with the API key and secret.", examples=[{"secretName": "livekit"}]
    )


class ResourceList(Model):
    """Amounts of CPU and memory."""

    cpu: Quantity | None = Field(
        None, description="CPU in cores or millicores. A quiet call takes about 120m.", examples=["1500m"]
    )
    memory: Quantity | None = Field(
        None,
        description="Memory in bytes. A worker takes about 500Mi, and 66Mi for each call.",
        examples=["2Gi"],
    )


def _within(resource: str) -> dict[str, str]:
    both = " || ".join(f"!has(self.{group}) || !has(self.{group}.{resource})" for group in ("requests", "limits"))
    return rule(
        f"{both} || quantity(string(self.requests.{resource}))"
        f".compareTo(quantity(string(self.limits.{resource}))) <= 0",
        f"requests.{resource} must not be greater than limits.{resource}",
    )


class Resources(Model):
    """CPU and memory of one worker."""

    model_config = ConfigDict(json_schema_extra=rules(_within("cpu"), _within("memory")))

    requests: ResourceList | None = Field(
        None,
        description="What the scheduler reserves. Default: enough for `maxSessions` calls, by measurement.",
        examples=[{"cpu": "1", "memory": "1Gi"}],
    )
    limits: ResourceList | None = Field(
        None,
        description="What the worker may not pass. Too little memory ends calls; a CPU limit makes speech "
        "stutter. "
        "Default: twice the default memory request, no CPU limit.",
        examples=[{"memory": "2Gi"}],
    )


class Worker(Model):
    """The pods that take the calls."""

    image: Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[a-zA-Z0-9][^\s]*$")] | None = Field(
        None,
        description="Image of the worker. Default: the operator's worker image.",
        examples=["registry.example.com/voiceagent-runtime:0.1.0"],
    )
    resources: Resources | None = Field(
        None, description="CPU and memory of one worker.", examples=[{"limits": {"memory": "2Gi"}}]
    )
    max_sessions: int | None = Field(
        None,
        ge=1,
        le=200,
        description="Most calls that one worker takes at once, from 1 to 200. Default: 8.",
        examples=[4],
    )
    idle_processes: int | None = Field(
        None,
        ge=0,
        le=50,
        description="Warm processes that wait for the next calls, from 0 to 50; each answers one call at "
        "once. "
        "Default: 3.",
        examples=[2],
    )
    drain_timeout: Annotated[str, DurationBetween("1s", "24h")] | None = Field(
        None,
        description="How long a worker that must stop waits for its calls to end, from 1s to 24h. The pod's grace "
        "period follows from it. Default: 1h.",
        examples=["30m"],
    )
    log_level: Literal["DEBUG", "INFO", "WARN", "ERROR"] | None = Field(
        None, description="Least level that workers log. Default: INFO.", examples=["DEBUG"]
    )


class Telemetry(Model):
    """Traces and metrics that workers send."""

    otlp_endpoint: Annotated[str, Field(max_length=2048, pattern=r"^https?://[^\s]+$")] | None = Field(
        None,
        description="Address of an OpenTelemetry collector (OTLP over HTTP). Default: nothing is sent.",
        examples=["http://otel-collector.monitoring:4318"],
    )
    capture_content: bool | None = Field(
        None,
        description="Whether traces may hold what was said. Takes effect with `otlpEndpoint`. Default: false.",
        examples=[True],
    )


class VoiceAgentSpec(Model):
    """What the voice agent is, and how many workers serve it. Each field may be left out."""

    agent_name: Annotated[str, Field(max_length=128, pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]*)?$")] | None = Field(
        None,
        description="Name for explicit dispatch. Without one, the agent joins each new room by itself. Default: none.",
        examples=["receptionist"],
    )
    instructions: Annotated[str, Field(max_length=65_536)] | None = Field(
        None,
        description="What the language model is told to be and do, at most 65536 characters. "
        "Default: the worker's, a helpful assistant.",
        examples=["You answer the phone for a dental practice. Be brief."],
    )
    greeting: Annotated[str, Field(max_length=4096)] | None = Field(
        None,
        description="What the agent says when a call begins, at most 4096 characters. Default: the worker's.",
        examples=["Good morning, how can I help?"],
    )
    language: Annotated[str, Field(max_length=35, pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")] | None = Field(
        None,
        description="Language of the conversation as a BCP 47 tag, for `stt` and `tts`. Default: en.",
        examples=["de"],
    )
    livekit: LiveKit | None = Field(None, description="The LiveKit server that workers register with.")
    stt: STT | None = Field(None, description="Speech to text.")
    llm: LLM | None = Field(None, description="The language model that answers.")
    tts: TTS | None = Field(None, description="Text to speech.")
    vad: VAD | None = Field(None, description="Voice activity detection: when somebody speaks at all.")
    turn: Turn | None = Field(None, description="Taking turns in the conversation.")
    platform: Platform | None = Field(None, description="A backend that may configure the agent and each call.")
    worker: Worker | None = Field(None, description="The pods that take the calls.")
    telemetry: Telemetry | None = Field(None, description="Traces and metrics that workers send.")
    replicas: Annotated[int, Field(ge=0, le=1000)] = Field(
        1,
        description="How many workers serve the agent, from 0 to 1000. `kubectl scale` writes it.",
        examples=[2],
        json_schema_extra={"x-stored-default": True},
    )
    suspend: bool | None = Field(
        None,
        description="Whether to stop all workers, once their calls have ended or `worker.drainTimeout` has "
        "passed. "
        "Default: false.",
        examples=[True],
    )


class Condition(Model):
    """One statement about the VoiceAgent, in Kubernetes' usual form."""

    type: str = Field(description="What the statement is about, such as `Ready`.", max_length=64)
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: str = Field(description="One word for programs: why.", max_length=64)
    message: str = Field(description="A sentence for people: why, and what to do.", max_length=2048)
    observed_generation: int = Field(description="Generation of the VoiceAgent that the statement is about.")
    last_transition_time: str = Field(description="When the status last changed.", max_length=32)


class VoiceAgentStatus(Model):
    """What the operator observed."""

    model_config = ConfigDict(extra="ignore")

    observed_generation: int | None = Field(None, description="Generation of the VoiceAgent that this status is about.")
    replicas: int | None = Field(None, description="Workers that exist and are not terminating.")
    ready_replicas: int | None = Field(None, description="Workers that are registered with LiveKit and warm.")
    selector: Annotated[str, Field(max_length=512)] | None = Field(
        None, description="Label selector of the workers, for autoscalers."
    )
    conditions: list[Condition] | None = Field(
        None,
        description="`Ready` says whether the workers that the spec asks for are serving, and if not, why.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )


class ObjectMeta(BaseModel):
    """The part of an object's metadata that the operator reads."""

    model_config = ConfigDict(extra="ignore", frozen=True, alias_generator=Model.model_config["alias_generator"])

    name: str
    namespace: str
    uid: str
    generation: int = 1


class VoiceAgent(Model):
    """A voice agent on LiveKit: the operator keeps workers running that answer its calls."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra=rules(
            rule(
                f"self.metadata.name.size() <= {LONGEST_NAME}",
                f"metadata.name must have at most {LONGEST_NAME} characters: "
                "names of its Deployments and pods are made from it",
            )
        ),
    )

    metadata: ObjectMeta
    spec: VoiceAgentSpec = Field(default_factory=VoiceAgentSpec)
    status: VoiceAgentStatus | None = None


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return a type's JSON schema with the names of the wire."""
    return model.model_json_schema(by_alias=True)
