"""Needs from amounts, as the agent takes them. Knows no agent."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Optional

from .answer import Need, NeedPart

#: A GB of this package's arguments: 2^30 bytes, as in `--memory 18G`.
GB = 1 << 30

# Bounds of the agent.
_NAME = 128
_MOST = (1 << 63) - 1


def to_bytes(gb: float) -> int:
    """Rounded up: what is asked for is never less than what is needed."""
    if not math.isfinite(gb) or gb < 0:
        raise ValueError(f"an amount in GB is a number from 0 on, not {gb!r}")
    return min(math.ceil(gb * GB), _MOST)


def short(name: str) -> str:
    """A name within the bounds of the agent."""
    return name.encode("utf-8", "replace")[:_NAME].decode("utf-8", "ignore")


@dataclass(frozen=True)
class Amounts:
    """What work needs, in GB. The disk is that of `path`."""

    disk_gb: float = 0.0
    mem_gb: float = 0.0
    gpu_gb: float = 0.0
    path: str = "."
    #: The least compute capability of its GPU, such as 7.0.
    compute_capability: Optional[float] = None

    def __post_init__(self) -> None:
        for gb in (self.disk_gb, self.mem_gb, self.gpu_gb):
            to_bytes(gb)

    @property
    def is_nothing(self) -> bool:
        return not (self.disk_gb or self.mem_gb or self.gpu_gb)

    def need(self, what: str) -> Need:
        """A need that the caller declares, for work of this name."""
        what = short(what)
        parts = []
        if self.mem_gb:
            parts.append(_part(what, "host", self.mem_gb))
            parts[-1]["memory"] = "anonymous"
        if self.gpu_gb:
            parts.append(_part(what, "vram", self.gpu_gb))
            parts[-1]["gpu"] = 0
        if self.disk_gb:
            parts.append(_part(what, "disk", self.disk_gb))
            parts[-1]["path"] = os.path.realpath(self.path)
        need: Need = {"parts": parts}
        if self.compute_capability is not None and self.gpu_gb:
            need["compute_capability"] = round(self.compute_capability * 10)
        return need


def _part(what: str, resource: str, gb: float) -> NeedPart:
    return {"what": what, "resource": resource, "amount": to_bytes(gb), "origin": "declared"}
