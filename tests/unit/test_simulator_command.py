"""The command refuses bad input in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from voiceagent_testbed.simulators.__main__ import app


@pytest.mark.parametrize(
    ("option", "content", "sentence"),
    [
        ("--transcripts", None, "cannot be read"),
        ("--transcripts", "\n \n", "hold no line"),
        ("--script", "rules: 3", "is wrong at rules"),
    ],
    ids=["no file", "empty file", "bad script"],
)
def test_a_bad_file_is_named_without_a_traceback(
    tmp_path: Path, option: str, content: str | None, sentence: str
) -> None:
    path = tmp_path / "file"
    if content is not None:
        path.write_text(content)
    result = CliRunner().invoke(app, [option, str(path)])
    assert result.exit_code == 1
    assert sentence in result.output
    assert "Traceback" not in result.output
