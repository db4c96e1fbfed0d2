"""Tasks that wait for room while the agent is killed and started again: an agent of their own, the program HEADROOM_TEST_AGENT."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
import unittest
from typing import Iterator, List

from headroom_guard import Amounts, AsyncResourceLimiter, Client, NoAgentError, claim
from stand_in import PATIENCE, folder, until

#: More than half of what this cgroup may have.
SHARE = int(os.environ.get("HEADROOM_TEST_LIMIT", 0)) / (1 << 30) * 2 / 3
CONFIG = """
listen = "127.0.0.1:0"
lock = "{0}/lock"
socket = "{0}/headroom.sock"
tick = "200ms"
[level]
memory_limit = 1.0
[journal]
dir = "{0}/journal"
"""


@contextlib.contextmanager
def running(path: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [os.environ["HEADROOM_TEST_AGENT"], "run", "--config", os.path.join(path, "headroom.toml")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADROOM_")}
    with open(os.path.join(path, "log"), "ab") as log:
        agent = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        yield agent
    finally:
        agent.kill()
        agent.wait()


class Restart(unittest.TestCase):
    def test_tasks_that_wait_go_on_after_a_kill_of_the_agent(self) -> None:
        with folder() as path:
            with open(os.path.join(path, "headroom.toml"), "w", encoding="utf-8") as file:
                file.write(CONFIG.format(path))
            where = os.path.join(path, "headroom.sock")
            client = Client(where, no_agent="raise", limit=PATIENCE)
            inside: List[int] = []
            done: List[int] = []

            async def work(limiter: AsyncResourceLimiter, number: int) -> None:
                async with limiter.acquire(str(number)):
                    self.assertEqual(inside, [])
                    inside.append(number)
                    await asyncio.sleep(0.05)
                    inside.remove(number)
                    done.append(number)

            async def listed(leases: int, waiting: int) -> None:
                deadline, found = time.monotonic() + PATIENCE, None
                while found != (leases, waiting):
                    self.assertLess(time.monotonic(), deadline, f"{found} are listed, not {(leases, waiting)}")
                    # It is not there yet.
                    with contextlib.suppress(NoAgentError):
                        answer = await client.read_async("reservations")
                        found = len(answer["reservations"]), len(answer["waiting"])
                    await asyncio.sleep(0.05)

            async def main() -> None:
                limiter = AsyncResourceLimiter(mem_required_gb=SHARE, client=client, timeout=PATIENCE)
                with running(path) as agent:
                    until(lambda: os.path.exists(where), "it listens")
                    held = claim(client, Amounts(mem_gb=SHARE).need("held"), wait=PATIENCE)
                    tasks = asyncio.gather(*(work(limiter, number) for number in range(20)))
                    await listed(1, 8)
                    agent.send_signal(signal.SIGKILL)
                    agent.wait()
                with running(path):
                    # The lease is still held, and those who waited do so again.
                    await listed(1, 8)
                    self.assertEqual(done, [])
                    await held.release_async()
                    await tasks
                    await listed(0, 0)

            asyncio.run(main())
            self.assertEqual(sorted(done), list(range(20)))


if __name__ == "__main__":
    unittest.main()
