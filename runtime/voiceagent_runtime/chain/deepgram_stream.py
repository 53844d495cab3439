"""Deepgram's plugin, and the moment of each message: its events alone do not tell a dead connection from silence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, APIConnectOptions, NotGivenOr
from livekit.plugins import deepgram


class Transcriber(deepgram.STT):
    """Deepgram's transcriber; `on_message` is called for whatever it sends, empty results included."""

    on_message: Callable[[], None] = staticmethod(lambda: None)

    def stream(
        self,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> deepgram.SpeechStream:
        """Open a stream."""
        stream = _Stream(
            stt=self,
            conn_options=conn_options,
            opts=self._sanitize_options(language=language),
            api_key=self._api_key,
            http_session=self._ensure_session(),
            base_url=self._opts.endpoint_url,
        )
        self._streams.add(stream)
        return stream


class _Stream(deepgram.SpeechStream):
    _stt: Transcriber

    def _process_stream_event(self, data: dict[str, Any]) -> None:
        self._stt.on_message()
        super()._process_stream_event(data)
