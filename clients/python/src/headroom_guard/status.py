"""What the agent says of this host, for people and for dictionaries. Decides nothing."""

from __future__ import annotations

import sys
from typing import Any, Dict, List, Optional, TextIO

from .check import above, without_agent
from .client import Client, or_default
from .error import NoAgentError
from .host import FilesystemLine, GpuLevelLine, GpuLine, HostLevel, LimitLine, Status, Suggestion
from .need import GB

_NAMES = {"memory": "Memory", "cpu": "CPU", "filesystem": "Disk", "gpu": "GPU"}
_ADVICE = {
    "Memory": "stop or shrink the largest workload: headroom workloads",
    "CPU": "start less at once: headroom workloads shows who uses it",
    "Disk": "remove what is not needed: old checkpoints, logs, images",
    "GPU": "start on another GPU, or unload a model: headroom gpus",
}
_RESOURCES = ("memory", "filesystem", "gpu")


def _percent(ratio: Optional[float]) -> Optional[float]:
    return None if ratio is None else round(100 * ratio, 1)


def _gb(amount: Optional[int]) -> Optional[float]:
    return None if amount is None else round(amount / GB, 2)


def _use(line: Optional[LimitLine]) -> Dict[str, Any]:
    if line is None:
        return {"used_percent": None, "limit_percent": None}
    return {"used_percent": _percent(line.get("used_ratio")), "limit_percent": _percent(line["limit_ratio"])}


def _disk(line: LimitLine, filesystem: Optional[FilesystemLine]) -> Dict[str, Any]:
    return {**_use(line), "available_gb": _gb(filesystem.get("available_bytes") if filesystem else None)}


def _gpu(level: GpuLevelLine, line: Optional[GpuLine]) -> Dict[str, Any]:
    return {
        "used_percent": _percent(level.get("used_ratio")),
        "intended_percent": _percent(level.get("intended_ratio")),
        "limit_percent": _percent(level["limit_ratio"]),
        "level": level.get("level"),
        "free_gb": _gb(line.get("memory_free_bytes") if line else None),
        "total_gb": _gb(line.get("memory_total_bytes") if line else None),
    }


def _whole(level: HostLevel, status: Status) -> Dict[str, Any]:
    lines = {line["resource"]: line for line in level["resources"] if line["resource"] != "filesystem"}
    mounted = {line["mountpoint"]: line for line in status["filesystems"]}
    gpus = {line["gpu"]: line for line in status["gpus"]}
    disks = [line for line in level["resources"] if line["resource"] == "filesystem"]
    memory = status["memory"]
    return {
        "agent": True,
        "health": status.get("health"),
        "can_proceed": not above(level, _RESOURCES) and level.get("admits_priority", 4) <= 2,
        "degradation_level": level.get("level"),
        "level_name": level.get("name"),
        "factor": level.get("factor"),
        "admits_priority": level.get("admits_priority"),
        "memory": {
            **_use(lines.get("memory")),
            "available_gb": _gb(memory.get("available_bytes")),
            "total_gb": _gb(memory.get("total_bytes")),
        },
        "cpu": {**_use(lines.get("cpu")), "cpus": status["cpu"].get("cpus")},
        "disk": {str(line.get("mountpoint")): _disk(line, mounted.get(line.get("mountpoint", ""))) for line in disks},
        "gpu": {line["gpu"]: _gpu(line, gpus.get(line["gpu"])) for line in level["gpus"]},
        "alerts": [alert["summary"] for alert in status["alerts"]],
        "reasons": list(level.get("reasons", [])),
        "not_known": list(level.get("not_known", [])),
    }


def get_resource_status(*, client: Optional[Client] = None) -> Dict[str, Any]:
    """The host in one dictionary. What is not known is None. Without an agent only `agent`, `can_proceed` and `not_known` say
    something."""
    client = or_default(client)
    try:
        return _whole(client.level(), client.status())
    except NoAgentError as error:
        empty = dict.fromkeys(("health", "degradation_level", "level_name", "factor", "admits_priority"))
        return {
            "agent": False,
            **empty,
            "can_proceed": without_agent(client, error).ok,
            **{name: {} for name in ("memory", "cpu", "disk", "gpu")},
            **{name: [] for name in ("alerts", "reasons")},
            "not_known": [str(error)],
        }


def _of(percent: Optional[float], limit: Optional[float]) -> str:
    limits = "" if limit is None else f" (limit {limit:.0f} %)"
    return "not known" if percent is None else f"{percent:.0f} % used{limits}"


def _line(name: str, part: Dict[str, Any]) -> str:
    room = part.get("available_gb", part.get("free_gb"))
    left = "" if room is None else f", {room:.1f} GB left"
    return f"{name:<12} {_of(part.get('used_percent'), part.get('limit_percent'))}{left}"


def print_resource_status(file: Optional[TextIO] = None, *, client: Optional[Client] = None) -> None:
    status = get_resource_status(client=client)
    level = status["degradation_level"]
    lines = [f"{'Level':<12} {'not known' if level is None else str(level) + ' (' + str(status['level_name']) + ')'}"]
    if status["agent"]:
        lines += [_line("Memory", status["memory"]), _line("CPU", status["cpu"])]
        lines += [_line(f"Disk {where}", part) for where, part in status["disk"].items()]
        lines += [_line(f"GPU {number}", part) for number, part in status["gpu"].items()]
    lines += [f"{'Proceed':<12} {'yes' if status['can_proceed'] else 'no'}"]
    lines += [f"{'Why':<12} {reason}" for reason in status["reasons"]]
    lines += [f"{'Alert':<12} {summary}" for summary in status["alerts"]]
    lines += [f"{'Not known':<12} {what}" for what in status["not_known"]]
    print("\n".join(lines), file=file or sys.stdout)


def _action(name: str, where: str, used: Optional[float], level: Optional[int]) -> str:
    what = f"{name}{where}"
    if used is None:
        return f"{what} is not known"
    return f"{what} OK at {100 * used:.0f}%" if not level else f"{what} at {100 * used:.0f}%: {_ADVICE.get(name, 'headroom level')}"


def suggested(suggestion: Suggestion) -> str:
    return f"{suggestion['summary']}: {suggestion['action']}"


def get_recommended_actions(*, client: Optional[Client] = None) -> List[str]:
    """A sentence for each resource that has a limit, then what to do about each alert. Without an agent there is one that says so."""
    client = or_default(client)
    try:
        level, suggestions = client.level(), client.suggestions()
    except NoAgentError as error:
        without_agent(client, error)
        return [f"Not known: {error}"]
    actions = []
    for line in level["resources"]:
        where = f" {line['mountpoint']}" if "mountpoint" in line else ""
        actions.append(_action(_NAMES.get(line["resource"], line["resource"]), where, line.get("used_ratio"), line.get("level")))
    for gpu in level["gpus"]:
        actions.append(_action("GPU", f" {gpu['gpu']}", gpu.get("used_ratio"), gpu.get("level")))
    return actions + [suggested(suggestion) for suggestion in suggestions["suggestions"]]
