"""A lease: an amount that the agent keeps free for this process until it uses it or gives it back. Knows no decorator and no level.

Claims carry a key: one whose answer was lost, because the agent was killed or restarted, is repeated and gets the same lease."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import threading
import time
import uuid
from types import TracebackType
from typing import Callable, List, Optional, Type, cast

from .answer import Granted, Need, Reservation, Verdict
from .client import Client, accept, ask, granted, problem, warn_once
from .error import AgentError, HeadroomError, InsufficientResourcesError, NoAgentError
from .setting import NoAgent
from .wire import Answer, AsyncExchange, Exchange, Lost

log = logging.getLogger("headroom_guard")

# What an answer may take beyond the time that was to be waited.
_GRACE = 10.0
# How long an agent that was there may be gone: it restarts.
_RESTART = 10.0
_PAUSE = 0.25
# How long a release is repeated: what stays reserved keeps others waiting.
_KEEP_ON = 60.0
# Until an agent that does not know yet, or takes no more claims, is asked again.
_AGAIN = 1.0
# The longest wait that the agent takes.
_LONGEST = 7 * 24 * 3600


class Lease:
    """What was granted. It ends with :meth:`release`, at the end of a `with` block, or with this process, whatever ends it."""

    def __init__(self, client: Client, grant: Optional[Granted]) -> None:
        self._client = client
        #: Its number; absent if nothing was reserved, because no agent answers and everything is allowed then.
        self.id: Optional[int] = grant["id"] if grant else None
        #: The GPUs that were chosen, by number, in the order of the need's own: the program must use these.
        self.gpus: List[str] = list(grant.get("gpus", [])) if grant else []
        self.verdict: Optional[Verdict] = grant["verdict"] if grant else None
        self._open = grant is not None
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def __repr__(self) -> str:
        return f"Lease(id={self.id}, gpus={self.gpus}, held={self.held})"

    @property
    def held(self) -> bool:
        """Whether it was granted and not given back yet."""
        return self._open

    def _end(self) -> bool:
        if os.getpid() != self._pid:
            # A copy that came with a fork: it is the parent's.
            return False
        with self._lock:
            was, self._open = self._open, False
        return was

    def release(self) -> None:
        """Gives it back. Again, or after the agent ended it, that does nothing."""
        if self._end():
            _release(self._client, cast(int, self.id), _KEEP_ON)

    async def release_async(self) -> None:
        if not self._end():
            return
        number = cast(int, self.id)
        try:
            await _release_async(self._client, number)
        except asyncio.CancelledError:
            # The loop may be about to end: somebody else has to do it.
            threading.Thread(target=_release, args=(self._client, number, _KEEP_ON), name="headroom-release").start()
            raise

    def touch(self) -> None:
        """Says that it is used: idle leases are asked for first."""
        self._say("touch")

    def settled(self) -> None:
        """Says that it allocates no more: others may start on its GPUs."""
        self._say("settled")

    def own(self, pid: int) -> None:
        """Hands it to a process of the same user: its use counts from then on, and the lease ends with it."""
        self._say("owner", {"pid": pid})

    def _say(self, what: str, body: Optional[object] = None) -> None:
        if self.id is not None:
            accept(self._client.call("POST", f"reservations/{self.id}/{what}", body))

    def shown(self) -> Optional[Reservation]:
        """As it was at the agent's last tick; absent if it has ended, or was granted since then."""
        own = (it for it in self._client.reservations() if it["id"] == self.id)
        return next(own, None)

    def __enter__(self) -> "Lease":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.release()

    async def __aenter__(self) -> "Lease":
        return self

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        await self.release_async()


class _Release:
    """A release and its attempts. Waits for nothing itself."""

    def __init__(self, number: int, patience: float) -> None:
        self.path = f"reservations/{number}"
        self._number, self._deadline = number, time.monotonic() + patience
        self.pause = _PAUSE / 2

    def is_done(self, answer: Optional[Answer], error: Optional[HeadroomError]) -> bool:
        """Whether it is over: released, or given up, which is logged."""
        # 404: the agent ended it before.
        if answer is not None and (200 <= answer.status < 300 or answer.status == 404):
            return True
        why = error if answer is None else problem(answer)
        # 429: this user asks too often.
        for_ever = isinstance(why, AgentError) and why.status != 429
        if for_ever or time.monotonic() > self._deadline:
            log.warning("reservation %d ends with this process only: %s", self._number, why)
            return True
        self.pause = min(2 * self.pause, _AGAIN)
        return False


def _release(client: Client, number: int, patience: float) -> None:
    attempt = _Release(number, patience)
    while True:
        answer, failed = None, None
        try:
            answer = client.call("DELETE", attempt.path)
        except HeadroomError as error:
            failed = error
        if attempt.is_done(answer, failed):
            return
        time.sleep(attempt.pause)


async def _release_async(client: Client, number: int) -> None:
    attempt = _Release(number, _KEEP_ON)
    while True:
        answer, failed = None, None
        try:
            answer = await client.call_async("DELETE", attempt.path)
        except HeadroomError as error:
            failed = error
        if attempt.is_done(answer, failed):
            return
        await asyncio.sleep(attempt.pause)


