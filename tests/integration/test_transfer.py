"""The transfer of a telephone call as it stands on the wire, and what the model is told where it does not come about.

The testbed has no telephone line: an HTTP server of LiveKit's API takes the requests.
"""

from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web
from livekit import api
from livekit.agents.llm import ToolError
from livekit.protocol.sip import SIPTransferStatus, TransferSIPParticipantRequest, TransferSIPParticipantResponse

from voiceagent_runtime.line import transfer
from voiceagent_testbed.ports import free_port

KEY, SECRET = "key", "a secret that is long enough for its purpose"
Answer = Callable[[], web.Response]


class LiveKitAPI:
    """Takes transfers, and answers as it is told."""

    def __init__(self) -> None:
        self.taken: list[tuple[TransferSIPParticipantRequest, api.access_token.Claims]] = []
        self.answer: Answer = lambda: self.with_status(SIPTransferStatus.STS_TRANSFER_SUCCESSFUL)
        app = web.Application()
        app.router.add_post("/twirp/livekit.SIP/TransferSIPParticipant", self._take)
        self._runner = web.AppRunner(app, access_log=None)
        self.port = free_port("127.0.0.1")

    async def __aenter__(self) -> "LiveKitAPI":
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @staticmethod
    def with_status(status: SIPTransferStatus.ValueType) -> web.Response:
        body = TransferSIPParticipantResponse(status=status).SerializeToString()
        return web.Response(body=body, content_type="application/protobuf")

    async def _take(self, request: web.Request) -> web.Response:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        claims = api.TokenVerifier(KEY, SECRET).verify(token)
        self.taken.append((TransferSIPParticipantRequest.FromString(await request.read()), claims))
        return self.answer()


@pytest.fixture
async def server() -> AsyncIterator[LiveKitAPI]:
    async with LiveKitAPI() as running:
        yield running


@pytest.fixture
async def client(server: LiveKitAPI) -> AsyncIterator[api.LiveKitAPI]:
    async with api.LiveKitAPI(f"http://127.0.0.1:{server.port}", KEY, SECRET) as ready:
        yield ready


async def test_a_transfer_names_the_caller_the_room_and_the_target(server: LiveKitAPI, client: api.LiveKitAPI) -> None:
    await transfer(client, "desk-1", "sip_caller", "+41441234567", play_dialtone=True)
    ((request, claims),) = server.taken
    assert (request.room_name, request.participant_identity) == ("desk-1", "sip_caller")
    assert (request.transfer_to, request.play_dialtone) == ("+41441234567", True)
    assert claims.sip is not None
    assert claims.sip.call


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda: LiveKitAPI.with_status(SIPTransferStatus.STS_TRANSFER_FAILED), "Nobody took the call over"),
        (lambda: web.json_response({"code": "not_found", "msg": "who?"}, status=404), "The transfer did not work"),
        (lambda: web.json_response({"code": "unavailable", "msg": "busy"}, status=503), "The transfer did not work"),
    ],
    ids=["declined", "unknown", "unavailable"],
)
async def test_a_transfer_that_does_not_come_about_is_told_to_the_model(
    server: LiveKitAPI, client: api.LiveKitAPI, answer: Answer, told: str
) -> None:
    server.answer = answer
    with pytest.raises(ToolError, match=told):
        await transfer(client, "desk-1", "sip_caller", "+41441234567", play_dialtone=False)


async def test_a_livekit_that_is_away_is_told_too(server: LiveKitAPI) -> None:
    async with api.LiveKitAPI(f"http://127.0.0.1:{free_port('127.0.0.1')}", KEY, SECRET) as client:
        with pytest.raises(ToolError, match="The transfer did not work"):
            await transfer(client, "desk-1", "sip_caller", "+41441234567", play_dialtone=False)
