"""The levels of GPUs, as in `test_gpu.py`. The last to run: a level is held for a while after that."""

from __future__ import annotations

import unittest

import headroom_guard as guard
from headroom_guard import Client, ResourceManager
from stand_in import PATIENCE, change, until

GB = 1 << 30


class Levels(unittest.TestCase):
    def setUp(self) -> None:
        self.client = Client(no_agent="raise", limit=PATIENCE)
        until(lambda: len(self.client.level()["gpus"]) == 2, "both have a level")

    def test_a_full_gpu_has_a_level_and_the_other_has_room(self) -> None:
        change(1, memory={"total": 80 * GB, "used": 79 * GB, "reserved": 0})
        until(lambda: self.client.level()["gpus"][1].get("level") == 4, "its level rises")
        self.assertTrue(guard.check_gpu_memory(client=self.client))
        self.assertTrue(guard.check_gpu_memory(60, client=self.client))
        change(0, memory={"total": 80 * GB, "used": 79 * GB, "reserved": 0})
        until(lambda: self.client.level()["gpus"][0].get("level") == 4, "its level rises")
        self.assertFalse(guard.check_gpu_memory(client=self.client))
        self.assertEqual(ResourceManager(client=self.client).cleanup(), [], "nothing is cached")


if __name__ == "__main__":
    unittest.main()
