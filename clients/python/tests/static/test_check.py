"""Yes, no, and what is not known: the guard's questions against answers of the agent, and without any."""

from __future__ import annotations

import io
import os
import threading
import unittest
from typing import Any, Callable, List
from unittest import mock

import headroom_guard as guard
from headroom_guard import Client, InsufficientResourcesError, NoAgentError, OperationPriority, UnknownLevelError
from stand_in import GB, PATIENCE, Handler, Server, agent, folder

ADMITS = [0, 0, 0, 2, 4]


class Checks(unittest.TestCase):
    def setUp(self) -> None:
        block = agent()
        self.server: Server = block.__enter__()
        self.addCleanup(block.__exit__, None, None, None)
        self.client = Client(self.server.path, no_agent="raise")

    def use(self, resource: str, share: Any) -> None:
        """So much of its limit is used."""
        for line in self.server.level["resources"]:
            if line["resource"] == resource:
                line.pop("limit_used_ratio", None)
                if share is not None:
                    line["limit_used_ratio"] = share

    def asks(self) -> List[Any]:
        return [body["need"]["parts"] for _, path, body in self.server.seen if path.endswith("admit")]

    def test_without_an_amount_it_is_the_limit_that_counts(self) -> None:
        checks: List[Any] = [
            ("memory", lambda: guard.check_memory(client=self.client)),
            ("cpu", lambda: guard.check_cpu(client=self.client)),
            ("filesystem", lambda: guard.check_disk_space(client=self.client)),
        ]
        for resource, check in checks:
            for share, expected in ((0.99, True), (1.0, False), (1.2, False), (None, False), (0.1, True)):
                self.use(resource, share)
                self.assertIs(check(), expected, (resource, share))
        self.assertEqual(self.asks(), [])
        self.server.level["resources"] = []
        self.assertTrue(guard.check_disk_space(client=self.client), "no filesystem has a limit")

    def test_with_an_amount_the_agent_judges(self) -> None:
        self.assertTrue(guard.check_memory(9.5, client=self.client))
        self.assertFalse(guard.check_memory(required_gb=10.5, client=self.client))
        amounts = [parts[0]["amount"] for parts in self.asks()]
        self.assertEqual(amounts, [int(9.5 * GB), int(10.5 * GB)])
        self.assertEqual(self.asks()[0][0]["memory"], "anonymous")
        guard.check_disk_space(2, "/tmp/../tmp", client=self.client)
        guard.check_gpu_memory(3, client=self.client)
        disk, gpu = self.asks()[-2][0], self.asks()[-1][0]
        self.assertEqual((disk["resource"], disk["path"], disk["amount"]), ("disk", os.path.realpath("/tmp"), 2 * GB))
        self.assertEqual((gpu["resource"], gpu["gpu"], gpu["amount"]), ("vram", 0, 3 * GB))
        for word, expected in (("yes", True), ("tight", True), ("wait", False), ("no", False), ("unknown", False)):
            self.server.give("POST admit", 200, {"verdict": word, "reason": "", "resources": []})
            for check in (guard.check_memory, guard.check_disk_space, guard.check_gpu_memory):
                self.assertIs(check(1, client=self.client), expected, word)
        for wrong in (-1, float("nan"), float("inf")):
            with self.assertRaises(ValueError):
                guard.check_memory(wrong, client=self.client)

    def test_one_gpu_below_its_limit_is_enough_and_a_host_without_any_has_none_above(self) -> None:
        def gpus(*levels: Any) -> None:
            line = {"gpu": "0", "uuid": "a", "at_least": 0, "hold_seconds": 10, "limit_ratio": 0.8}
            self.server.level["gpus"] = [{**line, **({} if level is None else {"level": level})} for level in levels]

        for levels, expected in (((), True), ((4,), False), ((4, 3), True), ((None,), False), ((None, 0), True)):
            gpus(*levels)
            self.assertIs(guard.check_gpu_memory(client=self.client), expected, levels)

    def test_all_together(self) -> None:
        self.assertTrue(guard.can_proceed(client=self.client))
        self.assertTrue(guard.can_proceed(mem_required_gb=4, disk_required_gb=1, client=self.client))
        self.assertEqual([part["resource"] for part in self.asks()[0]], ["host", "disk"], "one question")
        self.assertFalse(guard.can_proceed(mem_required_gb=40, client=self.client))
        self.use("memory", 1.1)
        self.assertFalse(guard.can_proceed(client=self.client))
        self.assertTrue(guard.can_proceed(check_mem=False, client=self.client))
        guard.require_resources(check_mem=False, client=self.client)
        with self.assertRaises(InsufficientResourcesError) as caught:
            guard.require_resources(client=self.client)
        self.assertEqual(str(caught.exception), "memory is at its limit: 88 % used")
        with self.assertRaises(InsufficientResourcesError) as caught:
            guard.require_resources(check_mem=False, mem_required_gb=40, client=self.client)
        assert caught.exception.verdict is not None
        self.assertEqual(caught.exception.verdict["resources"][0]["short"], 30 * GB)

    def test_waiting_ends_when_there_is_room_when_there_can_be_none_and_when_time_is_over(self) -> None:
        self.assertTrue(guard.wait_for_resources(client=self.client))
        self.use("memory", 1.1)
        self.assertFalse(guard.wait_for_resources(0.01, client=self.client))
        timer = threading.Timer(0.1, self.use, ["memory", 0.5])
        timer.start()
        self.assertTrue(guard.wait_for_resources(PATIENCE, client=self.client))
        self.assertFalse(guard.wait_for_resources(PATIENCE, mem_required_gb=40, client=self.client))
        self.assertTrue(guard.wait_for_resources(PATIENCE, mem_required_gb=4, client=self.client))
        self.assertEqual(self.server.book.held, {}, "nothing stays reserved")
        lease = guard.claim(self.client, guard.Amounts(mem_gb=8).need("x"))
        threading.Timer(0.1, lease.release).start()
        self.assertTrue(guard.wait_for_resources(PATIENCE, mem_required_gb=4, client=self.client))

    def test_levels_admit_priorities(self) -> None:
        for level in range(5):
            self.server.level.update(level=level, at_least=level, admits_priority=ADMITS[level])
            self.assertEqual(guard.get_degradation_level(client=self.client), level)
            admitted = [
                priority for priority in range(5) if guard.should_proceed_with_priority(priority, client=self.client)
            ]
            self.assertEqual(admitted, list(range(ADMITS[level], 5)), level)
        with self.assertRaises(ValueError):
            guard.should_proceed_with_priority(5, client=self.client)

    def test_a_level_that_is_not_known_is_never_normal_unless_told(self) -> None:
        del self.server.level["level"], self.server.level["admits_priority"]
        self.server.level.update(at_least=1, not_known=["memory of the host"])
        with self.assertRaisesRegex(UnknownLevelError, "memory of the host"):
            guard.get_degradation_level(client=self.client)
        for policy, level in (("allow", 1), ("deny", 4)):
            client = Client(self.server.path, policy)
            self.assertEqual(guard.get_degradation_level(client=client), level)
            self.assertFalse(guard.should_proceed_with_priority(OperationPriority.HIGH, client=client))
            self.assertTrue(guard.should_proceed_with_priority(OperationPriority.CRITICAL, client=client))

    def test_the_status_has_what_the_agent_says_and_none_for_the_rest(self) -> None:
        status = guard.get_resource_status(client=self.client)
        self.assertEqual((status["agent"], status["can_proceed"], status["degradation_level"]), (True, True, 0))
        self.assertEqual(
            status["memory"], {"used_percent": 50.0, "limit_percent": 80.0, "available_gb": 8.0, "total_gb": 16.0}
        )
        self.assertEqual(status["disk"], {"/": {"used_percent": 35.0, "limit_percent": 70.0, "available_gb": 65.0}})
        text = io.StringIO()
        guard.print_resource_status(text, client=self.client)
        self.assertIn("Memory       50 % used (limit 80 %), 8.0 GB left\n", text.getvalue())
        self.assertIn("Level        0 (normal)\n", text.getvalue())
        for part in ("level", "name", "admits_priority"):
            del self.server.level[part]
        self.server.level["not_known"] = ["memory of the host"]
        del self.server.level["resources"][0]["used_ratio"], self.server.level["resources"][0]["limit_used_ratio"]
        status = guard.get_resource_status(client=self.client)
        self.assertEqual((status["degradation_level"], status["can_proceed"]), (None, False))
        self.assertIsNone(status["memory"]["used_percent"])
        text = io.StringIO()
        guard.print_resource_status(text, client=self.client)
        for line in ("Level        not known", "Memory       not known", "Not known    memory of the host"):
            self.assertIn(line, text.getvalue())

    def test_actions_are_of_resources_above_and_of_alerts(self) -> None:
        self.server.give("GET suggestions", 200, {"time": 1, "suggestions": []})
        self.assertEqual(
            guard.get_recommended_actions(client=self.client),
            ["Memory OK at 50%", "CPU OK at 10%", "Disk / OK at 35%"],
        )
        disk = self.server.level["resources"][2]
        disk.update(used_ratio=0.72, limit_used_ratio=1.03, level=4)
        alert = {"alert": "A", "severity": "warning", "labels": {}, "summary": "GPU 0 is at 91 °C", "action": "Cool it."}
        self.server.give("GET suggestions", 200, {"time": 1, "suggestions": [alert]})
        actions = guard.get_recommended_actions(client=self.client)
        self.assertTrue(actions[2].startswith("Disk / at 72%: remove what is not needed"), actions)
        self.assertEqual(actions[3], "GPU 0 is at 91 °C: Cool it.")

    def test_an_agent_without_levels_is_an_error_whatever_was_told(self) -> None:
        self.server.given["GET level"] = lambda handler, _: handler.problem(404, "there is nothing at this path")
        for policy in ("raise", "allow", "deny"):
            with self.assertRaises(guard.AgentError):
                guard.can_proceed(client=Client(self.server.path, policy))


