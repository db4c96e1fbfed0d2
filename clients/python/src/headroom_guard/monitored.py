"""What a function used, in one line of the log. Memory of the process is the kernel's word, that of GPUs PyTorch's or the agent's."""

from __future__ import annotations

import functools
import inspect
import logging
import os
import sys
import time
from typing import Any, Callable, List, Optional, TypeVar, Union, cast, overload

from .client import Client, or_default
from .error import HeadroomError
from .host import GpuLine, WorkloadLine
from .need import GB

log = logging.getLogger("headroom_guard")

F = TypeVar("F", bound=Callable[..., Any])


def resident() -> Optional[int]:
    """Memory of this process, in bytes; absent if the kernel does not say."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def own_cgroup(text: str) -> Optional[str]:
    """The path of the memory cgroup in the text of `/proc/self/cgroup`: v1's if it has the controller, else that of v2."""
    unified = None
    for line in text.splitlines():
        number, controllers, path = (line.split(":", 2) + ["", ""])[:3]
        if "memory" in controllers.split(","):
            return path
        if number == "0" and not controllers:
            unified = path
    return unified


def own_workload(workloads: List[WorkloadLine], cgroup: str) -> Optional[str]:
    """The workload that a cgroup belongs to: the nearest above it."""
    above = [line for line in workloads if (cgroup + "/").startswith(line["cgroup"].rstrip("/") + "/")]
    nearest = max(above, key=lambda line: len(line["cgroup"]), default=None)
    return nearest["workload"] if nearest else None


def held(gpus: List[GpuLine], workload: str) -> Optional[int]:
    """What a workload holds of all GPUs; absent if the driver does not know it of one of them."""
    total = 0
    for gpu in gpus:
        for holder in gpu.get("workloads", []):
            if holder["workload"] == workload:
                if "memory_bytes" not in holder:
                    return None
                total += holder["memory_bytes"]
    return total if gpus else None


def _cgroup() -> Optional[str]:
    try:
        with open("/proc/self/cgroup", encoding="utf-8") as file:
            return own_cgroup(file.read())
    except OSError:
        return None


def _of_torch() -> Optional[int]:
    """What PyTorch's allocator holds for this process, if the program uses it."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    return sum(int(torch.cuda.memory_reserved(device)) for device in range(torch.cuda.device_count()))


def _vram(client: Client) -> Optional[int]:
    of_torch, cgroup = _of_torch(), _cgroup()
    if of_torch is not None or cgroup is None:
        return of_torch
    try:
        gpus = client.gpus()
        workload = own_workload(client.workloads(), cgroup) if gpus else None
    except HeadroomError:
        return None
    return held(gpus, workload) if workload else None


async def _vram_async(client: Client) -> Optional[int]:
    of_torch, cgroup = _of_torch(), _cgroup()
    if of_torch is not None or cgroup is None:
        return of_torch
    try:
        gpus = cast(List[GpuLine], (await client.read_async("gpus"))["gpus"])
        if not gpus:
            return None
        workload = own_workload((await client.read_async("workloads"))["workloads"], cgroup)
    except HeadroomError:
        return None
    return held(gpus, workload) if workload else None


def _growth(before: Optional[int], after: Optional[int]) -> str:
    return "not known" if before is None or after is None else f"{(after - before) / GB:+.1f}GB"


class _Run:
    def __init__(self, name: str, vram: Optional[int]) -> None:
        self._name, self._vram = name, vram
        self._resident, self._began = resident(), time.monotonic()

    def line(self, vram: Optional[int]) -> str:
        # The clock first: what follows is not the function's.
        seconds = time.monotonic() - self._began
        memory = _growth(self._resident, resident())
        return (
            f"{self._name} resource usage: CPU memory: {memory}, "
            f"GPU memory: {_growth(self._vram, vram)}, Duration: {seconds:.1f}s"
        )


@overload
def resource_monitored(function: F) -> F: ...
@overload
def resource_monitored(
    function: Optional[str] = None, *, client: Optional[Client] = None
) -> Callable[[F], F]: ...
def resource_monitored(
    function: Union[F, str, None] = None, *, client: Optional[Client] = None
) -> Union[F, Callable[[F], F]]:
    """A decorator that logs what each call used, also if it fails: `@resource_monitored`, or `@resource_monitored("NAME")`."""
    if callable(function):
        return _decorate(function, function.__name__, client)
    return lambda of: _decorate(of, function or of.__name__, client)


def _decorate(function: F, name: str, client: Optional[Client]) -> F:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        asked = or_default(client)
        run = _Run(name, _vram(asked))
        try:
            return function(*args, **kwargs)
        finally:
            log.info(run.line(_vram(asked)))

    @functools.wraps(function)
    async def call_async(*args: Any, **kwargs: Any) -> Any:
        asked = or_default(client)
        run = _Run(name, await _vram_async(asked))
        try:
            return await function(*args, **kwargs)
        finally:
            log.info(run.line(await _vram_async(asked)))

    return cast(F, call_async if inspect.iscoroutinefunction(function) else call)
