"""The package against a real agent with a stand-in for NVIDIA's library: two GPUs of 80 GB, 10 used and 1 reserved on each."""

from __future__ import annotations

import os
import unittest
from typing import Any, List

import headroom_guard as guard
from headroom_guard import Client, ResourceExhaustionError, ResourceManager
from stand_in import PATIENCE, change, until

GB = 1 << 30


class Gpus(unittest.TestCase):
    def setUp(self) -> None:
        self.client = Client(no_agent="raise", limit=PATIENCE)
        until(lambda: len([gpu for gpu in self.client.gpus() if "memory_free_bytes" in gpu]) == 2, "both are read")
        until(lambda: len(self.client.level()["gpus"]) == 2, "both have a level")

    def test_questions_are_about_one_gpu(self) -> None:
        self.assertTrue(guard.check_gpu_memory(client=self.client))
        self.assertTrue(guard.check_gpu_memory(60, client=self.client))
        self.assertFalse(guard.check_gpu_memory(75, client=self.client))
        self.assertTrue(guard.can_proceed(gpu_required_gb=60, client=self.client))
        # 69 GB are free: less a fifth, 12 GB fit four times.
        self.assertEqual(guard.ResourceOptimizer(client=self.client).get_optimal_batch_size("medium"), 4)
        status = guard.get_resource_status(client=self.client)
        self.assertEqual([status["gpu"][number]["free_gb"] for number in ("0", "1")], [69.0, 69.0])

    def test_leases_say_which_gpu_and_a_third_finds_none(self) -> None:
        with ResourceManager(client=self.client) as manager:
            first = manager.allocate_resources("a", gpu_memory_gb=50)
            second = manager.allocate_resources("b", gpu_memory_gb=50)
            self.assertEqual(sorted(first.gpus + second.gpus), ["0", "1"])
            with self.assertRaises(ResourceExhaustionError):
                manager.allocate_resources("c", gpu_memory_gb=50)
            manager.release_resources("a")
            self.assertEqual(manager.allocate_resources("c", gpu_memory_gb=50, wait=PATIENCE).gpus, first.gpus)

    def test_memory_of_the_own_workload_is_what_the_agent_sees_of_it(self) -> None:
        def holds() -> List[int]:
            return [holder.get("memory_bytes", 0) for gpu in self.client.gpus() for holder in gpu.get("workloads", [])]

        @guard.resource_monitored(client=self.client)
        def load() -> None:
            change(0, processes=[{"pid": os.getpid(), "bytes": 5 * GB}])
            until(lambda: holds() == [5 * GB], "the agent sees it")

        try:
            with self.assertLogs("headroom_guard", "INFO") as logs:
                load()
            self.assertIn("GPU memory: +5.0GB", logs.output[0])
        finally:
            change(0, processes=[])
        until(lambda: not holds(), "the agent sees that it is gone")


if __name__ == "__main__":
    unittest.main()
