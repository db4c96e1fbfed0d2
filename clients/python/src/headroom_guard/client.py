"""The agent's requests and reads as calls. Knows no policy but the one it was given: whether an answer is enough, others decide."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from typing import Any, List, Optional, Union, cast

from . import setting
from .answer import Granted, Need, Reservation, Verdict
from .error import AgentError, HeadroomError, NoAgentError
from .host import GpuLine, HostLevel, ModelServer, Report, Status, Suggestions, WorkloadLine
from .setting import NoAgent
from .wire import Answer, AsyncExchange, Exchange

log = logging.getLogger("headroom_guard")

API = "/api/v1/"
#: Seconds for an answer that is not waited for on purpose.
LIMIT = 5.0
_TOO_OFTEN = 429
_PAUSE = 0.25


class Client:
    """Asks the agent at a socket. It holds no connection: use it from any thread, any loop, and after a fork."""

    def __init__(
        self,
        socket: Optional[str] = None,
        no_agent: Union[NoAgent, str, None] = None,
        limit: float = LIMIT,
    ) -> None:
        self.socket = setting.socket_path(socket)
        #: What those who decide do when no agent answers. The calls of this class raise in any case.
        self.no_agent = setting.no_agent(no_agent)
        self.limit = limit

    def __repr__(self) -> str:
        return f"Client(socket={self.socket!r}, no_agent={self.no_agent.value!r})"

    def call(self, method: str, path: str, body: Optional[object] = None, limit: Optional[float] = None) -> Answer:
        """The answer to a request below `/api/v1/`, whatever its status is."""
        exchange = Exchange(self.socket)
        try:
            return exchange.request(method, API + path, body, limit or self.limit)
        finally:
            exchange.close()

    async def call_async(
        self, method: str, path: str, body: Optional[object] = None, limit: Optional[float] = None
    ) -> Answer:
        exchange = AsyncExchange(self.socket)
        try:
            return await exchange.request(method, API + path, body, limit or self.limit)
        finally:
            exchange.close()

    def read(self, path: str) -> Any:
        return accept(self.call("GET", path)).json()

    async def read_async(self, path: str) -> Any:
        return accept(await self.call_async("GET", path)).json()

    def level(self) -> HostLevel:
        return cast(HostLevel, self.read("level"))

    def status(self) -> Status:
        return cast(Status, self.read("status"))

    def report(self) -> Report:
        return cast(Report, self.read("report"))

    def gpus(self) -> List[GpuLine]:
        return cast(List[GpuLine], self.read("gpus")["gpus"])

    def models(self) -> List[ModelServer]:
        return cast(List[ModelServer], self.read("models")["servers"])

    def workloads(self) -> List[WorkloadLine]:
        return cast(List[WorkloadLine], self.read("workloads")["workloads"])

    def suggestions(self) -> Suggestions:
        return cast(Suggestions, self.read("suggestions"))

    def reservations(self) -> List[Reservation]:
        """All leases at the agent's last tick, the oldest first, and then the claims that wait."""
        answer = self.read("reservations")
        return cast(List[Reservation], [*answer["reservations"], *answer["waiting"]])

    def admit(self, need: Need, priority: int = 2, gpus: Optional[List[str]] = None) -> Verdict:
        """May this start here now? It changes nothing. Who asks too often is slowed down."""
        body, deadline = ask(need, priority, gpus), time.monotonic() + self.limit
        while True:
            answer = self.call("POST", "admit", body)
            if answer.status != _TOO_OFTEN or time.monotonic() > deadline:
                return cast(Verdict, accept(answer).json())
            time.sleep(_PAUSE)

    async def admit_async(self, need: Need, priority: int = 2, gpus: Optional[List[str]] = None) -> Verdict:
        body, deadline = ask(need, priority, gpus), time.monotonic() + self.limit
        while True:
            answer = await self.call_async("POST", "admit", body)
            if answer.status != _TOO_OFTEN or time.monotonic() > deadline:
                return cast(Verdict, accept(answer).json())
            await asyncio.sleep(_PAUSE)


def ask(need: Need, priority: int, gpus: Optional[List[str]]) -> "dict[str, object]":
    body: "dict[str, object]" = {"need": need, "priority": int(priority)}
    if gpus:
        body["gpus"] = list(gpus)
    return body


def accept(answer: Answer) -> Answer:
    """The same answer if it is a good one."""
    if 200 <= answer.status < 300:
        return answer
    raise problem(answer)


def problem(answer: Answer) -> HeadroomError:
    """What an answer that is no good says (RFC 9457)."""
    try:
        detail = str(answer.json()["detail"])
    except (AgentError, TypeError, KeyError):
        detail = f"the agent answered with status {answer.status}"
    # It stops, or too many ask: nobody answers.
    return NoAgentError(detail) if answer.status == 503 else AgentError(detail, answer.status)


def granted(answer: Answer) -> Granted:
    return cast(Granted, answer.json())


def or_default(client: Optional[Client]) -> Client:
    """The given client, else one as the environment says now."""
    return client if client is not None else Client()


@functools.lru_cache(maxsize=None)
def warn_once(socket: str) -> None:
    log.warning("no agent answers at %s: everything is allowed, and nothing is reserved", socket)
