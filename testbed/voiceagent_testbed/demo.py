"""The demo: everything brought up, a VoiceAgent applied, and a call that is answered, interrupted and hung up."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console

from .caller import CallReport, Script, call
from .caller.table import show_call
from .errors import TestbedError
from .images.build import PROJECT
from .installation import NAMESPACE
from .progress import Board
from .testbed import Testbed, env_file
from .vendors import real_keys

NAME = "demo"
EXAMPLE = PROJECT / "examples" / "receptionist.yaml"
AGENT = "receptionist"
RECORDINGS = PROJECT / "recordings"


async def run(console: Console) -> CallReport:
    """Run the demo and leave its cluster running; raise TestbedError with the log to read when a step fails."""
    board = Board(console)
    keys = real_keys(env_file())
    console.print(_vendors_sentence(keys), soft_wrap=True)
    testbed = Testbed(NAME, board=board, real_keys=keys)
    async with board.shown():
        await testbed.up()
        with board.step(f"apply {EXAMPLE.relative_to(PROJECT)}"):
            await testbed.installation.apply(EXAMPLE)
        with board.step("wait until the VoiceAgent is Ready"):
            await testbed.installation.ready(AGENT)
        with board.step("call the agent"):
            report = await _call(testbed, board)
    console.print(f"\nReady {time.monotonic() - board.began:.0f} s after the start. The conversation:", highlight=False)
    show_call(report, console)
    await _show_where_to_look(testbed, console)
    _judge(report)
    return report


async def _call(testbed: Testbed, board: Board) -> CallReport:
    livekit = testbed.livekit
    return await call(
        livekit.url,
        livekit.api_key,
        livekit.api_secret,
        f"demo-{time.strftime('%H%M%S')}",
        Script.default(),
        folder=RECORDINGS,
        picture=True,
        transcribe=True,
        progress=lambda text: board.note("call the agent", text),
    )


def _judge(report: CallReport) -> None:
    """Raise TestbedError when the call was not what the demo promises."""
    if report.dropped:
        raise TestbedError(f"The call was dropped: {report.reason}. `kubectl logs` of the worker's pod says more.")
    if any(turn.answer_started_s is None for turn in report.turns):
        raise TestbedError("The agent left something unanswered; `kubectl logs` of the worker's pod says more.")
    if not any(turn.interrupted and turn.agent_stopped for turn in report.turns):
        raise TestbedError("The agent did not stop when it was interrupted; listen to the recording.")


def _vendors_sentence(keys: dict[str, str]) -> str:
    if not keys:
        return "No vendor keys in .env: Deepgram, OpenAI and Cartesia are simulated on this machine."
    return f"Real vendors for {', '.join(sorted(keys))} from .env; the rest is simulated on this machine."


async def _show_where_to_look(testbed: Testbed, console: Console) -> None:
    cluster, installation = testbed.cluster, testbed.installation
    kubectl = Path(installation.binaries["kubectl"])
    pods = await installation.worker_pods(AGENT)
    lines = [
        "",
        "The cluster goes on until `make demo-down`. Where to look next:",
        f"  export KUBECONFIG={cluster.kubeconfig}",
        f"  alias kubectl={kubectl}",
        "  kubectl get va                      # the VoiceAgent, and why it is or is not ready",
        "  kubectl explain va.spec             # what can be set",
        f"  kubectl logs deploy/{AGENT}     # the worker's log",
        f"  kubectl logs -n {NAMESPACE} -l app.kubernetes.io/name=voiceagent-operator",
        *(f"  curl http://{pod['status']['podIP']}:8081/metrics" for pod in pods if pod["status"].get("podIP")),
        f"  {cluster.logs}    # the log of each part",
    ]
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)
