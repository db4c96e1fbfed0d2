"""The package against a real agent (HEADROOM_SOCKET), in a cgroup whose memory limit is HEADROOM_TEST_LIMIT bytes: two thirds of it
fit once and not twice. HEADROOM_TEST_MOUNT is a filesystem of 4 MiB that has a limit of 95 % there."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import unittest
from typing import Any, Dict, List, Optional, Tuple

import headroom_guard as guard
from headroom_guard import AsyncResourceLimiter, Client, Event, InsufficientResourcesError, Lease, ResourceManager
from stand_in import PATIENCE, until

GB = 1 << 30
LIMIT = int(os.environ.get("HEADROOM_TEST_LIMIT", 0)) / GB
MOUNT = os.environ.get("HEADROOM_TEST_MOUNT", "")
SHARE = LIMIT * 2 / 3


def own() -> "set[int]":
    """The leases of this process and of those that it started, as the agent lists them."""
    return {lease["id"] for lease in Client().reservations()}


def need(gb: float) -> Any:
    return guard.Amounts(mem_gb=gb).need("test")


class Live(unittest.TestCase):
    def setUp(self) -> None:
        self.client = Client(no_agent="raise", limit=PATIENCE)
        # The agent has read the host.
        until(lambda: "memory" in str(self.client.level()["resources"]) and self.client.admit(need(0.001)), "it reads")
        until(lambda: self.client.admit(need(0.001))["verdict"] == "yes", "it knows")
        self.assertEqual(own(), set())

    def nothing_is_left(self) -> None:
        until(lambda: not own(), f"nothing is left: {self.client.reservations()}")


class Leases(Live):
    def test_a_lease_is_taken_and_given_back(self) -> None:
        with guard.claim(self.client, need(SHARE), priority=1) as lease:
            shown = lease.shown()
            assert shown is not None
            self.assertEqual((shown["uid"], shown["priority"]), (os.getuid(), 1))
            self.assertEqual(shown["owner"]["process"]["pid"], os.getpid())  # type: ignore[typeddict-item]
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
        self.assertEqual(own(), set())
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
        self.nothing_is_left()

    def test_an_exception_inside_gives_back(self) -> None:
        @guard.respect_resource_limits(mem_gb=SHARE, client=self.client)
        async def later() -> None:
            self.assertEqual(len(own()), 1)
            raise ZeroDivisionError

        @guard.respect_resource_limits(mem_gb=SHARE, client=self.client)
        def plain() -> None:
            self.assertEqual(len(own()), 1)
            raise ZeroDivisionError

        with self.assertRaises(ZeroDivisionError):
            asyncio.run(later())
        self.assertEqual(own(), set())
        with self.assertRaises(ZeroDivisionError):
            plain()
        self.assertEqual(own(), set())

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
            self.assertEqual(own(), {number})
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
        self.nothing_is_left()

    def _wait_for_it(self) -> None:
        guard.claim(self.client, need(SHARE), wait=PATIENCE).release()

    def test_a_cancelled_task_leaves_neither_a_lease_nor_a_place_in_the_queue(self) -> None:
        async def main() -> None:
            async with await guard.claim_async(self.client, need(SHARE)):
                tasks = [asyncio.ensure_future(guard.claim_async(self.client, need(SHARE), wait=99)) for _ in range(5)]
                while len((await self.client.read_async("reservations"))["waiting"]) < 5:
                    await asyncio.sleep(0.02)
                for task in tasks:
                    task.cancel()
                for task in tasks:
                    with self.assertRaises(asyncio.CancelledError):
                        await task

        asyncio.run(main())
        self.nothing_is_left()

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
        self.nothing_is_left()

    def test_a_manager_reserves_for_its_models(self) -> None:
        with ResourceManager(client=self.client) as manager:
            manager.allocate_resources("medium", cpu_memory_gb=SHARE)
            with self.assertRaises(guard.ResourceExhaustionError):
                manager.allocate_resources("large", cpu_memory_gb=SHARE)
            manager.track_model_cache("medium", SHARE)
            manager.track_model_cache("medium", SHARE)
            self.assertEqual(len(own()), 1)
            self.assertEqual(manager.cleanup(force=True), ["medium"])
            self.assertEqual(own(), set())
            manager.allocate_resources("large", cpu_memory_gb=SHARE)
        self.assertEqual(own(), set())

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
        status = guard.get_resource_status(client=self.client)
        self.assertAlmostEqual(status["memory"]["total_gb"], total, 1)
        self.assertEqual(status["memory"]["limit_percent"], 100.0)
        self.assertIn(MOUNT, status["disk"])
        guard.print_resource_status(open(os.devnull, "w", encoding="utf-8"), client=self.client)
        free = shutil.disk_usage(MOUNT).free / GB
        self.assertTrue(guard.check_disk_space(free / 2, MOUNT, client=self.client))
        self.assertFalse(guard.check_disk_space(free * 2, MOUNT, client=self.client))
        actions = guard.get_recommended_actions(client=self.client)
        self.assertTrue(any(line.startswith("Memory ") for line in actions), actions)
        self.assertTrue(guard.should_proceed_with_priority(guard.OperationPriority.CRITICAL, client=self.client))
        guard.ResourceOptimizer(client=self.client).get_optimization_suggestions(self.client.report())

    def test_callbacks_hear_of_a_level_that_rises(self) -> None:
        until(lambda: self.client.level().get("level") is not None, "the level is known")
        got: List[Event] = []
        ballast = os.path.join(MOUNT, "ballast")
        with ResourceManager(client=self.client) as manager:
            manager.add_callback(got.append)
            self.assertTrue(manager.wait_connected(PATIENCE))
            try:
                with open(ballast, "wb") as file:
                    file.write(bytes(shutil.disk_usage(MOUNT).total * 98 // 100))
                raised = until(lambda: [it.data for it in got if it.kind == "level" and it.data["to"] == 4], "level 4")
                self.assertEqual((raised[0]["state"], "gpu" in raised[0]), ("raised", False))
                self.assertIn(MOUNT, raised[0]["summary"])
                self.assertEqual(guard.get_degradation_level(client=self.client), 4)
                self.assertFalse(guard.should_proceed_with_priority(guard.OperationPriority.HIGH, client=self.client))
                self.assertFalse(guard.can_proceed(client=self.client))
                self.assertFalse(guard.check_disk_space(client=self.client))
                # At level 4 nothing starts but critical work.
                verdict = self.client.admit(need(0.001))
                self.assertNotIn(verdict["verdict"], ("yes", "tight"), verdict)
                critical = self.client.admit(need(0.001), guard.OperationPriority.CRITICAL)
                self.assertEqual(critical["verdict"], "yes", critical)
                alert = until(lambda: [it.data for it in got if it.kind == "alert"], "the alert")
                self.assertEqual((alert[0]["alert"], alert[0]["state"]), ("LevelCritical", "firing"))
            finally:
                os.unlink(ballast)
        # It is held for ten seconds.
        until(lambda: guard.get_degradation_level(client=self.client) < 4, "it falls again")


if __name__ == "__main__":
    unittest.main()
