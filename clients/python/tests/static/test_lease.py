"""Leases are taken and given back, whatever happens in between: exceptions, interrupts, cancelled tasks, refusals."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import unittest
from typing import Any, Dict, List

from headroom_guard import (
    AgentError,
    Amounts,
    AsyncResourceLimiter,
    Client,
    InsufficientResourcesError,
    ResourceGuard,
    claim,
    claim_async,
    respect_resource_limits,
)
from stand_in import GB, PATIENCE, Handler, Server, agent, recording, until


def need(gb: float) -> Any:
    return Amounts(mem_gb=gb).need("test")


class Leases(unittest.TestCase):
    def setUp(self) -> None:
        block = agent()
        self.server: Server = block.__enter__()
        self.addCleanup(block.__exit__, None, None, None)
        self.client, self.book = Client(self.server.path, no_agent="raise"), self.server.book

    def settle(self) -> None:
        until(lambda: not self.book.held and not self.book.queue, "all is given back")

    def test_a_block_holds_a_lease_and_gives_it_back_after_an_exception_too(self) -> None:
        with self.assertRaises(ZeroDivisionError), claim(self.client, need(2)) as lease:
            self.assertEqual((lease.held, lease.id, len(self.book.held)), (True, 1, 1))
            raise ZeroDivisionError
        self.assertFalse(lease.held or self.book.held)
        lease.release()
        self.assertEqual([seen[0] for seen in self.server.seen], ["POST", "DELETE"])
        body = self.server.seen[0][2]
        self.assertEqual((body["need"], body["priority"], "wait_seconds" in body), (need(2), 2, False))

    def test_what_does_not_fit_is_an_error_with_the_verdict(self) -> None:
        with self.assertRaises(InsufficientResourcesError) as caught:
            claim(self.client, need(11))
        assert caught.exception.verdict is not None
        self.assertEqual(caught.exception.verdict["verdict"], "no")
        self.assertIn("needed", str(caught.exception))

    def test_a_claim_waits_in_the_queue_of_the_agent(self) -> None:
        first, got = claim(self.client, need(6)), threading.Event()

        def second() -> None:
            with claim(self.client, need(6), wait=PATIENCE):
                got.set()

        thread = threading.Thread(target=second)
        thread.start()
        until(lambda: self.book.queue, "the second waits")
        self.assertFalse(got.is_set())
        first.release()
        thread.join()
        self.assertTrue(got.is_set())
        self.settle()
        self.assertEqual(self.book.most, 6 * GB)

    def test_a_wait_that_is_over_is_an_error(self) -> None:
        with claim(self.client, need(6)), self.assertRaises(InsufficientResourcesError):
            claim(self.client, need(6), wait=0.05)

    def test_two_tasks_share_a_limit(self) -> None:
        inside: List[str] = []

        async def work(limiter: AsyncResourceLimiter, name: str) -> None:
            async with limiter.acquire(name) as lease:
                inside.append(name)
                self.assertTrue(lease.held)
                await asyncio.sleep(0.01)
                # Others may have queued up; none may be in here.
                self.assertEqual(inside, [name])
                inside.clear()

        async def main() -> None:
            limiter = AsyncResourceLimiter(mem_required_gb=6, client=self.client, timeout=PATIENCE)
            ticks = 0

            async def tick() -> None:
                nonlocal ticks
                while True:
                    await asyncio.sleep(0)
                    ticks += 1

            ticking = asyncio.ensure_future(tick())
            await asyncio.gather(*(work(limiter, f"task {number}") for number in range(8)))
            ticking.cancel()
            self.assertGreater(ticks, 100, "the loop went on while they waited")

        asyncio.run(main())
        self.settle()
        self.assertEqual((self.book.most, self.book.last), (6 * GB, 8))
        names = [body["need"]["parts"][0]["what"] for _, _, body in self.server.seen if body]
        self.assertEqual(sorted(names), [f"task {number}" for number in range(8)])

    def test_more_tasks_wait_than_there_are_threads_in_a_pool(self) -> None:
        async def main() -> None:
            limiter = AsyncResourceLimiter(mem_required_gb=10, client=self.client, timeout=PATIENCE)

            async def work(number: int) -> None:
                lease = await limiter.acquire(str(number))
                await lease.release_async()

            await asyncio.gather(*(work(number) for number in range(50)))

        # And more than the agent lets wait.
        self.book.places = 10
        asyncio.run(main())
        self.assertEqual((self.book.last, self.book.refused), (50, 0))
        self.settle()

    def test_a_claim_that_the_agent_has_no_place_for_is_made_again(self) -> None:
        self.book.places = 0
        threading.Timer(0.1, setattr, [self.book, "places", 64]).start()
        claim(self.client, need(1), wait=PATIENCE).release()
        self.assertGreater(self.book.refused, 0)

    def test_a_cancelled_task_withdraws_its_claim(self) -> None:
        async def main() -> None:
            async with await claim_async(self.client, need(6)):
                task = asyncio.ensure_future(claim_async(self.client, need(6), wait=PATIENCE))
                while not self.book.queue:
                    await asyncio.sleep(0.01)
                task.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await task

        asyncio.run(main())
        until(lambda: self.book.withdrawn == 1, "it is withdrawn")
        self.settle()

    def test_a_lease_that_was_granted_while_its_task_was_cancelled_is_given_back(self) -> None:
        granted, go = threading.Event(), threading.Event()

        def before_answer(handler: Handler) -> None:
            granted.set()
            go.wait(PATIENCE)

        self.book.before_answer = before_answer

        async def main() -> None:
            task = asyncio.ensure_future(claim_async(self.client, need(6), wait=PATIENCE))
            while not granted.is_set():
                await asyncio.sleep(0.01)
            task.cancel()
            asyncio.get_running_loop().call_later(0.05, go.set)
            with self.assertRaises(asyncio.CancelledError):
                await task

        asyncio.run(main())
        self.settle()
        self.assertEqual(self.book.last, 1)

    def test_an_exception_or_a_cancelled_task_inside_gives_back(self) -> None:
        async def fail() -> None:
            async with AsyncResourceLimiter(mem_required_gb=1, client=self.client).acquire("x"):
                raise ZeroDivisionError

        inside: List[int] = []

        async def hang() -> None:
            async with AsyncResourceLimiter(mem_required_gb=1, client=self.client).acquire("x"):
                inside.append(1)
                await asyncio.sleep(PATIENCE)

        async def main() -> None:
            with self.assertRaises(ZeroDivisionError):
                await fail()
            task = asyncio.ensure_future(hang())
            while not inside:
                await asyncio.sleep(0.01)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task

        asyncio.run(main())
        self.assertEqual((self.book.held, self.book.last), ({}, 2))

    def test_what_is_in_use_cannot_be_entered_again(self) -> None:
        acquisition = AsyncResourceLimiter(mem_required_gb=1, client=self.client).acquire("x")

        async def main() -> None:
            async with acquisition:
                with self.assertRaisesRegex(RuntimeError, "'x' is in use"):
                    async with acquisition:
                        pass
            # Once it was given back it can.
            async with acquisition:
                self.assertEqual(len(self.book.held), 1)

        asyncio.run(main())
        with ResourceGuard(mem_required_gb=1, client=self.client) as guard:
            with self.assertRaisesRegex(RuntimeError, "in use"), guard:
                pass
            self.assertTrue(guard.ok)
        self.assertEqual((self.book.held, self.book.last), ({}, 3))

    def test_an_interrupt_withdraws_and_ends_the_program(self) -> None:
        # Whoever started the tests may ignore interrupts.
        code = """
