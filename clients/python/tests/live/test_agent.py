"""The package against a real agent (HEADROOM_SOCKET), in a cgroup whose memory limit is HEADROOM_TEST_LIMIT bytes: two thirds of it
fit once and not twice. HEADROOM_TEST_MOUNT is a filesystem of 4 MiB that has a limit of 95 % there."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import signal
import subprocess
import sys
import threading
import unittest
from typing import Any, List, Optional

import headroom_guard as guard
from headroom_guard import AsyncResourceLimiter, Client, InsufficientResourcesError, ResourceManager
from stand_in import PATIENCE, until

GB = 1 << 30
LIMIT = int(os.environ.get("HEADROOM_TEST_LIMIT", 0)) / GB
MOUNT = os.environ.get("HEADROOM_TEST_MOUNT", "")
SHARE = LIMIT * 2 / 3


def listed(*numbers: Optional[int]) -> None:
    """Waits until the agent lists these leases and no other. It lists them as they were at its last tick."""
    until(lambda: {lease["id"] for lease in Client().reservations()} == set(numbers), f"it lists {numbers}")


def need(gb: float) -> Any:
    return guard.Amounts(mem_gb=gb).need("test")


class Live(unittest.TestCase):
    def setUp(self) -> None:
        self.client = Client(no_agent="raise", limit=PATIENCE)
        # The agent has read the host.
        until(lambda: "memory" in str(self.client.level()["resources"]) and self.client.admit(need(0.001)), "it reads")
        until(lambda: self.client.admit(need(0.001))["verdict"] == "yes", "it knows")
        listed()


class Leases(Live):
    def test_a_lease_is_taken_and_given_back(self) -> None:
        # A busy machine is at level 3: there low priorities have to wait.
        with guard.claim(self.client, need(SHARE), priority=3, wait=PATIENCE) as lease:
            shown = until(lease.shown, "it is listed")
            self.assertEqual((shown["id"], shown["uid"], shown["priority"]), (lease.id, os.getuid(), 3))
            self.assertEqual(shown["owner"]["process"]["pid"], os.getpid())
            self.assertAlmostEqual(shown["resources"][0]["amount"] / GB, SHARE, 6)
            with self.assertRaises(InsufficientResourcesError) as caught:
                guard.claim(self.client, need(SHARE))
            verdict = caught.exception.verdict
            assert verdict is not None
            line = verdict["resources"][0]
            self.assertEqual((line["resource"], line["verdict"]), ("host memory", verdict["verdict"]))
            self.assertEqual(line["short"], line["need"] - line["available"])
            self.assertFalse(guard.check_memory(SHARE, client=self.client))
            lease.touch()
            lease.settled()
            until(lambda: (lease.shown() or shown)["state"] == "settled", "it has settled")
        listed()
        self.assertTrue(guard.check_memory(SHARE, client=self.client))

    def test_two_tasks_share_a_limit_and_the_loop_goes_on(self) -> None:
        inside: List[str] = []
        order: List[str] = []

        async def work(limiter: AsyncResourceLimiter, name: str) -> None:
            async with limiter.acquire(name):
                self.assertEqual(inside, [])
                inside.append(name)
                order.append(name)
                await asyncio.sleep(0.3)
                inside.remove(name)

        async def main() -> int:
            limiter = AsyncResourceLimiter(mem_required_gb=SHARE, client=self.client, timeout=PATIENCE)
            tasks = asyncio.gather(*(work(limiter, name) for name in ("a", "b", "c")))
            ticks = 0
            while not tasks.done():
                await asyncio.sleep(0.01)
                ticks += 1
            await tasks
            return ticks

        self.assertGreater(asyncio.run(main()), 30)
        self.assertEqual(sorted(order), ["a", "b", "c"])
        listed()

    def test_an_exception_inside_gives_back(self) -> None:
        @guard.respect_resource_limits(mem_gb=SHARE, client=self.client)
        async def later() -> None:
            self.assertFalse(guard.check_memory(SHARE, client=self.client))
            raise ZeroDivisionError

        @guard.respect_resource_limits(mem_gb=SHARE, client=self.client)
        def plain() -> None:
            self.assertFalse(guard.check_memory(SHARE, client=self.client))
            raise ZeroDivisionError

        with self.assertRaises(ZeroDivisionError):
            asyncio.run(later())
        listed()
        with self.assertRaises(ZeroDivisionError):
            plain()
        listed()

    def test_the_lease_of_a_killed_process_is_given_back_by_the_agent(self) -> None:
        code = """
