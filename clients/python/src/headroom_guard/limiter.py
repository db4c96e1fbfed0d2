"""Reservations as Python has them: a `with` block, an asyncio limiter, a decorator. All hold a lease while the work runs."""

from __future__ import annotations

import asyncio
import functools
import inspect
import time
import weakref
from types import TracebackType
from typing import Any, Callable, Generator, List, Optional, Type, TypeVar, cast

from .check import judge
from .client import Client, or_default
from .error import InsufficientResourcesError
from .lease import Lease, claim, claim_async
from .need import Amounts
from .priority import OperationPriority

F = TypeVar("F", bound=Callable[..., Any])

#: Seconds to wait for room.
TIMEOUT = 300.0

# Claims of one limiter that wait in the agent's queue: it takes 64 of a user. More tasks wait here, in the order in which they came.
_IN_QUEUE = 8


class ResourceGuard:
    """`with ResourceGuard(mem_required_gb=8) as guard:` reserves, and gives back at the end. `guard.ok` says whether it was granted;
    outside of a block, whether it would be now."""

    def __init__(
        self,
        disk_required_gb: float = 0.0,
        mem_required_gb: float = 0.0,
        gpu_required_gb: float = 0.0,
        *,
        path: str = ".",
        priority: int = OperationPriority.NORMAL,
        wait: float = 0.0,
        client: Optional[Client] = None,
    ) -> None:
        self._amounts = Amounts(disk_required_gb, mem_required_gb, gpu_required_gb, path)
        self._priority, self._wait, self._client = priority, wait, or_default(client)
        #: While the block runs; absent if it was not granted.
        self.lease: Optional[Lease] = None
        #: Why it was not granted.
        self.error: Optional[InsufficientResourcesError] = None
        self._inside = False

    @property
    def ok(self) -> bool:
        if self._inside:
            return self.error is None
        return judge(self._client, self._amounts, self._resources(), self._priority).ok

    def _resources(self) -> List[str]:
        return ["memory", "filesystem", "gpu"] if self._amounts.is_nothing else []

    def __enter__(self) -> "ResourceGuard":
        if self._inside:
            raise RuntimeError("this ResourceGuard is in use: make one for each block")
        self.error, self.lease = None, None
        if self._amounts.is_nothing:
            # There is nothing to reserve: it is a question.
            judgement = judge(self._client, self._amounts, self._resources(), self._priority)
            if not judgement.ok:
                self.error = InsufficientResourcesError(judgement.reason, judgement.verdict)
        else:
            try:
                need = self._amounts.need("ResourceGuard")
                self.lease = claim(self._client, need, priority=self._priority, wait=self._wait)
            except InsufficientResourcesError as error:
                self.error = error
        self._inside = True
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._inside = False
        if self.lease is not None:
            self.lease.release()


class Acquisition:
    """`await` it for a :class:`Lease` that you release, or use it in `async with`."""

    def __init__(self, limiter: "AsyncResourceLimiter", name: str) -> None:
        self._limiter, self._name = limiter, name
        self._lease: Optional[Lease] = None
        self._inside = False

    def __await__(self) -> Generator[Any, None, Lease]:
        return self._limiter._claim(self._name).__await__()

    async def __aenter__(self) -> Lease:
        # The first lease would never be given back.
        if self._inside:
            raise RuntimeError(f"{self._name!r} is in use: call acquire for each block")
        self._inside = True
        try:
            self._lease = await self._limiter._claim(self._name)
        except BaseException:
            self._inside = False
            raise
        return self._lease

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        lease, self._lease, self._inside = self._lease, None, False
        if lease is not None:
            await lease.release_async()


class AsyncResourceLimiter:
    """Tasks take turns as there is room on this host: each holds these amounts while it runs. The agent keeps the queue, so tasks
    of other programs take turns with them."""

    def __init__(
        self,
        disk_required_gb: float = 0.0,
        mem_required_gb: float = 0.0,
        gpu_required_gb: float = 0.0,
        *,
        path: str = ".",
        priority: int = OperationPriority.NORMAL,
        timeout: float = TIMEOUT,
        client: Optional[Client] = None,
    ) -> None:
        self._amounts = Amounts(disk_required_gb, mem_required_gb, gpu_required_gb, path)
        if self._amounts.is_nothing:
            raise ValueError("an amount is missing: disk_required_gb, mem_required_gb or gpu_required_gb")
        self._priority, self._timeout, self._client = priority, timeout, or_default(client)
        self._turns: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore]" = weakref.WeakKeyDictionary()

    def acquire(self, name: str) -> Acquisition:
        """Room for the task of this name. :class:`InsufficientResourcesError` if there is none within the timeout."""
        return Acquisition(self, name)

    async def _claim(self, name: str) -> Lease:
        deadline, need = time.monotonic() + self._timeout, self._amounts.need(name)
        async with self._turns.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(_IN_QUEUE)):
            wait = max(0.0, deadline - time.monotonic())
            return await claim_async(self._client, need, priority=self._priority, wait=wait)


def respect_resource_limits(
    disk_gb: float = 0.0,
    mem_gb: float = 0.0,
    gpu_gb: float = 0.0,
    *,
    path: str = ".",
    priority: int = OperationPriority.NORMAL,
    timeout: float = TIMEOUT,
    client: Optional[Client] = None,
) -> Callable[[F], F]:
    """A decorator: each call reserves, waiting for room for `timeout` seconds, runs, and gives back, also after an exception.
    :class:`InsufficientResourcesError` if there is no room. A coroutine function stays one."""
    amounts = Amounts(disk_gb, mem_gb, gpu_gb, path)
    if amounts.is_nothing:
        raise ValueError("an amount is missing: disk_gb, mem_gb or gpu_gb")

    def decorate(function: F) -> F:
        what = getattr(function, "__qualname__", "call")

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with claim(or_default(client), amounts.need(what), priority=priority, wait=timeout):
                return function(*args, **kwargs)

        @functools.wraps(function)
        async def call_async(*args: Any, **kwargs: Any) -> Any:
            async with await claim_async(or_default(client), amounts.need(what), priority=priority, wait=timeout):
                return await function(*args, **kwargs)

        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"{what} is a generator: its work happens after the call")
        return cast(F, call_async if inspect.iscoroutinefunction(function) else call)

    return decorate
