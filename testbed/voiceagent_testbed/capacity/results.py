"""Writes a measurement down: all numbers, a plot, and the patch."""

from __future__ import annotations

import json
from pathlib import Path

from .plot import draw
from .recommend import Measurement, Recommendation, patch, recommend

REPORT, PLOT, PATCH = "report.json", "plot.png", "patch.yaml"


def write(found: Measurement, folder: Path) -> Recommendation | None:
    """Write the files and return the recommendation; raises OSError where they cannot be written."""
    advice = recommend(found)
    data = {
        "measurement": found.model_dump(mode="json"),
        "recommendation": advice.model_dump(mode="json") if advice else None,
    }
    (folder / REPORT).write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    draw(found, advice, folder / PLOT)
    (folder / PATCH).unlink(missing_ok=True)  # one of an earlier measurement would be taken for this one's
    if advice:
        (folder / PATCH).write_text(patch(found, advice, str(folder / PATCH)), encoding="utf-8")
    return advice
