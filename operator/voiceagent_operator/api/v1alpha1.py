"""VoiceAgent v1alpha1: the types that the CRD, the reference and the operator's reading come from."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .autoscaling import Autoscaling
from .conversation import Limits, TextSource, Tools
from .fields import Model, rule, rules
from .livekit import LiveKit
from .llm import LLM
from .platform import Platform
from .providers import Apology
from .rollout import Rollout
from .status import VoiceAgentStatus
from .stt import STT
from .telemetry import Telemetry
from .tts import TTS
from .turn import VAD, Turn
from .worker import Worker

GROUP = "voiceagent.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "VoiceAgent"
PLURAL = "voiceagents"
LONGEST_NAME = 50


# Of each of these groups one may be set.
ALTERNATIVES = (("instructions", "instructionsFrom"), ("greeting", "greetingFrom", "greetingInstructions"))


_ZERO_NEEDS_A_NAME = "autoscaling.minReplicas 0 needs an agentName: without one, each new room wants an agent at once"


def _one_of(names: tuple[str, ...]) -> dict[str, str]:
    held = ", ".join(f"has(self.{name})" for name in names)
    return rule(f"[{held}].filter(given, given).size() <= 1", f"{', '.join(names)} exclude each other")


class VoiceAgentSpec(Model):
    """What the voice agent is, and how many workers serve it. Each field may be left out."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            *(_one_of(names) for names in ALTERNATIVES),
            rule(
                "!has(self.autoscaling) || !has(self.autoscaling.minReplicas) || self.autoscaling.minReplicas > 0 || "
                "(has(self.agentName) && self.agentName.size() > 0)",
                _ZERO_NEEDS_A_NAME,
            ),
        )
    )

    agent_name: Annotated[str, Field(max_length=128, pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]*)?$")] | None = Field(
        None,
        description="Name for explicit dispatch. Without one, the agent joins each new room by itself. Default: none.",
        examples=["receptionist"],
    )
    instructions: Annotated[str, Field(max_length=65_536)] | None = Field(
        None,
        description="What the language model is told to be and do, at most 65536 characters. "
        "Values of the call may stand in it, such as `{{ dispatch.name | the guest }}`. "
        "Default: the worker's, a helpful assistant.",
        examples=["You answer the phone for a dental practice. Be brief."],
    )
    instructions_from: TextSource | None = Field(
        None,
        description="Instructions that lie in a ConfigMap; what changes there holds for each new call, without a "
        "restart. Excludes `instructions`.",
    )
    greeting: Annotated[str, Field(max_length=4096)] | None = Field(
        None,
        description="What the agent says when a call begins, at most 4096 characters; values of the call may stand in "
        "it, as in `instructions`. Empty: it waits for the caller to speak. Default: the worker's.",
        examples=["Good morning {{ dispatch.name | }}, how can I help?"],
    )
    greeting_from: TextSource | None = Field(
        None, description="A greeting that lies in a ConfigMap, as `instructionsFrom`. Excludes `greeting`."
    )
    greeting_instructions: Annotated[str, Field(min_length=1, max_length=4096)] | None = Field(
        None,
        description="What the language model is told to greet the caller with, instead of fixed words. Excludes "
        "`greeting` and `greetingFrom`.",
        examples=["Greet the caller by name and ask how their stay was."],
    )
    greeting_interruptible: bool | None = Field(
        None, description="Whether callers may interrupt the greeting. Default: true.", examples=[False]
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
    tools: Tools | None = Field(None, description="What the model may do beside talking.")
    call: Limits | None = Field(None, description="How a call comes to its end when the caller does not end it.")
    apology: Apology | None = Field(None, description="What the caller hears when a turn cannot be had.")
    platform: Platform | None = Field(None, description="A backend that may configure the agent and each call.")
    worker: Worker | None = Field(None, description="The pods that take the calls.")
    rollout: Rollout | None = Field(None, description="How a change reaches the workers without ending a call.")
    telemetry: Telemetry | None = Field(None, description="Traces and metrics that workers send.")
    replicas: Annotated[int, Field(ge=0, le=1000)] = Field(
        1,
        description="How many workers serve the agent, from 0 to 1000. `kubectl scale` writes it. It does not count "
        "while `autoscaling` decides.",
        examples=[2],
        json_schema_extra={"x-stored-default": True},
    )
    autoscaling: Autoscaling | None = Field(
        None, description="How many workers there are, by the calls that they hold. Default: `replicas` counts."
    )
    suspend: bool | None = Field(
        None,
        description="Whether to stop all workers, each once its calls have ended. Default: false.",
        examples=[True],
    )
    paused: bool | None = Field(
        None,
        description="Whether the operator leaves everything of this VoiceAgent as it is: no change of the spec takes "
        "effect, and nothing that is missing comes back. Workers go on taking calls. Default: false.",
        examples=[True],
    )
    paused_scale_in: bool | None = Field(
        None,
        description="Whether the number of workers may only grow. Rollouts still replace workers. Default: false.",
        examples=[True],
    )

    @model_validator(mode="after")
    def _zero_has_a_name(self) -> Self:
        if self.autoscaling and self.autoscaling.min_replicas == 0 and not self.agent_name:
            raise ValueError(_ZERO_NEEDS_A_NAME)
        return self


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
