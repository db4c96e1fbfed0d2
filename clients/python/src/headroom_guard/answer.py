"""Needs, verdicts and leases: the agent's JSON as types, field by field. What an answer does not know is absent. A test compares
them with the agent's own description of itself (`/api/v1/openapi.json`)."""

from __future__ import annotations

from typing import Dict, List, TypedDict, Union


class _NeedPart(TypedDict):
    what: str
    #: host, vram, disk, cpu, network or slot
    resource: str
    #: Bytes; for CPU thousandths of one, for network bits a second, for a slot places.
    amount: int
    origin: str


class NeedPart(_NeedPart, total=False):
    """One line of a need."""

    #: Of host memory: anonymous, pinned, locked, mapped or page_cache.
    memory: str
    #: Of VRAM: counted among the GPUs that this work may use.
    gpu: int
    #: Of a disk.
    path: str
    #: Of a slot.
    name: str
    error: int
    loading: bool


class _Need(TypedDict):
    parts: List[NeedPart]


class Need(_Need, total=False):
    """What work needs before it starts."""

    assumptions: List[str]
    not_considered: List[str]
    upper_bound: bool
    #: The least compute capability of its GPUs, in tenths.
    compute_capability: int


class _VerdictHolder(TypedDict):
    workload: str
    amount: int
    #: use or reservation
    kind: str


class VerdictHolder(_VerdictHolder, total=False):
    """Who holds part of a resource."""

    id: int


class _VerdictLine(TypedDict):
    resource: str
    need: int
    short: int
    verdict: str


class VerdictLine(_VerdictLine, total=False):
    """What is needed of one resource, and what there is."""

    of: str
    available: int
    limited_by: str
    holders: List[VerdictHolder]


class _VerdictWay(TypedDict):
    #: use, reservation, evictable, idle, other_gpu, page_cache, setting or total
    kind: str
    sentence: str
    #: measured, reserved or estimated
    origin: str


class VerdictWay(_VerdictWay, total=False):
    """One thing that would make room."""

    #: in the unit of the resource
    amount: int
    workload: str
    id: int
    ends_in_seconds: int


class _Verdict(TypedDict):
    #: yes, tight, wait, no or unknown
    verdict: str
    reason: str
    resources: List[VerdictLine]


class Verdict(_Verdict, total=False):
    """May this start here?"""

    gpus: List[str]
    retry_after_seconds: int
    #: for work that paces itself, where CPUs or the network are short
    delay_milliseconds: int
    #: InsufficientResources where something is short
    error: str
    room: List[VerdictWay]
    not_known: List[str]
    ahead: int


class LeaseProcess(TypedDict):
    pid: int
    started: int


class LeaseCgroup(TypedDict):
    path: str


#: {"process": …} or {"cgroup": …}
LeaseOwner = Dict[str, Union[LeaseProcess, LeaseCgroup]]


class _Granted(TypedDict):
    id: int
    owner: LeaseOwner
    verdict: Verdict


class Granted(_Granted, total=False):
    """A claim that was granted."""

    gpus: List[str]


class _ReservationPart(TypedDict):
    resource: str
    amount: int


class ReservationPart(_ReservationPart, total=False):
    of: str
    used: int


class _Orphan(TypedDict):
    pid: int
    gpu: str


class Orphan(_Orphan, total=False):
    cgroup: str
    bytes: int


class _Reservation(TypedDict):
    id: int
    #: waiting, starting, settled or ending
    state: str
    workload: str
    priority: int
    resources: List[ReservationPart]
    age_seconds: int
    idle_seconds: int


class Reservation(_Reservation, total=False):
    """A lease, as it is shown."""

    #: Absent, as the owner and the unit, of another user's lease.
    uid: int
    owner: LeaseOwner
    unit: str
    evictable: bool
    #: For claims of any user.
    anyone: bool
    ends_in_seconds: int
    orphans: List[Orphan]
