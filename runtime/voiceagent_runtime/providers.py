"""From configuration to the vendors' official plugins. Always explicit objects: a string such as
`openai/gpt-4o-mini` would send the conversation to LiveKit's cloud gateway instead of the vendor."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import httpx2
from livekit.agents import inference
from livekit.plugins import cartesia, openai
from openai import AsyncOpenAI

from .chain.deepgram_stream import Transcriber
from .chain.language_model import LanguageModels
from .chain.transcriber import Transcribers
from .chain.voice import Voices
from .chain.voice_activity import VoiceActivity
from .config import AgentConfig
from .errors import configuration_error
from .pipeline import LLM, STT, TTS, LLMProvider, Part, STTProvider, TTSProvider
from .secrets import PROVIDERS, Secrets

RECORDING_SECONDS = 20.0
MIN_SILENCE = 0.25  # the detector's own default
_MULTILINGUAL = "livekit.plugins.turn_detector.multilingual"


FellBack = Callable[[str], None]


def _nobody(_: str) -> None: ...


def _everyone(first: STT | LLM | TTS) -> list[Any]:
    """Return a stage's providers, in their order."""
    return [first, *first.fallbacks]


def given(**options: Any) -> dict[str, Any]:
    """Drop what is not configured, so that the plugin's own default applies."""
    return {name: value for name, value in options.items() if value is not None}


def chosen(part: Part, *without: str) -> dict[str, Any]:
    """Return the options of a part that are configured, under the SDK's names."""
    return part.model_dump(exclude_none=True, exclude=set(without))


def fallback_key(stage: str, number: int) -> str:
    """Return the name of the key of a stage's fallback; they are counted from 1."""
    return f"{stage.upper()}_FALLBACK_{number}_API_KEY"


def required_keys(config: AgentConfig) -> list[str]:
    """Return the names of the keys that the configured providers need.

    A fallback at the first provider's own address may do with its key. At any other address it needs one of its own:
    a key is never sent where it was not given for.
    """
    names = []
    stages: dict[str, STT | LLM | TTS] = {"stt": config.stt, "llm": config.llm, "tts": config.tts}
    for stage, first in stages.items():
        names.append(PROVIDERS[first.provider])
        for number, fallback in enumerate(_everyone(first)[1:], 1):
            if fallback.base_url != first.base_url:
                names.append(fallback_key(stage, number))
    return names


def _keys(stage: str, first: STT | LLM | TTS, secrets: Secrets) -> list[str]:
    """Return the keys of a stage's providers, in their order."""
    keys = [secrets.get(PROVIDERS[first.provider])]
    for number, fallback in enumerate(_everyone(first)[1:], 1):
        name = fallback_key(stage, number)
        at_home = fallback.base_url == first.base_url
        keys.append(secrets.find(name) or (keys[0] if at_home else secrets.get(name)))
    return keys


def speech_to_text(
    config: AgentConfig, secrets: Secrets, fell_back: FellBack = _nobody, behind: Callable[[], float] = lambda: 0.0
) -> Transcribers:
    """Return Deepgram's transcribers, the first and those that take its place; `behind` tells by how many seconds the
    voice activity detection is late."""
    everyone = [config.stt, *config.stt.fallbacks]
    made = [
        _transcriber(one, config, key) for one, key in zip(everyone, _keys("stt", config.stt, secrets), strict=True)
    ]
    silence = config.vad.min_silence_duration or MIN_SILENCE
    told = partial(fell_back, "stt")
    return Transcribers(made, timeout=config.stt.timeout, silence=silence, fell_back=told, behind=behind)


def _transcriber(one: STTProvider, config: AgentConfig, key: str) -> Transcriber:
    options = chosen(one.options, "endpointing", "utterance_end")
    for name, seconds in (("endpointing_ms", one.options.endpointing), ("utterance_end_ms", one.options.utterance_end)):
        if seconds is not None:
            options[name] = round(seconds * 1000)
    where = given(model=one.model, base_url=one.base_url)
    return Transcriber(api_key=key, language=one.language or config.language, **where, **options)


@functools.cache
def trusted_certificates() -> ssl.SSLContext:
    """Return whom this process trusts; reading the certificates takes too long to do it within a call."""
    return httpx2.create_ssl_context()


def language_model(config: AgentConfig, secrets: Secrets, fell_back: FellBack = _nobody) -> LanguageModels:
    """Return the language models of OpenAI or of servers that speak its protocol, the first and its fallbacks."""
    keys = _keys("llm", config.llm, secrets)
    made = [_model(one, key) for one, key in zip(_everyone(config.llm), keys, strict=True)]
    return LanguageModels(made, config.llm.timeout, partial(fell_back, "llm"))


def _model(one: LLMProvider, key: str) -> openai.LLM:
    """The client is the one that the plugin would make, but for the certificates, which the plugin's would read
    again."""
    http_client = httpx2.AsyncClient(
        verify=trusted_certificates(),
        timeout=httpx2.Timeout(5.0, connect=15.0),
        limits=httpx2.Limits(max_connections=50, max_keepalive_connections=50, keepalive_expiry=120),
        follow_redirects=True,
    )
    client = AsyncOpenAI(api_key=key, base_url=one.base_url, max_retries=0, http_client=http_client)
    options = chosen(one, "provider", "base_url", "timeout", "fallbacks", "extra_headers")
    if one.extra_headers:
        options["extra_headers"] = {header.name: header.value for header in one.extra_headers}
    return openai.LLM(client=client, **options)


def text_to_speech(config: AgentConfig, secrets: Secrets, fell_back: FellBack = _nobody) -> Voices:
    """Return Cartesia's voices, the first and those that take its place."""
    keys = _keys("tts", config.tts, secrets)
    made = [_voice(one, config, key) for one, key in zip(_everyone(config.tts), keys, strict=True)]
    return Voices(made, config.tts.timeout, partial(fell_back, "tts"))


def recording_voice(config: AgentConfig, secrets: Secrets) -> Voices:
    """Return the same voices for what nobody waits to hear."""
    tts = config.tts.model_copy(update={"timeout": RECORDING_SECONDS})
    return text_to_speech(config.model_copy(update={"tts": tts}), secrets)


def _voice(one: TTSProvider, config: AgentConfig, key: str) -> cartesia.TTS:
    """Cartesia knows languages, not regions: `de-CH` is `de` to it."""
    language = (one.language or config.language).split("-")[0].lower()
    options = chosen(one, "provider", "language", "timeout", "fallbacks")
    return cartesia.TTS(api_key=key, language=language, **options)


def voice_activity(config: AgentConfig) -> VoiceActivity:
    """Return Silero's detector, whose weights come with the SDK."""
    return VoiceActivity(**chosen(config.vad))


def turn_detector(config: AgentConfig) -> Any:
    """Return what judges the end of a turn. The version is always explicit: the SDK's own choice may be the
    cloud."""
    detector = config.turn.detector
    threshold = given(unlikely_threshold=config.turn.unlikely_threshold)
    if detector == "multilingual":
        return importlib.import_module(_MULTILINGUAL).MultilingualModel(**threshold)
    if detector == "v1-mini":
        return inference.TurnDetector(version="v1-mini", **threshold)
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
