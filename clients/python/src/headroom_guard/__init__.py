"""Asks Headroom's agent on this host whether work may start, reserves what it needs, and tells how degraded the host is.

Standard library only. Knows nothing itself: all numbers are the agent's."""

from __future__ import annotations

from .check import (
    can_proceed,
    check_cpu,
    check_disk_space,
    check_gpu_memory,
    check_memory,
    get_degradation_level,
    require_resources,
    should_proceed_with_priority,
    wait_for_resources,
)
from .client import Client
from .error import (
    AgentError,
    HeadroomError,
    InsufficientResourcesError,
    NoAgentError,
    ResourceExhaustionError,
    UnknownLevelError,
)
from .event import Event, Follower
from .lease import Lease, claim, claim_async
from .limit import LIMITS, ResourceLimits
from .limiter import AsyncResourceLimiter, ResourceGuard, respect_resource_limits
from .model import MODELS, Model
from .monitored import resource_monitored
from .need import Amounts
from .optimizer import ResourceOptimizer
from .priority import OperationPriority
from .resource import ResourceManager
from .setting import NoAgent
from .status import get_recommended_actions, get_resource_status, print_resource_status

__all__ = [
    "LIMITS",
    "MODELS",
    "AgentError",
    "Amounts",
    "AsyncResourceLimiter",
    "Client",
    "Event",
    "Follower",
    "HeadroomError",
    "InsufficientResourcesError",
    "Lease",
    "Model",
    "NoAgent",
    "NoAgentError",
    "OperationPriority",
    "ResourceExhaustionError",
    "ResourceGuard",
    "ResourceLimits",
    "ResourceManager",
    "ResourceOptimizer",
    "UnknownLevelError",
    "can_proceed",
    "check_cpu",
    "check_disk_space",
    "check_gpu_memory",
    "check_memory",
    "claim",
    "claim_async",
    "get_degradation_level",
    "get_recommended_actions",
    "get_resource_status",
    "print_resource_status",
    "require_resources",
    "resource_monitored",
    "respect_resource_limits",
    "should_proceed_with_priority",
    "wait_for_resources",
]

__version__ = "0.1.0"
