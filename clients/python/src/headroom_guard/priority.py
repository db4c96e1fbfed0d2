"""How much a piece of work matters. Knows nothing else."""

from __future__ import annotations

from enum import IntEnum


class OperationPriority(IntEnum):
    """From what can wait for days to what must not wait."""

    BACKGROUND = 0
    LOW = 1
    NORMAL = 2
    HIGH = 3
    CRITICAL = 4
