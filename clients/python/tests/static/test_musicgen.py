"""The manager of models: what they need, what is reserved, which go first; and what a function used."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import unittest
import unittest.mock
from typing import Any, List

import headroom_guard as guard
from headroom_guard import Client, Event, InsufficientResourcesError, ResourceExhaustionError, ResourceManager
from headroom_guard.monitored import held, own_cgroup, own_workload
from headroom_guard.optimizer import most_free
from stand_in import GB, PATIENCE, Handler, Server, agent, folder, recording, until


class Manager(unittest.TestCase):
    def setUp(self) -> None:
        block = agent()
        self.server: Server = block.__enter__()
        self.addCleanup(block.__exit__, None, None, None)
        self.client, self.book = Client(self.server.path, no_agent="raise"), self.server.book
        self.manager = ResourceManager(client=self.client)
        self.addCleanup(self.manager.close)

    def test_a_model_is_validated_by_its_declared_need(self) -> None:
        self.assertTrue(self.manager.validate_system_resources("facebook/musicgen-small"))
        need = self.server.seen[-1][2]["need"]
        amounts = {part["resource"]: part["amount"] for part in need["parts"]}
        self.assertEqual((amounts, need["compute_capability"]), ({"host": 3 * GB, "vram": 6 * GB}, 60))
        with self.assertRaises(InsufficientResourcesError) as caught:
            self.manager.validate_system_resources("large")
        self.assertIn("large: host memory", str(caught.exception))
        with self.assertRaisesRegex(ValueError, "small, medium, large"):
            self.manager.validate_system_resources("melody")

    def test_the_models_are_those_of_the_team(self) -> None:
        rows = {
            name: (model.host_gb, model.vram_gb, model.compute_capability, model.batch)
            for name, model in guard.MODELS.items()
        }
        self.assertEqual(
            rows, {"small": (3.0, 6.0, 6.0, 2), "medium": (6.0, 12.0, 7.0, 1), "large": (12.0, 24.0, 8.0, 1)}
        )

    def test_what_is_allocated_is_reserved_until_it_is_released(self) -> None:
        self.manager.allocate_resources("a", cpu_memory_gb=6.0, gpu_memory_gb=2.0)
        self.assertEqual(list(self.manager.allocated_resources), ["a"])
        with self.assertRaises(ResourceExhaustionError) as caught:
            self.manager.allocate_resources("b", cpu_memory_gb=6.0)
        self.assertIsNotNone(caught.exception.verdict)
        with self.assertRaisesRegex(ValueError, "already"):
            self.manager.allocate_resources("a", cpu_memory_gb=1.0)
        with self.assertRaisesRegex(ValueError, "missing"):
            self.manager.allocate_resources("c")
        self.assertTrue(self.manager.release_resources("a"))
        self.assertFalse(self.manager.release_resources("a") or self.manager.release_resources("b"))
        with ResourceManager(client=self.client) as other:
            other.allocate_resources("b", cpu_memory_gb=6.0)
            self.assertEqual(len(self.book.held), 1)
        self.assertEqual(self.book.held, {})

    def test_the_least_recently_used_go_first_a_third_but_two_at_least(self) -> None:
        gone: List[Event] = []
        self.manager.allocate_resources("m0", cpu_memory_gb=1.0)
        # No event of the agent is of interest here.
        self.server.given["GET events"] = lambda handler, _: handler.problem(429, "not now")
        self.manager.add_callback(gone.append)
        for number in range(9):
            self.manager.track_model_cache(f"m{number}", 2.0)
        self.manager.track_model_cache("m1", 2.0)
        self.assertEqual(self.manager.cleanup(), [], "there is room")
        self.assertEqual(self.manager.cleanup(force=True), ["m0", "m2", "m3"])
        self.assertEqual(gone, [Event("eviction", {"model": f"m{number}", "gb": 2.0}) for number in (0, 2, 3)])
        self.assertEqual(self.book.held, {}, "what was reserved for them is given back")
        for place, full in (("memory", {"used_ratio": 0.85}), ("gpus", [{"memory_used_ratio": 0.9}, {}])):
            self.server.status[place] = full
            self.assertEqual(len(self.manager.cleanup()), 2, place)
            self.server.status[place] = {} if place == "memory" else [{}]
        self.assertEqual(self.manager.cleanup(), [], "what is not known is not full")
        self.assertEqual(len(self.manager.cleanup(force=True)), 2)
        self.assertEqual((self.manager.cleanup(force=True), self.manager.cached_models), ([], {}))

    def test_using_a_cached_model_is_told_to_the_agent(self) -> None:
        touched: List[Any] = []
        self.server.given["POST reservations/1/touch"] = recording(touched)
        self.manager.allocate_resources("a", cpu_memory_gb=1.0)
        for _ in range(3):
            self.manager.track_model_cache("a", 2.0)
            self.manager.track_model_cache("not allocated", 2.0)
        self.assertEqual(len(touched), 2)

    def test_what_the_agent_asks_for_goes_if_it_is_cached_and_mine(self) -> None:
        end = threading.Event()
        got: List[Event] = []
        cached = self.manager.allocate_resources("cached", cpu_memory_gb=1.0, evictable=True)
        used = self.manager.allocate_resources("used", cpu_memory_gb=1.0, evictable=True)
        self.manager.track_model_cache("cached", 2.0)
        told = ((999, "asked"), (cached.id, "spared"), (used.id, "asked"), (cached.id, "asked"))
        asked = [{"reservation": lease, "state": state} for lease, state in told]

        def events(handler: Handler, _: Any) -> None:
            handler.send_response(200)
            handler.end_headers()
            handler.wfile.write(b": headroom\n\n")
            for number, data in enumerate(asked):
                handler.wfile.write(f"id: {number}\nevent: eviction\ndata: {json.dumps(data)}\n\n".encode())
            end.wait(PATIENCE)
            handler.close_connection = True

        self.server.given["GET events"] = events
        self.manager.add_callback(got.append)
        until(lambda: set(self.manager.allocated_resources) == {"used"}, "it is given back")
        self.assertEqual([event.data["model"] for event in got], ["used", "cached"])
        self.assertEqual([event.data.get("gb") for event in got], [None, 2.0])
        self.assertEqual(self.manager.cached_models, {})
        end.set()

    def test_callbacks_get_events_of_the_agent(self) -> None:
        end = threading.Event()
        got: List[Event] = []

        def events(handler: Handler, _: Any) -> None:
            handler.send_response(200)
            handler.end_headers()
            handler.wfile.write(b': headroom\n\nid: 1\nevent: level\ndata: {"from": 0, "to": 2}\n\n')
            end.wait(PATIENCE)
            handler.close_connection = True

        self.server.given["GET events"] = events
        self.manager.add_callback(got.append)
        self.assertTrue(self.manager.wait_connected(PATIENCE))
        until(lambda: got, "the event comes")
        self.assertEqual(got[0], Event("level", {"from": 0, "to": 2}, 1))
        self.manager.close()
        end.set()

    def test_many_threads_allocate_and_release(self) -> None:
        def work(number: int) -> None:
            for turn in range(5):
                id = f"{number}-{turn}"
                self.manager.allocate_resources(id, cpu_memory_gb=3.0, wait=PATIENCE)
                self.manager.track_model_cache(id, 1.0)
                self.manager.release_resources(id)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual((self.book.held, self.book.last, self.book.most), ({}, 30, 9 * GB))
        self.assertEqual(len(self.manager.cached_models), 30)

    def test_a_batch_is_what_fits_into_free_memory_less_a_fifth(self) -> None:
        optimizer = guard.ResourceOptimizer(client=self.client)
        for model, free, batch in (
            ("small", 16.0, 4),
            ("medium", 16.0, 1),
            ("medium", 30.0, 2),
            ("large", 16.0, 0),
            ("small", 7.5, 2),
            ("small", 7.4, 0),
            ("small", -1.0, 0),
        ):
            self.assertEqual(optimizer.get_optimal_batch_size(model, free), batch, (model, free))
        self.server.give("GET gpus", 200, {"time": 1, "gpus": [{"uuid": "a", "memory_free_bytes": 30 * GB}, {"uuid": "b"}]})
        self.assertEqual(optimizer.get_optimal_batch_size("medium"), 2)
        self.server.give("GET gpus", 200, {"time": 1, "gpus": [{"uuid": "b"}]})
        with self.assertRaisesRegex(InsufficientResourcesError, "known"):
            optimizer.get_optimal_batch_size("medium")
        parent: Any = {"uuid": "a", "memory_free_bytes": 9 * GB}
        part: Any = {"uuid": "c", "parent": "a", "memory_free_bytes": GB}
        self.assertEqual(most_free([parent, part]), 1.0)

    def test_suggestions_are_of_a_report_or_of_now(self) -> None:
        optimizer, one = guard.ResourceOptimizer(client=self.client), {"summary": "Memory is full", "action": "Free it."}
        self.server.give("GET suggestions", 200, {"time": 1, "suggestions": [one]})
        self.assertEqual(optimizer.get_optimization_suggestions(), ["Memory is full: Free it."])
        report: Any = {"alerts": [{"summary": "GPU 0 is hot", "action": "Cool it."}]}
        self.assertEqual(optimizer.get_optimization_suggestions(report), ["GPU 0 is hot: Cool it."])


LINE = r"resource usage: CPU memory: [+-]\d+\.\dGB, GPU memory: {}, Duration: \d+\.\ds$"


class Monitored(unittest.TestCase):
    def test_each_call_is_one_line_also_if_it_fails(self) -> None:
        @guard.resource_monitored
        def grow() -> int:
            return len(bytearray(b"x") * (1 << 20))

        @guard.resource_monitored("slow one")
        async def later(fails: bool) -> int:
            await asyncio.sleep(0)
            if fails:
                raise ZeroDivisionError
            return 7

        with folder() as path, unittest.mock.patch.dict(os.environ, HEADROOM_SOCKET=path, HEADROOM_NO_AGENT="raise"):
            with self.assertLogs("headroom_guard", "INFO") as logs:
                self.assertEqual(grow(), 1 << 20)
                self.assertEqual(asyncio.run(later(False)), 7)
                with self.assertRaises(ZeroDivisionError):
                    asyncio.run(later(True))
        self.assertTrue(asyncio.iscoroutinefunction(later))
        lines = [record.getMessage() for record in logs.records]
        for line, name in zip(lines, ("grow ", "slow one ", "slow one ")):
            self.assertRegex(line, "^" + name + LINE.format("not known"))
        self.assertEqual(len(lines), 3)

    def test_memory_that_stays_is_seen(self) -> None:
        kept: List[bytearray] = []

        @guard.resource_monitored
        def keep() -> None:
            kept.append(bytearray(b"x") * (256 << 20))

        with folder() as path, unittest.mock.patch.dict(os.environ, HEADROOM_SOCKET=path):
            with self.assertLogs("headroom_guard", "INFO") as logs:
                keep()
        self.assertRegex(logs.output[0], r"CPU memory: \+0\.[23]GB")

    def test_gpu_memory_is_that_of_the_own_workload(self) -> None:
        with open("/proc/self/cgroup", encoding="utf-8") as file:
            cgroup = own_cgroup(file.read()) or "/"
        amounts = iter((1, 6))

        def gpus(handler: Handler, _: Any) -> None:
            holders = [{"workload": "mine", "memory_bytes": next(amounts) * GB}, {"workload": "x", "memory_bytes": GB}]
            handler.answer(200, {"gpus": [{"workloads": holders}]})

        with agent() as server:
            server.given["GET gpus"] = gpus
            server.give("GET workloads", 200, {"workloads": [{"workload": "mine", "cgroup": cgroup}]})

            @guard.resource_monitored(client=Client(server.path))
            async def work() -> None:
                pass

            with self.assertLogs("headroom_guard", "INFO") as logs:
                asyncio.run(work())
        self.assertIn("GPU memory: +5.0GB", logs.output[0])

    def test_the_own_workload_is_the_nearest_above_the_own_cgroup(self) -> None:
        lines: Any = [{"workload": name, "cgroup": name} for name in ("/", "/a", "/a/b", "/a/bc")]
        for cgroup, name in (("/a/b", "/a/b"), ("/a/b/c", "/a/b"), ("/a/bcd", "/a"), ("/x", "/"), ("/", "/")):
            self.assertEqual(own_workload(lines, cgroup), name)
        self.assertIsNone(own_workload(lines[1:], "/x"))
        self.assertEqual(own_cgroup("0::/v2\n"), "/v2")
        self.assertEqual(own_cgroup("5:cpu,cpuacct:/c\n4:memory:/m:x\n0::/v2\n"), "/m:x")
        self.assertIsNone(own_cgroup(""))
        one: Any = {"workloads": [{"workload": "w", "memory_bytes": 2}]}
        unknown: Any = {"workloads": [{"workload": "w"}]}
        none: Any = {}
        self.assertEqual((held([one, none, one], "w"), held([one], "x")), (4, 0))
        self.assertEqual((held([one, unknown], "w"), held([], "w")), (None, None))


if __name__ == "__main__":
    unittest.main()
