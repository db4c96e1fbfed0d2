"""The limits that the profile `ringrift` sets, as numbers. Knows no agent: what holds on this host, the agent says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ResourceLimits:
    """In percent: above `max` nothing starts but critical work, above `warn` the agent alerts."""

    DISK_MAX_PERCENT: float = 70.0
    DISK_WARN_PERCENT: float = 65.0
    MEMORY_MAX_PERCENT: float = 80.0
    MEMORY_WARN_PERCENT: float = 70.0
    CPU_MAX_PERCENT: float = 80.0
    CPU_WARN_PERCENT: float = 70.0
    GPU_MAX_PERCENT: float = 80.0
    GPU_WARN_PERCENT: float = 70.0


LIMITS = ResourceLimits()
