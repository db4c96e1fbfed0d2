"""Batch sizes and suggestions. Knows no model's code; what it says of this host, the agent said."""

from __future__ import annotations

import math
from typing import Dict, List, Optional

from .client import Client, or_default
from .error import InsufficientResourcesError
from .host import GpuLine, Status
from .model import MODELS, Model, find
from .need import GB
from .status import suggested

# Of free GPU memory, what stays free.
_RESERVE = 0.2


class ResourceOptimizer:
    def __init__(self, models: Optional[Dict[str, Model]] = None, *, client: Optional[Client] = None) -> None:
        self._models = MODELS if models is None else models
        self._client = or_default(client)

    def get_optimal_batch_size(self, model_id: str, available_gb: Optional[float] = None) -> int:
        """The batch that fits into so much free GPU memory less 20 %: the model's own batch as often as its need fits. 0 if it does
        not fit. Without an amount, it is that of the GPU with most free memory, as the agent knows it."""
        model = find(self._models, model_id)
        if available_gb is None:
            available_gb = most_free(self._client.gpus())
            if available_gb is None:
                raise InsufficientResourcesError("the free memory of no GPU is known")
        return math.floor(max(0.0, available_gb) * (1 - _RESERVE) / model.vram_gb) * model.batch

    def get_optimization_suggestions(self, report: Optional[Status] = None) -> List[str]:
        """What to do about each alert that fires, by a report of the agent (:meth:`Client.report`).

        Without a report: about those that fire now, and what to change on this host.
        """
        if report is None:
            return [suggested(suggestion) for suggestion in self._client.suggestions()["suggestions"]]
        return [f"{alert['summary']}: {alert['action']}" for alert in report["alerts"]]


def most_free(gpus: List[GpuLine]) -> Optional[float]:
    """In GB. A GPU that is divided into MIG devices is none that a program can use."""
    divided = {gpu["parent"] for gpu in gpus if "parent" in gpu}
    free = [gpu.get("memory_free_bytes") for gpu in gpus if gpu["uuid"] not in divided]
    known = [amount for amount in free if amount is not None]
    return max(known) / GB if known else None
