"""The state of the host: the agent's JSON as types, as in `answer.py`. Of large answers they have what this package reads."""

from __future__ import annotations

from typing import Dict, List, TypedDict


class _LevelLine(TypedDict):
    at_least: int
    hold_seconds: float


class LevelLine(_LevelLine, total=False):
    """A level, and what follows from it. Without `level` it is not known."""

    level: int
    name: str
    factor: float
    admits_priority: int
    since: int
    reasons: List[str]


class _LimitLine(TypedDict):
    #: memory, cpu or filesystem
    resource: str
    limit_ratio: float


class LimitLine(_LimitLine, total=False):
    """A resource that counts for the level of the host."""

    mountpoint: str
    used_ratio: float
    limit_used_ratio: float
    level: int


class _GpuLevelLine(LevelLine):
    gpu: str
    uuid: str
    limit_ratio: float


class GpuLevelLine(_GpuLevelLine, total=False):
    """The level of a GPU's memory."""

    used_ratio: float
    intended_ratio: float
    limit_used_ratio: float
    not_known: List[str]


class _LevelPressure(TypedDict):
    raises_above: float
    critical_above: float


class LevelPressure(_LevelPressure, total=False):
    memory_stalled_ratio: float


class _HostLevel(LevelLine):
    time: int
    resources: List[LimitLine]
    pressure: LevelPressure
    gpus: List[GpuLevelLine]


class HostLevel(_HostLevel, total=False):
    """How degraded the host and each GPU are."""

    not_known: List[str]


class _Alert(TypedDict):
    alert: str
    #: info, warning or critical
    severity: str
    labels: Dict[str, str]
    #: firing or resolved
    state: str
    started: int
    fired: int
    summary: str
    action: str


class Alert(_Alert, total=False):
    resolved: int
    value: float
    incident: str
    cause: str
    updated: int


class _Suggestion(TypedDict):
    #: alert or advice
    kind: str
    labels: Dict[str, str]
    summary: str
    action: str


class Suggestion(_Suggestion, total=False):
    """What to do about an alert that fires, or what to change on this host."""

    alert: str
    severity: str
    incident: str
    #: The id of an advice: `headroom advise ID` has its evidence and the commands.
    advice: str
    #: low, medium or high
    confidence: str
    #: low, medium or high
    risk: str


class Suggestions(TypedDict):
    time: int
    suggestions: List[Suggestion]


class Memory(TypedDict, total=False):
    """Memory of the host, in bytes."""

    total_bytes: int
    usable_bytes: int
    available_bytes: int
    free_bytes: int
    used_bytes: int
    used_ratio: float
    anon_bytes: int
    cached_bytes: int
    shmem_bytes: int
    pinned_bytes: int


class Cpu(TypedDict, total=False):
    busy_ratio: float
    iowait_ratio: float
    steal_ratio: float
    cpus: int
    load1: float
    load5: float
    load15: float


class _FilesystemLine(TypedDict):
    device: str
    fstype: str
    mountpoint: str
    up: bool


class FilesystemLine(_FilesystemLine, total=False):
    available_bytes: int
    free_bytes: int
    size_bytes: int
    used_ratio: float
    inodes: int
    inodes_free: int
    read_only: bool


class _Holder(TypedDict):
    workload: str


class Holder(_Holder, total=False):
    """What the processes of a workload hold of a GPU's memory."""

    memory_bytes: int


class _GpuLine(TypedDict):
    gpu: str
    uuid: str
    model: str
    driver: str


class GpuLine(_GpuLine, total=False):
    """A GPU, or a MIG device of one. Not all that the agent says of it."""

    parent: str
    memory_total_bytes: int
    memory_used_bytes: int
    memory_free_bytes: int
    memory_reserved_bytes: int
    memory_used_ratio: float
    utilization_ratio: float
    temperature_celsius: float
    workloads: List[Holder]


class _StageLatency(TypedDict):
    #: first_token, between_tokens, end_to_end or queue
    stage: str
    mean_seconds: float


class StageLatency(_StageLatency, total=False):
    """How long requests took in the last minute. A quantile is absent where only the mean is known."""

    count: int
    p50_seconds: float
    p95_seconds: float
    p99_seconds: float


class _ModelLine(TypedDict):
    model: str


class ModelLine(_ModelLine, total=False):
    """A model of a server: what the server says, with rates and latencies of the last minute. Not all that the agent says of it."""

    requests_running: int
    requests_waiting: int
    slots: int
    requests_per_second: float
    prompt_tokens_per_second: float
    generated_tokens_per_second: float
    kv_used_ratio: float
    preemptions: int
    asleep: bool
    stuck_seconds: float
    latency: List[StageLatency]


class _ModelServer(TypedDict):
    server: str
    url: str
    #: up, loading, asleep, silent, failed or unreachable
    state: str
    asked: int
    answer_seconds: float


class ModelServer(_ModelServer, total=False):
    """A model server, and what it said last."""

    #: vllm, sglang, llama_cpp, llama_router, ollama, tgi, tei, triton or lmdeploy
    kind: str
    why: str
    workload: str
    pid: int
    parent: str
    models: List[ModelLine]


class Unavailable(TypedDict):
    source: str
    reason: str


class _Status(TypedDict):
    time: int
    started: int
    reasons: List[str]
    unavailable: List[Unavailable]
    memory: Memory
    cpu: Cpu
    filesystems: List[FilesystemLine]
    gpus: List[GpuLine]
    alerts: List[Alert]


class Status(_Status, total=False):
    """The host in one object. Not all that the agent says of it."""

    #: healthy, moderate, warning or critical
    health: str
    version: str
    kernel: str


class _WorkloadLine(TypedDict):
    workload: str
    kind: str
    cgroup: str


class WorkloadLine(_WorkloadLine, total=False):
    """A workload. Not all that the agent says of it."""

    memory_bytes: int
    memory_limit_bytes: int
    pinned_bytes: int
    swap_bytes: int
    oom_kills: int
    gone: bool


class Report(Status):
    """The status, and all workloads. Not all that the agent says."""

    workloads: List[WorkloadLine]


# `from` is a word of the language.
_LevelSpan = TypedDict("_LevelSpan", {"from": int, "to": int})


class _LevelChange(_LevelSpan):
    time: int
    #: raised, lowered, unknown or known
    state: str
    known: bool
    summary: str


class LevelChange(_LevelChange, total=False):
    """The level of the host, or of a GPU, has changed: the event `level`."""

    gpu: str
    uuid: str
