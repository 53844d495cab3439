"""The user's own kubectl, with the kubeconfig that it finds by itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from voiceagent_testbed.errors import TestbedError
from voiceagent_testbed.processes import run


@dataclass
class Kubectl:
    """The user's kubectl; it outlives a Ctrl-C, so that what was begun can be taken away."""

    program: str
    namespace: str
    context: str | None = None

    async def __call__(self, *args: str, stdin: str | None = None, timeout: float = 60.0) -> str:
        """Run kubectl and return what it prints; a failure is a TestbedError with its last word."""
        context = ["--context", self.context] if self.context else []
        given = None if stdin is None else stdin.encode()
        words = [self.program, *context, "-n", self.namespace, *args]
        try:
            return await run(*words, stdin=given, timeout=timeout, apart=True)
        except TestbedError as error:
            said = str(error).splitlines()
            raise TestbedError(said[0] if len(said) == 1 else f"kubectl failed: {said[-1]}") from None

    async def agent(self, name: str) -> dict[str, Any]:
        """Return a VoiceAgent as the API server has it."""
        try:
            found: dict[str, Any] = json.loads(await self("get", "voiceagents.voiceagent.dev", name, "-o", "json"))
        except TestbedError as error:
            if "NotFound" not in str(error):
                raise
            raise TestbedError(
                f"There is no VoiceAgent {name} in the namespace {self.namespace}; `kubectl get va -A` lists them."
            ) from None
        return found
