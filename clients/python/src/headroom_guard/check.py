"""Questions with a yes or a no: does this fit, is this below its limit, may work of this priority go on? Reserves nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Iterable, List, Optional

from .answer import Verdict
from .client import Client, or_default, warn_once
from .error import InsufficientResourcesError, NoAgentError, UnknownLevelError
from .host import HostLevel
from .lease import claim
from .need import Amounts
from .priority import OperationPriority
from .setting import NoAgent

#: The level at which a resource is at its limit.
AT_LIMIT = 4
_WHAT = "headroom_guard"
# Between two looks at levels, in seconds.
_PAUSE = 1.0


def fits(verdict: Verdict) -> bool:
    """Unknown is never a yes."""
    return verdict["verdict"] in ("yes", "tight")


@dataclass(frozen=True)
class Judgement:
    """A yes or a no with its reason."""

    ok: bool
    reason: str
    verdict: Optional[Verdict] = None
    answered: bool = True


def without_agent(client: Client, error: NoAgentError) -> Judgement:
    """What was told for this case."""
    if client.no_agent is NoAgent.RAISE:
        raise error
    if client.no_agent is NoAgent.ALLOW:
        warn_once(client.socket)
    return Judgement(client.no_agent is NoAgent.ALLOW, str(error), answered=False)


def above(level: HostLevel, resources: Iterable[str]) -> List[str]:
    """What of these is at its limit or not known, a sentence each. `gpu` is all of them: one with room is enough."""
    found = []
    for line in level["resources"]:
        if line["resource"] in resources:
            name = line.get("mountpoint", line["resource"])
            used = line.get("limit_used_ratio")
            if used is None:
                found.append(f"the use of {name} is not known")
            elif used >= 1.0:
                found.append(f"{name} is at its limit: {100 * used * line['limit_ratio']:.0f} % used")
    gpus = level["gpus"] if "gpu" in resources else []
    if gpus and all(gpu.get("level", AT_LIMIT) >= AT_LIMIT for gpu in gpus):
        found.append("the memory of each GPU is at its limit or not known")
    return found


def judge(
    client: Client, amounts: Amounts, resources: Iterable[str], priority: int = OperationPriority.NORMAL
) -> Judgement:
    """Are these resources below their limits, and would these amounts fit?"""
    try:
        reasons = above(client.level(), resources) if resources else []
        if reasons:
            return Judgement(False, "; ".join(reasons))
        if amounts.is_nothing:
            return Judgement(True, "everything is below its limit")
        verdict = client.admit(amounts.need(_WHAT), priority)
        return Judgement(fits(verdict), verdict["reason"], verdict)
    except NoAgentError as error:
        return without_agent(client, error)


def check_disk_space(required_gb: float = 0.0, path: str = ".", *, client: Optional[Client] = None) -> bool:
    """Without an amount: are the filesystems that the agent's profile names below their limit? With one: is there so much room for
    `path`?"""
    resources = [] if required_gb else ["filesystem"]
    return judge(or_default(client), Amounts(disk_gb=required_gb, path=path), resources).ok


def check_memory(required_gb: float = 0.0, *, client: Optional[Client] = None) -> bool:
    """Without an amount: is the host's memory below its limit? With one: would so much fit, within the limits of this process's
    cgroup as well?"""
    return judge(or_default(client), Amounts(mem_gb=required_gb), [] if required_gb else ["memory"]).ok


def check_cpu(*, client: Optional[Client] = None) -> bool:
    """Are the CPUs, as a mean of 30 s, below their limit?"""
    return judge(or_default(client), Amounts(), ["cpu"]).ok


def check_gpu_memory(required_gb: float = 0.0, *, client: Optional[Client] = None) -> bool:
    """Without an amount: is the memory of a GPU below its limit? A host without any has none that is above. With one: has a GPU so
    much room?"""
    return judge(or_default(client), Amounts(gpu_gb=required_gb), [] if required_gb else ["gpu"]).ok


def _chosen(check_disk: bool, check_mem: bool, check_gpu: bool) -> List[str]:
    chosen = [("filesystem", check_disk), ("memory", check_mem), ("gpu", check_gpu)]
    return [name for name, wanted in chosen if wanted]


def can_proceed(
    check_disk: bool = True,
    check_mem: bool = True,
    check_gpu: bool = True,
    *,
    disk_required_gb: float = 0.0,
    mem_required_gb: float = 0.0,
    gpu_required_gb: float = 0.0,
    path: str = ".",
    priority: int = OperationPriority.NORMAL,
    client: Optional[Client] = None,
) -> bool:
    """Are these below their limits, and would the amounts fit together?"""
    amounts = Amounts(disk_required_gb, mem_required_gb, gpu_required_gb, path)
    return judge(or_default(client), amounts, _chosen(check_disk, check_mem, check_gpu), priority).ok


def require_resources(
    *,
    disk_required_gb: float = 0.0,
    mem_required_gb: float = 0.0,
    gpu_required_gb: float = 0.0,
    check_disk: bool = True,
    check_mem: bool = True,
    check_gpu: bool = True,
    path: str = ".",
    priority: int = OperationPriority.NORMAL,
    client: Optional[Client] = None,
) -> None:
    """As :func:`can_proceed`, but a no is an :class:`InsufficientResourcesError` with the reason."""
    amounts = Amounts(disk_required_gb, mem_required_gb, gpu_required_gb, path)
    judgement = judge(or_default(client), amounts, _chosen(check_disk, check_mem, check_gpu), priority)
    if not judgement.ok:
        raise InsufficientResourcesError(judgement.reason, judgement.verdict)


def wait_for_resources(
    timeout: float = 300.0,
    *,
    disk_required_gb: float = 0.0,
    mem_required_gb: float = 0.0,
    gpu_required_gb: float = 0.0,
    check_disk: bool = True,
    check_mem: bool = True,
    check_gpu: bool = True,
    path: str = ".",
    priority: int = OperationPriority.NORMAL,
    client: Optional[Client] = None,
) -> bool:
    """Waits until :func:`can_proceed`; False if the time is over, or at once if the amounts can never fit. Amounts wait in the
    agent's queue, by priority and time. Nothing stays reserved: others may take it before the caller does."""
    client, deadline = or_default(client), time.monotonic() + timeout
    amounts = Amounts(disk_required_gb, mem_required_gb, gpu_required_gb, path)
    resources = _chosen(check_disk, check_mem, check_gpu)
    while True:
        left = deadline - time.monotonic()
        judgement = judge(client, Amounts(), resources)
        if judgement.ok:
            if amounts.is_nothing:
                return True
            try:
                claim(client, amounts.need(_WHAT), priority=priority, wait=max(0.0, left)).release()
            except InsufficientResourcesError:
                return False
            return True
        if left <= 0 or not judgement.answered:
            return False
        time.sleep(min(_PAUSE, left))


def get_degradation_level(*, client: Optional[Client] = None) -> int:
    """0 (normal) to 4 (critical). Where the agent does not know it: an :class:`UnknownLevelError`, or as told for no agent, the
    least that it can be (allow), or 4 (deny). Without an agent: an error, 0, or 4."""
    client = or_default(client)
    try:
        level = client.level()
    except NoAgentError as error:
        return 0 if without_agent(client, error).ok else AT_LIMIT
    known = level.get("level")
    if known is not None:
        return known
    if client.no_agent is NoAgent.RAISE:
        raise UnknownLevelError("the level is not known: " + ", ".join(level.get("not_known", [])))
    return level["at_least"] if client.no_agent is NoAgent.ALLOW else AT_LIMIT


def should_proceed_with_priority(priority: int, *, client: Optional[Client] = None) -> bool:
    """Does the level of the host admit work of this priority? While the level is not known it admits critical work alone."""
    priority, client = OperationPriority(priority), or_default(client)
    try:
        return priority >= client.level().get("admits_priority", OperationPriority.CRITICAL)
    except NoAgentError as error:
        return without_agent(client, error).ok