class _Claim:
    """A claim and its attempts: what to send, and what an answer means. Waits for nothing itself."""

    def __init__(
        self,
        client: Client,
        need: Need,
        priority: int,
        wait: float,
        gpus: Optional[List[str]],
        unit: Optional[str],
        evictable: bool,
    ) -> None:
        if math.isnan(wait) or wait < 0:
            raise ValueError(f"a time to wait is a number of seconds from 0 on, not {wait!r}")
        self.client = client
        self._body = ask(need, priority, gpus)
        self._body["key"] = uuid.uuid4().hex
        if unit:
            self._body["unit"] = unit
        if evictable:
            self._body["evictable"] = True
        self._wait = min(wait, float(_LONGEST))
        self._deadline = time.monotonic() + self._wait
        # Until when an agent that has gone is waited for: it was there, or never.
        self._patience: Optional[float] = None

    def left(self) -> float:
        return max(0.0, self._deadline - time.monotonic())

    def body(self) -> "dict[str, object]":
        return {**self._body, "wait_seconds": math.ceil(self.left())} if self._wait else self._body

    def limit(self) -> float:
        return self.left() + max(_GRACE, self.client.limit)

    def lease(self, answer: Answer) -> Optional[Lease]:
        """The lease; absent if it should be asked again after a pause."""
        self._patience = max(self._deadline, time.monotonic() + _RESTART)
        if answer.status == 201:
            return Lease(self.client, granted(answer))
        if answer.status == 429 and self.left() > _AGAIN:
            # As many leases or claims as this user may have: some of them end.
            return None
        if answer.status != 409:
            raise problem(answer)
        said = answer.json()
        verdict = cast(Optional[Verdict], said.get("verdict"))
        if verdict and verdict["verdict"] == "unknown" and self.left() > _AGAIN:
            return None
        raise InsufficientResourcesError(str(said.get("detail", "it does not fit")), verdict)

    def failed(self, error: NoAgentError) -> None:
        """Raises unless it should be asked again after a pause."""
        if self._patience is None and isinstance(error, Lost):
            # It was there a moment ago.
            self._patience = max(self._deadline, time.monotonic() + _RESTART)
        if self._patience is None or time.monotonic() > self._patience:
            raise error

    def without_agent(self, error: NoAgentError) -> Lease:
        """What was told for this case."""
        if self.client.no_agent is NoAgent.RAISE:
            raise error
        if self.client.no_agent is NoAgent.DENY:
            raise InsufficientResourcesError(f"{error}, and nothing is allowed without one") from error
        warn_once(self.client.socket)
        return Lease(self.client, None)


def claim(
    client: Client,
    need: Need,
    *,
    priority: int = 2,
    wait: float = 0.0,
    gpus: Optional[List[str]] = None,
    unit: Optional[str] = None,
    evictable: bool = False,
) -> Lease:
    """A lease for this process. It waits for room for `wait` seconds, in the order of priority and time; then, or if it can never
    fit, it raises :class:`InsufficientResourcesError`. What interrupts it withdraws the claim."""
    attempt = _Claim(client, need, priority, wait, gpus, unit, evictable)
    while True:
        pause = _PAUSE
        try:
            lease = _once(attempt)
            if lease is not None:
                return lease
            pause = _AGAIN
        except NoAgentError as error:
            try:
                attempt.failed(error)
            except NoAgentError:
                return attempt.without_agent(error)
        time.sleep(pause)


def _once(attempt: _Claim) -> Optional[Lease]:
    exchange = Exchange(attempt.client.socket)
    try:
        return attempt.lease(exchange.request("POST", "/api/v1/reservations", attempt.body(), attempt.limit()))
    except HeadroomError:
        raise
    except BaseException:
        _give_back(attempt.client, exchange.abandon(), _release_now)
        raise
    finally:
        exchange.close()


async def claim_async(
    client: Client,
    need: Need,
    *,
    priority: int = 2,
    wait: float = 0.0,
    gpus: Optional[List[str]] = None,
    unit: Optional[str] = None,
    evictable: bool = False,
) -> Lease:
    """As :func:`claim`; the loop goes on meanwhile. Cancelling it withdraws the claim."""
    attempt = _Claim(client, need, priority, wait, gpus, unit, evictable)
    while True:
        pause = _PAUSE
        try:
            lease = await _once_async(attempt)
            if lease is not None:
                return lease
            pause = _AGAIN
        except NoAgentError as error:
            try:
                attempt.failed(error)
            except NoAgentError:
                return attempt.without_agent(error)
        await asyncio.sleep(pause)


async def _once_async(attempt: _Claim) -> Optional[Lease]:
    exchange = AsyncExchange(attempt.client.socket)
    try:
        answer = await exchange.request("POST", "/api/v1/reservations", attempt.body(), attempt.limit())
        return attempt.lease(answer)
    except (HeadroomError, GeneratorExit):
        # The latter: its loop has ended, and nothing can be awaited.
        raise
    except BaseException:
        _give_back(attempt.client, await exchange.abandon(), _release_later)
        raise
    finally:
        exchange.close()


def _release_now(client: Client, number: int) -> None:
    _release(client, number, 0.0)


def _release_later(client: Client, number: int) -> None:
    """Not on the loop, which it would block, nor as a task, which may be cancelled as well."""
    threading.Thread(target=_release, args=(client, number, _KEEP_ON), name="headroom-release").start()


def _give_back(client: Client, answer: Optional[Answer], release: Callable[[Client, int], None]) -> None:
    """A lease that came although its claim had been given up."""
    if answer is not None and answer.status == 201:
        release(client, granted(answer)["id"])
