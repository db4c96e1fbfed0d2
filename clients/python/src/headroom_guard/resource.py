"""Models of one program: what they need, what is reserved for them, which are cached, and which of these go first. What frees a
model is the program's own: it is told. Knows no model's code."""

from __future__ import annotations

import gc
import logging
import sys
import threading
import time
from collections import OrderedDict
from types import TracebackType
from typing import Dict, List, Optional, Type

from .check import judge, without_agent
from .client import Client, or_default
from .error import HeadroomError, InsufficientResourcesError, NoAgentError, ResourceExhaustionError
from .event import Callback, Event, Follower
from .host import Status
from .lease import Lease, claim
from .model import MODELS, Model, find
from .need import Amounts, to_bytes
from .priority import OperationPriority

log = logging.getLogger("headroom_guard")

#: The kinds of events that callbacks get.
KINDS = ("level", "alert", "incident", "eviction", "gap")
#: Use of the host's memory, or of a GPU's, from which :meth:`ResourceManager.cleanup` does something.
CLEANUP_RATIO = 0.85
# Of the cached models at least so many go at once, and a third of them.
_FEWEST = 2
_SHARE = 3


class ResourceManager:
    """Give it up with :meth:`close`, or use it in a `with` block: what it reserved is given back then, and with the process in any
    case. All of it may be called from any thread."""

    def __init__(self, models: Optional[Dict[str, Model]] = None, *, client: Optional[Client] = None) -> None:
        self._models = MODELS if models is None else models
        self._client = or_default(client)
        self._lock = threading.Lock()
        #: By id; None while it is being claimed.
        self._leases: Dict[str, Optional[Lease]] = {}
        #: In GB, the least recently used first.
        self._cached: "OrderedDict[str, float]" = OrderedDict()
        self._callbacks: List[Callback] = []
        self._follower: Optional[Follower] = None

    def validate_system_resources(self, model_id: str) -> bool:
        """True if what the model needs fits here now, else an :class:`InsufficientResourcesError` with the agent's verdict."""
        judgement = judge(self._client, find(self._models, model_id).amounts(), [])
        if not judgement.ok:
            raise InsufficientResourcesError(f"{model_id}: {judgement.reason}", judgement.verdict)
        return True

    def allocate_resources(
        self,
        id: str,
        cpu_memory_gb: float = 0.0,
        gpu_memory_gb: float = 0.0,
        *,
        wait: float = 0.0,
        priority: int = OperationPriority.NORMAL,
        evictable: bool = False,
    ) -> Lease:
        """Reserves under this id; `gpus` of the lease says which were chosen. :class:`ResourceExhaustionError` if there is no room
        within `wait` seconds. What is `evictable` may be asked for by a more important claim of the same user: then it is let go if it
        is cached, see :meth:`add_callback`."""
        amounts = Amounts(mem_gb=cpu_memory_gb, gpu_gb=gpu_memory_gb)
        if amounts.is_nothing:
            raise ValueError("an amount is missing: cpu_memory_gb or gpu_memory_gb")
        with self._lock:
            if id in self._leases:
                raise ValueError(f"{id!r} is allocated already")
            self._leases[id] = None
        lease = None
        try:
            lease = claim(self._client, amounts.need(id), priority=priority, wait=wait, evictable=evictable)
            return lease
        except InsufficientResourcesError as error:
            raise ResourceExhaustionError(f"{id}: {error}", error.verdict) from error
        finally:
            with self._lock:
                if lease is None:
                    del self._leases[id]
                else:
                    self._leases[id] = lease

    def release_resources(self, id: str) -> bool:
        """Gives back what is reserved under this id; False if nothing is."""
        with self._lock:
            lease = self._leases.get(id)
            if lease is None:
                return False
            del self._leases[id]
        lease.release()
        return True

    def track_model_cache(self, id: str, gb: float) -> None:
        """This model is cached, and was used just now. Call it at each use: the least recently used goes first."""
        to_bytes(gb)
        with self._lock:
            known = id in self._cached
            self._cached[id] = gb
            self._cached.move_to_end(id)
            lease = self._leases.get(id)
        if known and lease is not None:
            try:
                lease.touch()
            except HeadroomError as error:
                log.debug("the agent was not told that %s is used: %s", id, error)

    @property
    def cached_models(self) -> Dict[str, float]:
        """In GB, the least recently used first."""
        with self._lock:
            return dict(self._cached)

    @property
    def allocated_resources(self) -> Dict[str, Lease]:
        with self._lock:
            return {id: lease for id, lease in self._leases.items() if lease is not None}

    def add_callback(self, callback: Callback) -> None:
        """Calls back for each event of the agent (`level`, `alert`, `incident`) in a thread of its own, and for each model that
        :meth:`cleanup` lets go (`eviction`, with `model` and `gb`) in the thread that calls that.

        The agent may ask for what is reserved as evictable: that is an `eviction` too, with what it says (`reservation`, `wanted`,
        `until`). A cached model is then no longer cached, and its reservation is given back once all callbacks have returned: they free
        it. One that is not cached is in use: `gb` is missing, and it stays reserved."""
        with self._lock:
            self._callbacks.append(callback)
            if self._follower is None:
                self._follower = Follower(self._hear, KINDS, self._client)

    def wait_connected(self, timeout: Optional[float] = None) -> bool:
        """Whether callbacks get the agent's events from now on."""
        follower = self._follower
        return follower is not None and follower.wait_connected(timeout)

    def _hear(self, event: Event) -> None:
        if event.kind != "eviction":
            self._tell(event)
            return
        data = event.data
        with self._lock:
            mine = [id for id, lease in self._leases.items() if lease is not None and lease.id == data.get("reservation")]
            # Another program of the same user has it, or it is over.
            if not mine or data.get("state") != "asked":
                return
            until = data.get("until")
            # An old wish, heard after a reconnect: an agent that still waits asks again.
            if isinstance(until, int) and time.time_ns() >= until:
                return
            id = mine[0]
            gb = self._cached.pop(id, None)
        cached = {} if gb is None else {"gb": gb}
        self._tell(Event("eviction", {"model": id, **cached, **data}, event.id))
        if gb is not None:
            try:
                self.release_resources(id)
            except HeadroomError as error:
                log.warning("what %s has reserved was not given back: %s", id, error)
            _collect()

    def _tell(self, event: Event) -> None:
        with self._lock:
            callbacks = list(self._callbacks)
        for callback in callbacks:
            try:
                callback(event)
            except Exception:
                log.exception("a callback failed for the event %s", event.kind)

    def cleanup(self, force: bool = False) -> List[str]:
        """Lets cached models go if memory of the host or of a GPU is 85 % used, or in any case: the least recently used, a third of
        them, but at least two. Returns their ids, once the callbacks have been told and their reservations are given back."""
        if not force and not self._is_full():
            return []
        with self._lock:
            count = min(max(_FEWEST, len(self._cached) // _SHARE), len(self._cached))
            gone = [self._cached.popitem(last=False) for _ in range(count)]
        for id, gb in gone:
            self._tell(Event("eviction", {"model": id, "gb": gb}))
            self.release_resources(id)
        if gone:
            _collect()
        return [id for id, _ in gone]

    def _is_full(self) -> bool:
        try:
            return is_full(self._client.status())
        except NoAgentError as error:
            without_agent(self._client, error)
            return False

    def close(self) -> None:
        follower, self._follower = self._follower, None
        if follower is not None:
            follower.close()
        for id in list(self.allocated_resources):
            self.release_resources(id)

    def __enter__(self) -> "ResourceManager":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()


def is_full(status: Status) -> bool:
    """What is not known is not full."""
    used = [status["memory"].get("used_ratio"), *(gpu.get("memory_used_ratio") for gpu in status["gpus"])]
    return any(ratio is not None and ratio >= CLEANUP_RATIO for ratio in used)


def _collect() -> None:
    gc.collect()
    # Only if the program has loaded it: its allocator keeps what was freed.
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
