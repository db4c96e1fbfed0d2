"""An agent that is killed, restarts, or is not there: what becomes of claims and leases."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import unittest
from typing import Any, List

from headroom_guard import Amounts, Client, InsufficientResourcesError, Lease, NoAgentError, claim, claim_async
from stand_in import PATIENCE, Book, folder, serving, until


def need(gb: float) -> Any:
    return Amounts(mem_gb=gb).need("test")


class Restart(unittest.TestCase):
    def test_a_claim_that_waits_survives_the_agent_and_is_granted_once(self) -> None:
        for is_async in (False, True):
            with self.subTest(is_async=is_async), folder() as path:
                where, book = os.path.join(path, "s"), Book()
                client, leases = Client(where, no_agent="raise"), []

                def work() -> None:
                    if is_async:
                        leases.append(asyncio.run(claim_async(client, need(6), wait=PATIENCE)))
                    else:
                        leases.append(claim(client, need(6), wait=PATIENCE))

                with serving(where, book):
                    # The answer of the first is lost: the lease is there.
                    book.before_answer = lambda handler: handler.connection.close()
                    thread = threading.Thread(target=work)
                    thread.start()
                    until(lambda: book.held, "it is granted")
                time.sleep(0.1)
                book.before_answer = lambda handler: None
                with serving(where, book):
                    thread.join(PATIENCE)
                    self.assertEqual((len(leases), book.last), (1, 1))
                    leases[0].release()
                    self.assertEqual(book.held, {})

    def test_a_lease_is_given_back_to_an_agent_that_restarts_meanwhile(self) -> None:
        with folder() as path:
            where, book = os.path.join(path, "s"), Book()
            with serving(where, book):
                lease = claim(Client(where), need(1))
            timer = threading.Thread(target=lease.release)
            timer.start()
            time.sleep(0.1)
            with serving(where, book):
                timer.join(PATIENCE)
                self.assertEqual(book.held, {})

    def test_without_an_agent_it_does_as_told(self) -> None:
        with folder() as path:
            where = os.path.join(path, "s")

            def each(policy: str) -> List[Lease]:
                client = Client(where, no_agent=policy)
                return [claim(client, need(1), wait=9), asyncio.run(claim_async(client, need(1), wait=9))]

            with self.assertLogs("headroom_guard", "WARNING") as logs:
                leases = each("allow")
            self.assertEqual(len(logs.output), 1, "once")
            for lease in leases:
                self.assertEqual((lease.id, lease.held, lease.gpus), (None, False, []))
                lease.release()
            with self.assertRaises(InsufficientResourcesError):
                each("deny")
            with self.assertRaises(NoAgentError):
                each("raise")


if __name__ == "__main__":
    unittest.main()
