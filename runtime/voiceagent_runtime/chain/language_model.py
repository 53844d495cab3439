"""Language models behind one: the next answers when one fails, stays silent, or stops in the middle.

The SDK's FallbackAdapter ends the turn when a model stops in the middle, writes the conversation into its log when
it does, and tries a model again by sending it the whole conversation a second time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from livekit.agents import APIError, APITimeoutError, llm
from livekit.agents.llm import ChatChunk, ChatContext, Tool, ToolChoice
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, APIConnectOptions, NotGivenOr

from .continuation import Unrepeated, continued
from .rotation import ChainFailedError, Rotation, cause

log = logging.getLogger("voiceagent.chain")

RETRY_PAUSE = 0.3
PREWARM_SECONDS = 1.0


class LanguageModels(llm.LLM[Any]):
    """Asks the first of its models that works."""

    def __init__(self, models: Sequence[llm.LLM[Any]], timeout: float, fell_back: Callable[[], None]) -> None:
        super().__init__()
        self.models, self.timeout, self.fell_back = models, timeout, fell_back
        self.rotation = Rotation(len(models))
        self._warming: asyncio.TimerHandle | None = None
        for model in models:
            model.on("metrics_collected", lambda *event: self.emit("metrics_collected", *event))

    @property
    def _next(self) -> llm.LLM[Any]:
        return self.models[self.rotation.order()[0]]

    @property
    def model(self) -> str:
        """The model that is asked next."""
        return self._next.model

    @property
    def provider(self) -> str:
        """Where it is."""
        return self._next.provider

    def chat(
        self,
        *,
        chat_ctx: ChatContext,
        tools: list[Tool] | None = None,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
        parallel_tool_calls: NotGivenOr[bool] = NOT_GIVEN,
        tool_choice: NotGivenOr[ToolChoice] = NOT_GIVEN,
        extra_kwargs: NotGivenOr[dict[str, Any]] = NOT_GIVEN,
    ) -> llm.LLMStream:
        """Begin an answer."""
        options = {"parallel_tool_calls": parallel_tool_calls, "tool_choice": tool_choice, "extra_kwargs": extra_kwargs}
        return _Answer(self, chat_ctx, tools or [], replace(conn_options, max_retry=0), options)

    def prewarm(self, *, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Open the first model's connection, but not at once: the greeting comes first, and wants the CPU."""
        if self._warming is None:
            loop = loop or asyncio.get_running_loop()
            self._warming = loop.call_later(PREWARM_SECONDS, lambda: self.models[0].prewarm(loop=loop))

    async def aclose(self) -> None:
        """Close all models."""
        if self._warming is not None:
            self._warming.cancel()
        for model in self.models:
            await model.aclose()


class _Answer(llm.LLMStream):
    """One answer, of one model or of several."""

    _llm_request_span_name: ClassVar[str] = "llm_chain"
    _llm_attempt_span_name: ClassVar[str | None] = None
    _genai_operation_name: ClassVar[str | None] = None

    def __init__(
        self,
        chain: LanguageModels,
        context: ChatContext,
        tools: list[Tool],
        conn_options: APIConnectOptions,
        options: dict[str, Any],
    ) -> None:
        super().__init__(chain, chat_ctx=context, tools=tools, conn_options=conn_options)
        self._chain, self._options = chain, options
        self._said = ""
        self._called = False

    async def _run(self) -> None:
        chain, errors = self._chain, list[APIError]()
        for number in chain.rotation.attempts():
            if errors and len(chain.models) == 1:
                await asyncio.sleep(RETRY_PAUSE)
            try:
                await self._ask(number)
            except APIError as error:
                errors.append(error)
                chain.rotation.failed(number, error)
                self._emit_error(error, recoverable=True)
                log.warning("a language model failed", extra={"number": number, "cause": cause(error)})
                if self._called:  # the tools that were called are at work: what comes of them is another request
                    return
                continue
            chain.rotation.succeeded(number)
            if number:
                chain.fell_back()
            return
        raise ChainFailedError(f"no language model answers: {cause(errors[-1])}", permanent=chain.rotation.hopeless)

    async def _ask(self, number: int) -> None:
        """Pass on what a model says; raise APIError when it fails or falls silent."""
        timeout, new = self._chain.timeout, Unrepeated(self._said)
        stream = self._chain.models[number].chat(
            chat_ctx=continued(self._chat_ctx, self._said),
            tools=self._tools,
            conn_options=APIConnectOptions(max_retry=0, timeout=timeout),
            **self._options,
        )
        async with stream:
            while True:
                try:
                    async with asyncio.timeout(timeout):
                        chunk = await anext(stream)
                except StopAsyncIteration:
                    return
                except TimeoutError:
                    raise APITimeoutError(f"nothing came for {timeout:g} seconds") from None
                self._pass_on(chunk, new)

    def _pass_on(self, chunk: ChatChunk, new: Unrepeated) -> None:
        if chunk.delta is not None:
            if chunk.delta.content:
                chunk.delta.content = new.feed(chunk.delta.content)
                self._said += chunk.delta.content
            self._called = self._called or bool(chunk.delta.tool_calls)
        self._event_ch.send_nowait(chunk)

    async def _metrics_monitor_task(self, event_aiter: AsyncIterable[ChatChunk]) -> None:
        async for _ in event_aiter:  # each model reports for itself
            pass
