"""The least that an autoscaler must do, and nothing else: ask workers for their calls every few seconds, and add up.

`status_reader.py FILE SECONDS`, with an address on each line of the file. It stands beside the operator in the
benchmark of the autoscaler.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from time import monotonic

import aiohttp

CONNECTIONS = 256
PATIENCE = aiohttp.ClientTimeout(total=None, sock_connect=2, sock_read=2)  # not counted while it waits for its turn


async def read(addresses: list[str], seconds: float) -> None:
    """Ask all workers, again and again; print how many calls they have."""
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(connector=connector, timeout=PATIENCE) as session:

        async def calls(address: str) -> int:
            async with session.get(f"http://{address}/status") as answer:
                return int((await answer.json())["sessions"])

        while True:
            began = monotonic()
            print(sum(await asyncio.gather(*map(calls, addresses))), flush=True)
            await asyncio.sleep(max(0.0, seconds - (monotonic() - began)))


if __name__ == "__main__":
    asyncio.run(read(Path(sys.argv[1]).read_text().split(), float(sys.argv[2])))
