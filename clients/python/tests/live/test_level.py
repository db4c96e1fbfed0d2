"""Callbacks against a real agent (HEADROOM_SOCKET) whose level rises. The last to run: the level is held for a while after that.
HEADROOM_TEST_MOUNT is a filesystem of 4 MiB that has a limit of 95 % there."""

from __future__ import annotations

import os
import shutil
import unittest
from typing import List

import headroom_guard as guard
from headroom_guard import Amounts, Client, Event, ResourceManager
from stand_in import PATIENCE, until

MOUNT = os.environ.get("HEADROOM_TEST_MOUNT", "")


class Level(unittest.TestCase):
    def setUp(self) -> None:
        self.client = Client(no_agent="raise", limit=PATIENCE)

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
                need = Amounts(mem_gb=0.001).need("test")
                verdict = self.client.admit(need)
                self.assertNotIn(verdict["verdict"], ("yes", "tight"), verdict)
                critical = self.client.admit(need, guard.OperationPriority.CRITICAL)
                self.assertEqual(critical["verdict"], "yes", critical)
                alert = until(lambda: [it.data for it in got if it.kind == "alert"], "the alert")
                self.assertEqual((alert[0]["alert"], alert[0]["state"]), ("LevelCritical", "firing"))
            finally:
                os.unlink(ballast)


if __name__ == "__main__":
    unittest.main()