import sys, time, headroom_guard as g
lease = g.claim(g.Client(no_agent="raise"), g.Amounts(mem_gb=float(sys.argv[1])).need("killed"))
print(lease.id, flush=True)
time.sleep(600)
"""
        child = subprocess.Popen([sys.executable, "-c", code, str(SHARE)], stdout=subprocess.PIPE)
        try:
            assert child.stdout is not None
            number = int(child.stdout.readline())
            listed(number)
            # Whoever waits for it gets it.
            waiting = threading.Thread(target=self._wait_for_it)
            waiting.start()
            until(lambda: len(self.client.reservations()) == 2, "the second waits")
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait()
            assert child.stdout is not None
            child.stdout.close()
        waiting.join(PATIENCE)
        self.assertFalse(waiting.is_alive())
        listed()

    def _wait_for_it(self) -> None:
        guard.claim(self.client, need(SHARE), wait=PATIENCE).release()

    def test_a_cancelled_task_leaves_neither_a_lease_nor_a_place_in_the_queue(self) -> None:
        async def main() -> None:
            async with await guard.claim_async(self.client, need(SHARE), wait=PATIENCE):
                tasks = [asyncio.ensure_future(guard.claim_async(self.client, need(SHARE), wait=99)) for _ in range(5)]
                while len((await self.client.read_async("reservations"))["waiting"]) < 5:
                    await asyncio.sleep(0.02)
                for task in tasks:
                    task.cancel()
                for task in tasks:
                    with self.assertRaises(asyncio.CancelledError):
                        await task

        asyncio.run(main())
        listed()

    def test_tasks_that_are_cancelled_at_any_moment_leak_nothing(self) -> None:
        async def main() -> None:
            limiter = AsyncResourceLimiter(mem_required_gb=SHARE / 4, client=self.client, timeout=PATIENCE)

            async def work(number: int) -> None:
                async with limiter.acquire(str(number)):
                    await asyncio.sleep(0.01)

            tasks = [asyncio.ensure_future(work(number)) for number in range(40)]
            for number, task in enumerate(tasks):
                await asyncio.sleep(0.005)
                if number % 2:
                    task.cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            self.assertEqual({type(one) for one in done} - {type(None), asyncio.CancelledError}, set(), done)

        asyncio.run(main())
        listed()

    def test_a_manager_reserves_for_its_models(self) -> None:
        with ResourceManager(client=self.client) as manager:
            first = manager.allocate_resources("medium", cpu_memory_gb=SHARE, wait=PATIENCE)
            with self.assertRaises(guard.ResourceExhaustionError):
                manager.allocate_resources("large", cpu_memory_gb=SHARE)
            manager.track_model_cache("medium", SHARE)
            manager.track_model_cache("medium", SHARE)
            listed(first.id)
            self.assertEqual(manager.cleanup(force=True), ["medium"])
            second = manager.allocate_resources("large", cpu_memory_gb=SHARE, wait=PATIENCE)
            listed(second.id)
        listed()

    def test_a_cached_model_goes_when_a_more_important_claim_waits(self) -> None:
        freed: List[Any] = []
        with ResourceManager(client=self.client) as manager:
            # The level of a busy machine holds low priorities back.
            manager.allocate_resources("cached", cpu_memory_gb=SHARE, wait=PATIENCE, priority=3, evictable=True)
            manager.track_model_cache("cached", SHARE)
            manager.add_callback(lambda event: freed.append(event) if event.kind == "eviction" else None)
            self.assertTrue(manager.wait_connected(PATIENCE))
            wanted = manager.allocate_resources("wanted", cpu_memory_gb=SHARE, wait=PATIENCE, priority=4)
            self.assertEqual([event.data["model"] for event in freed], ["cached"])
            self.assertGreater(freed[0].data["wanted"][0]["amount"], 0)
            self.assertEqual(manager.cached_models, {})
            listed(wanted.id)
        listed()

    def test_what_can_never_fit_is_not_waited_for(self) -> None:
        self.assertFalse(guard.wait_for_resources(PATIENCE, mem_required_gb=1 << 20, client=self.client))
        with self.assertRaises(InsufficientResourcesError) as caught:
            guard.require_resources(mem_required_gb=1 << 20, client=self.client)
        assert caught.exception.verdict is not None
        self.assertEqual(caught.exception.verdict["verdict"], "no")


class Host(Live):
    def test_questions_are_answered_as_the_host_is(self) -> None:
        with open("/proc/meminfo", encoding="ascii") as file:
            total = next(int(line.split()[1]) for line in file if line.startswith("MemTotal")) / (1 << 20)
        until(lambda: guard.get_resource_status(client=self.client)["disk"][MOUNT]["available_gb"] is not None, "it is read")
        status = guard.get_resource_status(client=self.client)
        self.assertAlmostEqual(status["memory"]["total_gb"], total, 1)
        self.assertEqual(status["memory"]["limit_percent"], 100.0)
        self.assertIn(MOUNT, status["disk"])
        text = io.StringIO()
        guard.print_resource_status(text, client=self.client)
        self.assertIn(f"Disk {MOUNT}", text.getvalue())
        free = shutil.disk_usage(MOUNT).free / GB
        self.assertTrue(guard.check_disk_space(free / 2, MOUNT, client=self.client))
        self.assertFalse(guard.check_disk_space(free * 2, MOUNT, client=self.client))
        actions = guard.get_recommended_actions(client=self.client)
        self.assertTrue(any(line.startswith("Memory ") for line in actions), actions)
        self.assertTrue(guard.should_proceed_with_priority(guard.OperationPriority.CRITICAL, client=self.client))
        guard.ResourceOptimizer(client=self.client).get_optimization_suggestions(self.client.report())


if __name__ == "__main__":
    unittest.main()
