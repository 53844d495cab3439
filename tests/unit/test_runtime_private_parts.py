"""Five modules alone touch what the SDK does not promise to keep, so an upgrade of the SDK is read in five places."""

import ast
from pathlib import Path

import pytest

import voiceagent_runtime

FOLDER = Path(voiceagent_runtime.__file__).parent
ALLOWED = (
    FOLDER / "worker.py",
    FOLDER / "native_log.py",
    FOLDER / "speaking_rate.py",
    FOLDER / "chain" / "deepgram_stream.py",
    FOLDER / "chain" / "voice_activity.py",
)
NAMED_TUPLES = ("_asdict", "_replace")  # public, whatever they look like


def private_parts(source: str) -> list[str]:
    """Return each use of another object's private attribute, and each private module of the SDK."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            if not own and node.attr not in NAMED_TUPLES:
                found.append(f"line {node.lineno}: {ast.unparse(node)}")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("livekit"):
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            found += [f"line {node.lineno}: {name}" for name in names if name.startswith("_")]
    return found


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.py")), ids=lambda path: str(path.relative_to(FOLDER)))
def test_only_these_touch_the_sdks_private_parts(path: Path) -> None:
    found = private_parts(path.read_text())
    assert bool(found) is (path in ALLOWED), found


def test_a_private_part_is_noticed() -> None:
    source = "from livekit.agents.ipc import _preload\nself._own = server._proc_pool\nserver.__class__"
    assert private_parts(source) == ["line 1: _preload", "line 2: server._proc_pool"]
