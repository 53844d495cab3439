"""From configuration to the vendors' official plugins. Always explicit objects: a string such as
`openai/gpt-4o-mini` would send the conversation to LiveKit's cloud gateway instead of the vendor."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import ssl
from typing import Any, Literal

import httpx2
from livekit.agents import inference, llm, stt, tts, vad
from livekit.plugins import cartesia, deepgram, openai
from openai import AsyncOpenAI

from .config import AgentConfig
from .errors import configuration_error
from .pipeline import Part
from .secrets import PROVIDERS, Secrets

_MULTILINGUAL = "livekit.plugins.turn_detector.multilingual"


def given(**options: Any) -> dict[str, Any]:
    """Drop what is not configured, so that the plugin's own default applies."""
    return {name: value for name, value in options.items() if value is not None}


def chosen(part: Part) -> dict[str, Any]:
    """Return the options of a part that are configured, under the SDK's names."""
    return part.model_dump(exclude_none=True)


def required_keys(config: AgentConfig) -> list[str]:
    """Return the names of the keys that the configured providers need."""
    return [PROVIDERS[provider] for provider in (config.stt.provider, config.llm.provider, config.tts.provider)]


def speech_to_text(config: AgentConfig, secrets: Secrets) -> stt.STT[Any]:
    """Return Deepgram's transcriber."""
    return deepgram.STT(
        api_key=secrets.get("DEEPGRAM_API_KEY"),
        language=config.stt.language or config.language,
        **given(model=config.stt.model, base_url=config.stt.base_url),
        **chosen(config.stt.options),
    )


@functools.cache
def trusted_certificates() -> ssl.SSLContext:
    """Return whom this process trusts; reading the certificates takes too long to do it within a call."""
    return httpx2.create_ssl_context()


def language_model(config: AgentConfig, secrets: Secrets) -> llm.LLM[Any]:
    """Return the language model of OpenAI or of a server that speaks its protocol.

    The client is the one that the plugin would make, but for the certificates, which the plugin's would read again.
    """
    http_client = httpx2.AsyncClient(
        verify=trusted_certificates(),
        timeout=httpx2.Timeout(5.0, connect=15.0),
        limits=httpx2.Limits(max_connections=50, max_keepalive_connections=50, keepalive_expiry=120),
        follow_redirects=True,
    )
    client = AsyncOpenAI(
        api_key=secrets.get("OPENAI_API_KEY"), base_url=config.llm.base_url, max_retries=0, http_client=http_client
    )
    options = chosen(config.llm)
    for name in ("provider", "base_url"):
        options.pop(name, None)
    return openai.LLM(client=client, **options)


def text_to_speech(config: AgentConfig, secrets: Secrets) -> tts.TTS[Any]:
    """Return Cartesia's voice. Cartesia knows languages, not regions: `de-CH` is `de` to it."""
    language = config.tts.language or config.language
    return cartesia.TTS(
        api_key=secrets.get("CARTESIA_API_KEY"),
        language=language.split("-")[0].lower(),
        **given(
            model=config.tts.model,
            voice=config.tts.voice,
            base_url=config.tts.base_url,
            speed=config.tts.speed,
        ),
    )


def voice_activity(config: AgentConfig) -> vad.VAD:
    """Return Silero's detector, whose weights come with the SDK."""
    return inference.VAD(model="silero", **chosen(config.vad))


def turn_detector(config: AgentConfig) -> Any:
    """Return what judges the end of a turn. The version is always explicit: the SDK's own choice may be the
    cloud."""
    detector = config.turn.detector
    if detector == "multilingual":
        return importlib.import_module(_MULTILINGUAL).MultilingualModel()
    if detector == "v1-mini":
        return inference.TurnDetector(version="v1-mini")
    mode: Literal["vad", "stt"] = detector
    return mode


def check(config: AgentConfig, secrets: Secrets) -> None:
    """Raise WorkerError for whatever would make every call fail: in the job it would only look like a short
    call."""
    secrets.require(required_keys(config))
    if config.turn.detector == "multilingual":
        load_multilingual()
    try:
        speech_to_text(config, secrets)
        language_model(config, secrets)
        text_to_speech(config, secrets)
        voice_activity(config)
    except ValueError as error:
        raise configuration_error(f"a provider refuses its options: {error}. Correct agent.yaml.") from None
    except OSError as error:
        raise configuration_error(
            f"the trusted certificates cannot be read: {error.strerror}. Correct SSL_CERT_FILE or SSL_CERT_DIR."
        ) from None


def load_multilingual() -> None:
    """Import the plugin of the multilingual model in the main process, where the SDK starts its inference
    process."""
    try:
        found = importlib.util.find_spec(_MULTILINGUAL) is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        raise configuration_error(
            "turn.detector: multilingual needs the package livekit-plugins-turn-detector and model files "
            "that this image does not have: use an image built with them, or turn.detector: v1-mini."
        )
    importlib.import_module(_MULTILINGUAL)