import signal, sys, headroom_guard as g
signal.signal(signal.SIGINT, signal.default_int_handler)
g.claim(g.Client(sys.argv[1]), g.Amounts(mem_gb=6).need("x"), wait=99)
"""
        with claim(self.client, need(6)):
            child = subprocess.Popen([sys.executable, "-c", code, self.server.path], stderr=subprocess.DEVNULL)
            until(lambda: self.book.queue, "it waits")
            child.send_signal(signal.SIGINT)
            self.assertNotEqual(child.wait(PATIENCE), 0)
            until(lambda: self.book.withdrawn == 1, "it is withdrawn")

    def test_decorated_functions_hold_what_they_need_while_they_run(self) -> None:
        @respect_resource_limits(mem_gb=3, client=self.client)
        def plain(number: int) -> Dict[int, Any]:
            """Its words."""
            return {number: dict(self.book.held)}

        @respect_resource_limits(mem_gb=4, client=self.client, timeout=0)
        async def later(number: int) -> Any:
            if number < 0:
                raise ZeroDivisionError
            return [amount for amount, _ in self.book.held.values()]

        self.assertEqual([amount for amount, _ in plain(7)[7].values()], [3 * GB])
        self.assertEqual((plain.__name__, plain.__doc__), ("plain", "Its words."))
        self.assertTrue(asyncio.iscoroutinefunction(later))
        self.assertEqual(asyncio.run(later(1)), [4 * GB])
        with self.assertRaises(ZeroDivisionError):
            asyncio.run(later(-1))
        self.settle()
        with claim(self.client, need(9)), self.assertRaises(InsufficientResourcesError):
            asyncio.run(later(1))
        with self.assertRaises(TypeError):
            respect_resource_limits(mem_gb=1)(lambda: (yield))
        with self.assertRaises(ValueError):
            respect_resource_limits()

    def test_a_guard_says_whether_it_has_what_it_needs(self) -> None:
        guard = ResourceGuard(mem_required_gb=6, client=self.client)
        self.assertTrue(guard.ok)
        self.assertEqual(self.book.last, 0, "a question reserves nothing")
        with guard as inside:
            self.assertTrue(inside.ok and inside.lease and inside.lease.held)
            with ResourceGuard(0, 6, client=self.client) as other:
                self.assertFalse(other.ok)
                self.assertIsNone(other.lease)
                self.assertIn("needed", str(other.error))
            self.assertFalse(ResourceGuard(mem_required_gb=6, client=self.client).ok)
        self.assertEqual(self.book.held, {})
        self.assertTrue(ResourceGuard(client=self.client).ok)
        with ResourceGuard(client=self.client) as nothing:
            self.assertTrue(nothing.ok)

    def test_an_agent_that_does_not_know_yet_is_asked_again(self) -> None:
        unknown = {"verdict": "unknown", "reason": "not known: memory", "resources": []}
        asked = []

        def respond(handler: Handler, body: Any) -> None:
            asked.append(body["key"])
            if len(asked) < 2:
                handler.problem(409, "not known", verdict=unknown)
            else:
                self.book.claim(handler, body)

        self.server.given["POST reservations"] = respond
        claim(self.client, need(1), wait=PATIENCE).release()
        self.assertEqual((len(asked), len(set(asked))), (2, 1))
        asked.clear()
        with self.assertRaises(InsufficientResourcesError):
            claim(self.client, need(1))

    def test_a_refusal_is_no_lack_of_room_and_never_allowed(self) -> None:
        self.server.given["POST reservations"] = lambda handler, _: handler.problem(429, "64 reservations already")
        for policy in ("raise", "allow", "deny"):
            with self.assertRaises(AgentError) as caught:
                claim(Client(self.server.path, policy), need(1))
            self.assertEqual(caught.exception.status, 429)

    def test_a_release_that_comes_too_often_is_repeated(self) -> None:
        asked: List[int] = []

        def respond(handler: Handler, _: Any) -> None:
            asked.append(1)
            if len(asked) % 3:
                handler.problem(429, "user 0 asks too often")
            else:
                self.book.release(handler, self.book.last)

        async def main() -> None:
            async with await claim_async(self.client, need(1)):
                pass

        for number in (1, 2):
            self.server.given[f"DELETE reservations/{number}"] = respond
        claim(self.client, need(1)).release()
        asyncio.run(main())
        self.assertEqual((self.book.held, len(asked)), ({}, 6))

    def test_a_release_that_the_agent_refuses_is_logged(self) -> None:
        lease = claim(self.client, need(1))
        self.server.given["DELETE reservations/1"] = lambda handler, _: handler.problem(403, "it belongs to another user")
        with self.assertLogs("headroom_guard", "WARNING") as logs:
            lease.release()
        self.assertIn("reservation 1 ends with this process only: it belongs to another user", logs.output[0])

    def test_a_fork_does_not_give_back_what_is_its_parents(self) -> None:
        with claim(self.client, need(1)) as lease:
            child = os.fork()
            if child == 0:
                lease.release()
                os._exit(0)
            self.assertEqual(os.waitpid(child, 0)[1], 0)
            self.assertEqual(list(self.book.held), [lease.id])
        self.assertEqual(self.book.held, {})

    def test_a_loop_that_ends_while_a_claim_waits_ends_quietly(self) -> None:
        async def main() -> None:
            waiting = asyncio.ensure_future(claim_async(self.client, need(6), wait=PATIENCE))
            while not self.book.queue:
                await asyncio.sleep(0.01)
            # Never awaited: asyncio.run cancels it.
            del waiting

        with claim(self.client, need(6)):
            asyncio.run(main())
            until(lambda: self.book.withdrawn >= 1, "it is withdrawn")
        self.settle()

    def test_what_the_agent_ended_before_may_be_given_back(self) -> None:
        lease = claim(self.client, need(1))
        self.book.held.clear()
        lease.release()
        self.assertFalse(lease.held)

    def test_a_lease_can_be_used_told_of_and_handed_on(self) -> None:
        told: List[Any] = []
        for what in ("touch", "settled", "owner"):
            self.server.given[f"POST reservations/1/{what}"] = recording(told)
        lease = claim(self.client, need(1))
        lease.touch()
        lease.settled()
        lease.own(7)
        self.assertEqual([path.rpartition("/")[2] for path, _ in told], ["touch", "settled", "owner"])
        self.assertEqual(told[-1][1], {"pid": 7})


if __name__ == "__main__":
    unittest.main()
