"""What the models of MusicGen need, as its makers' host declares it. Knows no agent, and measures nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict

from .need import Amounts


@dataclass(frozen=True)
class Model:
    """What one model needs on the host and on a GPU, in GB, for a batch."""

    host_gb: float
    vram_gb: float
    compute_capability: float
    batch: int

    def amounts(self) -> Amounts:
        return Amounts(mem_gb=self.host_gb, gpu_gb=self.vram_gb, compute_capability=self.compute_capability)


MODELS: Dict[str, Model] = {
    "small": Model(host_gb=3.0, vram_gb=6.0, compute_capability=6.0, batch=2),
    "medium": Model(host_gb=6.0, vram_gb=12.0, compute_capability=7.0, batch=1),
    "large": Model(host_gb=12.0, vram_gb=24.0, compute_capability=8.0, batch=1),
}


def find(models: Dict[str, Model], model_id: str) -> Model:
    """By name, or as the end of a longer one: `facebook/musicgen-small`."""
    for name, model in models.items():
        if model_id == name or model_id.endswith(f"-{name}"):
            return model
    raise ValueError(f"{model_id!r} is no known model: {', '.join(models)}")
