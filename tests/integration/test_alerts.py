"""Alerts and dashboards, judged by Prometheus itself: every expression is valid, and every alert fires when it should
and only then."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from voiceagent_testbed.monitoring import ALERTS, panels, program

AT = 'namespace="voice", voiceagent_dev_agent="desk", pod="desk-1"'


@pytest.fixture
async def judge(tmp_path: Path) -> Any:
    promtool = await program("promtool")

    def run(*arguments: str | Path) -> str:
        done = subprocess.run(
            [promtool, *map(str, arguments)], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def counter(name: str, label: str = "", steps: str = "0x60") -> dict[str, str]:
    return {"series": f"voiceagent_{name}{{{AT}{', ' if label else ''}{label}}}", "values": steps}


def calls(live: int, capacity: int = 8, cordoned: int = 0) -> list[dict[str, str]]:
    now = {"live_calls": live, "capacity": capacity, "cordoned": cordoned}
    return [counter(name, steps=f"{value}x60") for name, value in now.items()]


def ended(**per_minute: float) -> list[dict[str, str]]:
    outcomes = {"completed": 1.0, "error": 0.0, "crashed": 0.0} | per_minute
    return [counter("calls_ended_total", f'outcome="{outcome}"', f"0+{rate}x60") for outcome, rate in outcomes.items()]


def answers(below: str) -> list[dict[str, str]]:
    """Ten answers a minute, all in the bucket with this upper bound."""
    bounds = ["1.0", "2.0", "3.0", "5.0", "+Inf"]
    return [
        counter(
            "turn_seconds_bucket", f'stage="e2e", le="{bound}"', "0+10x60" if float(bound) >= float(below) else "0x60"
        )
        for bound in bounds
    ]


TURNS = counter("turn_seconds_count", 'stage="e2e"', "0+2x60")
NO_TURNS = counter("turn_seconds_count", 'stage="e2e"')


def longest(reason: str, steps: str) -> list[dict[str, str]]:
    return [counter("operator_autoscaling_longest_seconds", f'reason="{reason}"', steps)]


SCENES = {
    "VoiceAgentWithoutWorkers": ([counter("ready")], [counter("ready", steps="1x60")]),
    "VoiceAgentFull": (calls(8), calls(7)),
    "VoiceAgentNearlyFull": (calls(7), calls(6)),
    "VoiceAgentWorkerNotRegistered": ([counter("registered")], [counter("registered", steps="1x60")]),
    "VoiceAgentCallsFail": (ended(error=0.5), ended(completed=100, error=0.5)),
    "VoiceAgentCallCrashed": (ended(crashed=0.1), ended()),
    "VoiceAgentProviderFails": (
        [counter("provider_errors_total", 'stage="llm"', "0+12x60")],
        [counter("provider_errors_total", 'stage="llm"', "0+2x60")],
    ),
    "VoiceAgentAnswersSlowly": (answers("5.0"), answers("2.0")),
    "VoiceAgentDeaf": ([*calls(3), NO_TURNS], [*calls(3), TURNS]),
    "VoiceAgentPlatformAPIFails": (
        [counter("platform_api_requests_total", 'result="failed"', "0+1x60")],
        [
            counter("platform_api_requests_total", 'result="failed"', "0+1x60"),
            counter("platform_api_requests_total", 'result="ok"', "0+5x60"),
        ],
    ),
    "VoiceAgentObservationsLost": (
        [counter("observations_lost_total", "", "0x30 5x30")],
        [counter("observations_lost_total")],
    ),
    "VoiceAgentAtMaximum": (longest("AtMaximum", "0+60x60"), longest("AtMaximum", "300x60")),
    "VoiceAgentReportsMissing": (longest("ReportsMissing", "0+60x60"), longest("ReportsMissing", "120x60")),
    "VoiceAgentWaitsForWorkers": (
        [counter("operator_autoscaling_longest_wait_seconds", "", "0+60x60")],
        [counter("operator_autoscaling_longest_wait_seconds", "", "300x60")],
    ),
}


def test_every_alert_has_its_scenes() -> None:
    rules = [rule["alert"] for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
    assert sorted(rules) == sorted(SCENES)


async def test_every_alert_fires_when_it_should_and_only_then(judge: Any, tmp_path: Path) -> None:
    tests = []
    for alert, (bad, good) in SCENES.items():
        for scene, count in ((bad, 1), (good, 0)):
            expression = f'count(ALERTS{{alertname="{alert}", alertstate="firing"}}) or vector(0)'
            check = {"expr": expression, "eval_time": "45m", "exp_samples": [{"labels": "{}", "value": count}]}
            tests.append({"interval": "1m", "input_series": scene, "promql_expr_test": [check]})
    document = {"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": tests}
    (tmp_path / "alerts.test.yaml").write_text(yaml.safe_dump(document))
    assert "SUCCESS" in judge("test", "rules", "alerts.test.yaml")


async def test_every_question_of_the_dashboards_is_a_valid_one(judge: Any, tmp_path: Path) -> None:
    asked = [target["expr"] for panel in panels() for target in panel["targets"]]
    plain = [
        each.replace("$__rate_interval", "5m").replace("$namespace", ".*").replace("$agent", ".*") for each in asked
    ]
    rules = [{"record": f"dashboard:{number}", "expr": each} for number, each in enumerate(plain)]
    (tmp_path / "dashboards.yaml").write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]}))
    assert f"{len(rules)} rules found" in judge("check", "rules", "dashboards.yaml")
