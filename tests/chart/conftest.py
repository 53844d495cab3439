"""The chart as Helm renders it."""

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from voiceagent_testbed.binaries import Builder

CHART = Path(__file__).parents[2] / "charts" / "voiceagent-operator"

Objects = list[dict[str, Any]]


@pytest.fixture(scope="session")
def chart() -> Path:
    return CHART


@pytest.fixture(scope="session")
def helm() -> Callable[..., "subprocess.CompletedProcess[str]"]:
    program = asyncio.run(Builder().build("helm"))["helm"]

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([str(program), *arguments], capture_output=True, text=True, check=False, timeout=60)

    return run


@pytest.fixture(scope="session")
def render(helm: Callable[..., "subprocess.CompletedProcess[str]"]) -> Callable[..., Objects]:
    """Render the chart as release `va` in namespace `voice`; each argument is one of `--set-json`."""

    def objects(*values: str, chart: Path = CHART) -> Objects:
        settings = [f"--set-json={value}" for value in values]
        done = helm("template", "va", str(chart), "--namespace=voice", *settings)
        assert done.returncode == 0, done.stderr
        return [each for each in yaml.safe_load_all(done.stdout) if each]

    return objects


@pytest.fixture(scope="session")
def refusal(helm: Callable[..., "subprocess.CompletedProcess[str]"]) -> Callable[..., str]:
    """Render with values that must be refused; return what Helm says."""

    def message(*values: str) -> str:
        done = helm("template", "va", str(CHART), *(f"--set-json={value}" for value in values))
        assert done.returncode != 0, f"accepted: {values}"
        return done.stderr

    return message
