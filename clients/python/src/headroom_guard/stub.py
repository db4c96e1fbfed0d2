"""Stands in for `headroom_guard` where that is not installed: copy this one file into a program. It asks nobody and measures nothing.
It does what the package does without an agent, by HEADROOM_NO_AGENT: allow (default), deny, or raise.

    try:
        import headroom_guard as guard
    except ImportError:
        import headroom_guard_stub as guard
"""

from __future__ import annotations

import functools
import inspect
import logging
import os
import sys
from collections import OrderedDict
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Callable, Dict, Generator, List, Optional, TextIO

log = logging.getLogger("headroom_guard")

_WHY = "headroom_guard is not installed"


class HeadroomError(Exception):
    pass


class NoAgentError(HeadroomError):
    pass


class AgentError(HeadroomError):
    def __init__(self, message: str, status: Optional[int] = None) -> None:
        super().__init__(message)
        self.status = status


class UnknownLevelError(HeadroomError):
    pass


class InsufficientResourcesError(HeadroomError):
    def __init__(self, message: str, verdict: Any = None) -> None:
        super().__init__(message)
        self.verdict = verdict


class ResourceExhaustionError(InsufficientResourcesError):
    pass


class OperationPriority(IntEnum):
    BACKGROUND = 0
    LOW = 1
    NORMAL = 2
    HIGH = 3
    CRITICAL = 4


@dataclass(frozen=True)
class ResourceLimits:
    DISK_MAX_PERCENT: float = 70.0
    DISK_WARN_PERCENT: float = 65.0
    MEMORY_MAX_PERCENT: float = 80.0
    MEMORY_WARN_PERCENT: float = 70.0
    CPU_MAX_PERCENT: float = 80.0
    CPU_WARN_PERCENT: float = 70.0
    GPU_MAX_PERCENT: float = 80.0
    GPU_WARN_PERCENT: float = 70.0


LIMITS = ResourceLimits()


@dataclass(frozen=True)
class Event:
    kind: str
    data: Dict[str, Any] = field(default_factory=dict)
    id: Optional[int] = None


@functools.lru_cache(maxsize=None)
def _warn() -> None:
    log.warning("%s: everything is allowed, and nothing is reserved", _WHY)


def _allowed() -> bool:
    told = os.environ.get("HEADROOM_NO_AGENT") or "allow"
    if told == "raise":
        raise NoAgentError(_WHY)
    if told not in ("allow", "deny"):
        raise ValueError(f"HEADROOM_NO_AGENT is raise, allow or deny, not {told!r}")
    if told == "allow":
        _warn()
    return told == "allow"


def _require(error: Callable[[str], InsufficientResourcesError] = InsufficientResourcesError) -> None:
    if not _allowed():
        raise error(f"{_WHY}, and nothing is allowed without it")


def check_disk_space(required_gb: float = 0.0, path: str = ".", *, client: Any = None) -> bool:
    return _allowed()


def check_memory(required_gb: float = 0.0, *, client: Any = None) -> bool:
    return _allowed()


def check_cpu(*, client: Any = None) -> bool:
    return _allowed()


def check_gpu_memory(required_gb: float = 0.0, *, client: Any = None) -> bool:
    return _allowed()


def can_proceed(check_disk: bool = True, check_mem: bool = True, check_gpu: bool = True, **_: Any) -> bool:
    return _allowed()


def require_resources(**_: Any) -> None:
    _require()


def wait_for_resources(timeout: float = 300.0, **_: Any) -> bool:
    return _allowed()


def get_degradation_level(*, client: Any = None) -> int:
    return 0 if _allowed() else 4


def should_proceed_with_priority(priority: int, *, client: Any = None) -> bool:
    OperationPriority(priority)
    return _allowed()


def get_resource_status(*, client: Any = None) -> Dict[str, Any]:
    empty = dict.fromkeys(("health", "degradation_level", "level_name", "factor", "admits_priority"))
    return {
        "agent": False,
        **empty,
        "can_proceed": _allowed(),
        **{name: {} for name in ("memory", "cpu", "disk", "gpu")},
        **{name: [] for name in ("alerts", "reasons")},
        "not_known": [_WHY],
    }


def print_resource_status(file: Optional[TextIO] = None, *, client: Any = None) -> None:
    proceed = "yes" if _allowed() else "no"
    print(f"{'Level':<12} not known\n{'Proceed':<12} {proceed}\n{'Not known':<12} {_WHY}", file=file or sys.stdout)


def get_recommended_actions(*, client: Any = None) -> List[str]:
    _allowed()
    return [f"Not known: {_WHY}"]


class Lease:
    id: Optional[int] = None
    verdict: Any = None
    held = False

    def __init__(self) -> None:
        self.gpus: List[str] = []

    def release(self) -> None:
        pass

    async def release_async(self) -> None:
        pass

    def touch(self) -> None:
        pass

    def settled(self) -> None:
        pass

    def own(self, pid: int) -> None:
        pass

    def shown(self) -> Any:
        return None

    def __enter__(self) -> "Lease":
        return self

    def __exit__(self, *_: Any) -> None:
        pass

    async def __aenter__(self) -> "Lease":
        return self

    async def __aexit__(self, *_: Any) -> None:
        pass


