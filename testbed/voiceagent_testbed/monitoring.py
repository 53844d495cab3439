"""What the chart's dashboards and alerts ask Prometheus for, and Prometheus' own tool to judge it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import yaml

from . import machine

REPOSITORY = Path(__file__).parents[2]
AUTOSCALING = REPOSITORY / "examples" / "autoscaling"
FILES = REPOSITORY / "charts" / "voiceagent-operator" / "files"
ALERTS = FILES / "alerts" / "voice-agents.yaml"
DASHBOARDS = sorted((FILES / "dashboards").glob("*.json"))


def panels() -> list[dict[str, Any]]:
    """Return the panels of all dashboards that ask for something."""
    found = [panel for path in DASHBOARDS for panel in json.loads(path.read_text())["panels"]]
    return [panel for panel in found if panel["type"] != "row"]


def questions() -> list[str]:
    """Return every expression of the dashboards, and every alert's."""
    asked = [target["expr"] for panel in panels() for target in panel["targets"]]
    return asked + [rule["expr"] for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def example(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the VoiceAgent of an example, and what scales it."""
    agent, scaler = yaml.safe_load_all((AUTOSCALING / name).read_text())
    return agent, scaler


def adapter_rule() -> dict[str, Any]:
    """Return the rule by which prometheus-adapter answers the example for a HorizontalPodAutoscaler."""
    (rule,) = yaml.safe_load((AUTOSCALING / "prometheus-adapter" / "values.yaml").read_text())["rules"]["external"]
    return dict(rule)


def keda_question() -> str:
    """Return what KEDA asks Prometheus by its example."""
    _, scaled = example("keda.yaml")
    return str(scaled["spec"]["triggers"][0]["metadata"]["query"])


def series(question: str) -> set[str]:
    """Return the names of the series that an expression reads."""
    return set(re.findall(r"\bvoiceagent_\w+", question)) - {"voiceagent_dev_agent"}


def selected(question: str) -> set[tuple[str, str, str]]:
    """Return series, label and value wherever an expression selects by a label of the worker's."""
    found = set()
    for name, inside in re.findall(r"(voiceagent_\w+)\{([^}]*)\}", question):
        for label, values in re.findall(r'(\w+)[!=]~?"([^"$]*)"', inside):
            found |= {(name, label, value) for value in values.split("|")}
    return found


async def program(name: str) -> str:
    """Return the path of a program of Prometheus', after Debian's package is installed if it must be."""
    await machine.install_packages({name: "prometheus"}, announce=print)
    return str(shutil.which(name, path=machine.SYSTEM_PATH))
