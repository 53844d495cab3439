"""A control plane that grows from size to size: what is the same in each benchmark of the operator."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from voiceagent_testbed.cluster.control_plane import ControlPlane
from voiceagent_testbed.fleet.client import Client
from voiceagent_testbed.fleet.nodes import Nodes

CRD = Path(__file__).parents[1] / "crds" / "voiceagent.dev_voiceagents.yaml"
Figures = dict[str, float]
Measure = Callable[[int], AsyncIterator[Figures]]
"""Measures a size, one thing after the other."""


async def measure_each(
    sizes: list[int], unit: str, begin: Callable[[ControlPlane, Client, Nodes], Awaitable[Measure]], out: Path | None
) -> None:
    """Measure all sizes on one control plane with played nodes; print, and write to `out`, what is there so far, and at
    the end the table."""
    console, results = Console(), dict[int, Figures]()
    with tempfile.TemporaryDirectory(prefix="sizes-") as folder:
        async with ControlPlane(directory=Path(folder)) as plane:
            await plane.kubectl("apply", "-f", CRD)
            client = Client(plane)
            try:
                async with Nodes(client) as nodes:
                    measure = await begin(plane, client, nodes)
                    for size in sizes:
                        results[size] = {}
                        console.print(f"{size} {unit}:")
                        async for figures in measure(size):
                            results[size] |= figures
                            console.print(*(f"{name}: {figure:.4g}" for name, figure in figures.items()), sep="\n")
                            if out is not None:
                                out.write_text(json.dumps(results, indent=1))
            finally:
                await client.close()
    table = Table("", *(f"{size} {unit}" for size in sizes))
    for name in results[sizes[0]]:
        table.add_row(name, *(f"{results[size][name]:.4g}" for size in sizes))
    console.print(table)
