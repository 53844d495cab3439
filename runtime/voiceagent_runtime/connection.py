"""Why there is no connection to LiveKit, in words (pure)."""

from __future__ import annotations

import aiohttp

from .errors import Problem, Reason


def connection_problem(cause: BaseException, url: str) -> Problem:
    """Say in a sentence why there is no connection to LiveKit (pure)."""
    status = cause.status if isinstance(cause, aiohttp.WSServerHandshakeError) else None
    if status in (401, 403):
        return Problem(
            Reason.AUTHENTICATION_FAILED,
            f"LiveKit at {url} refuses the key: LIVEKIT_API_KEY or LIVEKIT_API_SECRET is wrong. "
            "Correct them in the credentials Secret or the environment.",
        )
    if status is not None:
        detail = f"it answers HTTP {status}; is this address a LiveKit server?"
    elif isinstance(cause, aiohttp.ClientConnectorDNSError):
        detail = "the host name is not known; is LIVEKIT_URL right?"
    elif isinstance(cause, aiohttp.ClientConnectorError):
        detail = f"{cause.strerror or 'no connection'}; is it running, and is LIVEKIT_URL right?"
    elif isinstance(cause, TimeoutError):
        detail = "it takes connections and does not answer; is this address a LiveKit server?"
    else:
        detail = "the connection was lost; is it running?"
    return Problem(Reason.LIVEKIT_UNREACHABLE, f"Cannot reach LiveKit at {url}: {detail}")