QUESTIONS: List[Callable[[], Any]] = [
    guard.check_memory,
    guard.check_cpu,
    guard.check_disk_space,
    guard.check_gpu_memory,
    lambda: guard.check_memory(1),
    guard.can_proceed,
    lambda: guard.can_proceed(mem_required_gb=1),
    lambda: guard.wait_for_resources(PATIENCE),
    lambda: guard.wait_for_resources(PATIENCE, mem_required_gb=1),
    lambda: guard.should_proceed_with_priority(2),
    lambda: guard.get_resource_status()["can_proceed"],
    lambda: guard.ResourceGuard(mem_required_gb=1).ok,
    lambda: guard.get_degradation_level() == 0,
]


class WithoutAgent(unittest.TestCase):
    def test_the_environment_says_where_and_what_then(self) -> None:
        with folder() as path:
            where = os.path.join(path, "s")
            for policy, expected in (("allow", True), ("deny", False), ("", True)):
                with mock.patch.dict(os.environ, HEADROOM_SOCKET=where, HEADROOM_NO_AGENT=policy):
                    for number, question in enumerate(QUESTIONS):
                        self.assertIs(question(), expected, (policy, number))
                    self.assertIn(where, guard.get_recommended_actions()[0])
            with mock.patch.dict(os.environ, HEADROOM_SOCKET=where, HEADROOM_NO_AGENT="deny"):
                with self.assertRaises(InsufficientResourcesError):
                    guard.require_resources()
                self.assertEqual(guard.get_degradation_level(), 4)
            with mock.patch.dict(os.environ, HEADROOM_SOCKET=where, HEADROOM_NO_AGENT="raise"):
                others: List[Callable[[], Any]] = [guard.get_recommended_actions, guard.require_resources]
                for question in QUESTIONS + others:
                    with self.assertRaises(NoAgentError):
                        question()
            with mock.patch.dict(os.environ, HEADROOM_NO_AGENT="maybe"), self.assertRaisesRegex(ValueError, "maybe"):
                guard.check_cpu()

    def test_an_argument_comes_before_the_environment(self) -> None:
        with agent() as server, mock.patch.dict(os.environ, HEADROOM_SOCKET="/nowhere", HEADROOM_NO_AGENT="deny"):
            self.assertTrue(guard.check_memory(client=Client(server.path)))
            self.assertTrue(guard.check_memory(client=Client("/nowhere", "allow")))
            self.assertFalse(guard.check_memory())


if __name__ == "__main__":
    unittest.main()
