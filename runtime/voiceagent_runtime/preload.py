"""What every job process is born with: imported once, in the process that job processes are forked from (where they
are spawned instead, each imports it before it is warm).

The libraries put off some of their start until they are first used, which is in the middle of a call: it would hold up
the caller's audio by tenths of a second, and cost CPU time for every call. Here it is done before any call.
"""

from __future__ import annotations

import contextlib
import platform
import signal

import anyio
from livekit.agents.llm import ChatContext, async_toolset
from livekit.agents.tokenize import basic
from livekit.agents.utils import http_context
from numpy import fft
from openai.resources.chat import AsyncChat
from openai.resources.chat.completions import AsyncCompletions
from openai.resources.models import AsyncModels

from . import call, providers, speaking_rate

# `call` is what runs in a job process; the others would be imported at its start and at its first answer.
__all__ = ["AsyncChat", "AsyncCompletions", "AsyncModels", "async_toolset", "call", "fft"]


# A signal to the whole process group (Ctrl-C in a terminal, a supervisor that stops a service) is for the main process,
# which ends its job processes in order. They and the process that they are forked from would die of it, and all calls.
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)


async def open_a_session() -> None:
    """Let the SDK read the trusted certificates for its HTTP sessions; it keeps them."""
    async with http_context.open():
        pass


speaking_rate.install()

ChatContext.empty().add_message(role="user", content="")  # the first message of a process builds its type's schema
basic.hyphenate_word("hyphenation")  # and the first word its table of syllables
platform.platform()  # the OpenAI client tells it with its first request; finding out starts a program

# Certificates that cannot be read are told by `prewarm`, as a sentence; an error here would end the process that all
# job processes come from.
with contextlib.suppress(OSError):
    providers.trusted_certificates()
    anyio.run(open_a_session)  # with it, anyio imports the half that talks to asyncio