class ResourceGuard:
    def __init__(
        self, disk_required_gb: float = 0.0, mem_required_gb: float = 0.0, gpu_required_gb: float = 0.0, **_: Any
    ) -> None:
        self.lease: Optional[Lease] = None
        self.error: Optional[InsufficientResourcesError] = None
        self._inside = False

    @property
    def ok(self) -> bool:
        return _allowed()

    def __enter__(self) -> "ResourceGuard":
        if self._inside:
            raise RuntimeError("this ResourceGuard is in use: make one for each block")
        self.error = None if _allowed() else InsufficientResourcesError(_WHY)
        self._inside = True
        return self

    def __exit__(self, *_: Any) -> None:
        self._inside = False


async def _claimed() -> Lease:
    _require()
    return Lease()


class _Acquisition:
    def __init__(self, name: str) -> None:
        self._name, self._inside = name, False

    def __await__(self) -> Generator[Any, None, Lease]:
        return _claimed().__await__()

    async def __aenter__(self) -> Lease:
        if self._inside:
            raise RuntimeError(f"{self._name!r} is in use: call acquire for each block")
        lease = await _claimed()
        self._inside = True
        return lease

    async def __aexit__(self, *_: Any) -> None:
        self._inside = False


class AsyncResourceLimiter:
    def __init__(
        self, disk_required_gb: float = 0.0, mem_required_gb: float = 0.0, gpu_required_gb: float = 0.0, **_: Any
    ) -> None:
        pass

    def acquire(self, name: str) -> _Acquisition:
        return _Acquisition(name)


def respect_resource_limits(disk_gb: float = 0.0, mem_gb: float = 0.0, gpu_gb: float = 0.0, **_: Any) -> Any:
    def decorate(function: Any) -> Any:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            _require()
            return function(*args, **kwargs)

        @functools.wraps(function)
        async def call_async(*args: Any, **kwargs: Any) -> Any:
            _require()
            return await function(*args, **kwargs)

        return call_async if inspect.iscoroutinefunction(function) else call

    return decorate


def resource_monitored(function: Any = None, *, client: Any = None) -> Any:
    """Logs nothing: nothing is measured."""
    return function if callable(function) else lambda of: of


class ResourceManager:
    def __init__(self, models: Any = None, *, client: Any = None) -> None:
        self._allocated: Dict[str, Lease] = {}
        self._cached: "OrderedDict[str, float]" = OrderedDict()
        self._callbacks: List[Callable[[Any], object]] = []

    def validate_system_resources(self, model_id: str) -> bool:
        _require()
        return True

    def allocate_resources(self, id: str, cpu_memory_gb: float = 0.0, gpu_memory_gb: float = 0.0, **_: Any) -> Lease:
        if id in self._allocated:
            raise ValueError(f"{id!r} is allocated already")
        _require(ResourceExhaustionError)
        return self._allocated.setdefault(id, Lease())

    def release_resources(self, id: str) -> bool:
        return self._allocated.pop(id, None) is not None

    def track_model_cache(self, id: str, gb: float) -> None:
        self._cached[id] = gb
        self._cached.move_to_end(id)

    @property
    def cached_models(self) -> Dict[str, float]:
        return dict(self._cached)

    @property
    def allocated_resources(self) -> Dict[str, Lease]:
        return dict(self._allocated)

    def add_callback(self, callback: Callable[[Any], object]) -> None:
        """Evictions alone: there are no other events."""
        self._callbacks.append(callback)

    def wait_connected(self, timeout: Optional[float] = None) -> bool:
        return False

    def cleanup(self, force: bool = False) -> List[str]:
        """Whether memory is short is not known: only `force` lets models go."""
        count = min(max(2, len(self._cached) // 3), len(self._cached)) if force else 0
        gone = [self._cached.popitem(last=False) for _ in range(count)]
        for id, gb in gone:
            for callback in self._callbacks:
                callback(Event("eviction", {"model": id, "gb": gb}))
            self._allocated.pop(id, None)
        return [id for id, _ in gone]

    def close(self) -> None:
        self._allocated.clear()

    def __enter__(self) -> "ResourceManager":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class ResourceOptimizer:
    _NEEDS = {"small": (6.0, 2), "medium": (12.0, 1), "large": (24.0, 1)}

    def __init__(self, models: Any = None, *, client: Any = None) -> None:
        pass

    def get_optimal_batch_size(self, model_id: str, available_gb: Optional[float] = None) -> int:
        for name, (vram, batch) in self._NEEDS.items():
            if model_id == name or model_id.endswith(f"-{name}"):
                if available_gb is None:
                    raise InsufficientResourcesError(f"the free memory of no GPU is known: {_WHY}")
                return int(max(0.0, available_gb) * 0.8 / vram) * batch
        raise ValueError(f"{model_id!r} is no known model: {', '.join(self._NEEDS)}")

    def get_optimization_suggestions(self, report: Any = None) -> List[str]:
        return [f"{alert['summary']}: {alert['action']}" for alert in (report or {}).get("alerts", [])]
