"""Follows what happens on this host in a thread: server-sent events of `/api/v1/events`. Knows no kind of event."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Callable, Collection, Dict, Iterable, Iterator, List, Optional, Tuple, Type

from .client import Client, or_default, problem
from .error import AgentError, HeadroomError, NoAgentError
from .wire import Answer, connect

log = logging.getLogger("headroom_guard")

# The agent sends a comment every 15 s: after three times that it is gone.
_SILENCE = 45.0
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 10.0
_LONGEST_LINE = 1 << 20
_LONGEST_EVENT = 4 << 20


@dataclass(frozen=True)
class Event:
    #: `alert`, `incident`, `level`; `gap`: some events are not kept any more. Others may come with a later agent.
    kind: str
    data: Dict[str, Any] = field(default_factory=dict)
    #: Ids increase; absent for a gap.
    id: Optional[int] = None


Callback = Callable[[Event], object]


class Follower:
    """Calls back for each event, in a thread of its own and one at a time, until it is closed. It survives a restart of the agent:
    what happened meanwhile comes then, as far as the agent still has it. An error in the callback is logged, and the next event
    comes all the same."""

    def __init__(
        self, callback: Callback, kinds: Optional[Collection[str]] = None, client: Optional[Client] = None
    ) -> None:
        self._callback = callback
        self._kinds = None if kinds is None else frozenset(kinds)
        self._client = or_default(client)
        self._lock = threading.Lock()
        self._connection: Optional[socket.socket] = None
        self._closed = threading.Event()
        self._connected = threading.Event()
        self._last: Optional[int] = None
        self._thread = threading.Thread(target=self._run, name="headroom-events", daemon=True)
        self._thread.start()

    def wait_connected(self, timeout: Optional[float] = None) -> bool:
        """Whether it follows the agent: everything that happens from now on will come."""
        return self._connected.wait(timeout)

    def close(self) -> None:
        """Ends it. Waits for a callback that runs, unless that is who calls."""
        self._closed.set()
        with self._lock:
            if self._connection is not None:
                try:
                    self._connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # It is gone already.
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def __enter__(self) -> "Follower":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def _run(self) -> None:
        pause, told = _FIRST_PAUSE, ""
        while not self._closed.is_set():
            try:
                for event in self._follow():
                    pause, told = _FIRST_PAUSE, ""
                    self._deliver(event)
            except (HeadroomError, OSError, http.client.HTTPException, ValueError) as error:
                # Once for each reason: an agent may be away for long.
                if str(error) != told and not self._closed.is_set():
                    told = str(error)
                    log.warning("events of the agent are not followed: %s", error)
            self._connected.clear()
            self._closed.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _deliver(self, event: Event) -> None:
        if self._closed.is_set() or (self._kinds is not None and event.kind not in self._kinds):
            return
        try:
            self._callback(event)
        except Exception:
            log.exception("the callback failed for the event %s", event.kind)

    def _follow(self) -> Iterator[Event]:
        """The events of one connection. Raises when it ends."""
        connection = connect(self._client.socket)
        try:
            with self._lock:
                self._connection = connection
            if self._closed.is_set():
                return
            connection.settimeout(_SILENCE)
            link = http.client.HTTPConnection("localhost")
            link.sock = connection
            headers = {"Accept": "text/event-stream"}
            if self._last is not None:
                headers["Last-Event-ID"] = str(self._last)
            link.request("GET", "/api/v1/events", headers=headers)
            response = link.getresponse()
            if response.status != 200:
                raise problem(Answer(response.status, response.read(_LONGEST_LINE)))
            for event in parse(_lines(response, self._connected)):
                if event.id is not None:
                    self._last = event.id
                yield event
            raise NoAgentError("the agent ended the stream")
        finally:
            with self._lock:
                self._connection = None
            connection.close()


def _lines(response: http.client.HTTPResponse, connected: threading.Event) -> Iterator[bytes]:
    while True:
        line = response.readline(_LONGEST_LINE)
        if not line:
            return
        if not line.endswith(b"\n"):
            raise AgentError("a line of the stream is too long, or was cut off")
        # The first is a comment, sent when the place in the stream is fixed.
        connected.set()
        yield line.rstrip(b"\r\n")


def parse(lines: Iterable[bytes]) -> Iterator[Event]:
    """Events of a stream (HTML standard, 9.2.6); what is no JSON object is left out."""
    fields: Dict[str, List[str]] = {}
    size = 0
    for line in lines:
        size += len(line)
        if size > _LONGEST_EVENT:
            raise AgentError("an event of the stream is too long")
        if line:
            name, value = _field(line)
            fields.setdefault(name, []).append(value)
            continue
        event = _event(fields)
        fields, size = {}, 0
        if event is not None:
            yield event


def _field(line: bytes) -> Tuple[str, str]:
    name, _, value = line.decode("utf-8", "replace").partition(":")
    return name, value[1:] if value.startswith(" ") else value


def _event(fields: Dict[str, List[str]]) -> Optional[Event]:
    if "data" not in fields:
        return None
    try:
        data = json.loads("\n".join(fields["data"]))
    except ValueError:
        data = None
    if not isinstance(data, dict):
        log.warning("an event of the agent is no JSON object")
        return None
    text = fields.get("id", [""])[-1]
    number = int(text) if text.isascii() and text.isdigit() else None
    return Event(fields.get("event", ["message"])[-1], data, number)
