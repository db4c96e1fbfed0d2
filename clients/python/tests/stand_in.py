"""Stands in for the agent: real HTTP over a real Unix socket, with the answers that a test gives it. Keeps leases as the agent does,
as far as clients see it: places, a queue, keys, withdrawal. Knows nothing of the package that it tests."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import shutil
import socketserver
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

# What the package logs is a test's own business.
logging.getLogger("headroom_guard").addHandler(logging.NullHandler())

#: How long a test waits for anything before it fails.
PATIENCE = 60.0

GB = 1 << 30

LEVEL: Dict[str, Any] = {
    "time": 1,
    "level": 0,
    "at_least": 0,
    "name": "normal",
    "factor": 1.0,
    "admits_priority": 0,
    "hold_seconds": 10.0,
    "reasons": [],
    "resources": [
        {"resource": "memory", "used_ratio": 0.5, "limit_ratio": 0.8, "limit_used_ratio": 0.625, "level": 0},
        {"resource": "cpu", "used_ratio": 0.1, "limit_ratio": 1.0, "limit_used_ratio": 0.1, "level": 0},
        {
            "resource": "filesystem",
            "mountpoint": "/",
            "used_ratio": 0.35,
            "limit_ratio": 0.7,
            "limit_used_ratio": 0.5,
            "level": 0,
        },
    ],
    "pressure": {"raises_above": 0.1, "critical_above": 0.6},
    "gpus": [],
    "not_known": [],
}
STATUS: Dict[str, Any] = {
    "time": 1,
    "started": 1,
    "health": "healthy",
    "reasons": [],
    "unavailable": [],
    "memory": {"total_bytes": 16 * GB, "available_bytes": 8 * GB, "used_ratio": 0.5},
    "cpu": {"cpus": 4},
    "filesystems": [
        {"device": "a", "fstype": "ext4", "mountpoint": "/", "up": True, "available_bytes": 65 * GB, "used_ratio": 0.35}
    ],
    "gpus": [],
    "alerts": [],
}

Respond = Callable[["Handler", Any], None]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "Server"

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: Any) -> None:
        pass

    def _any(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body: Any = json.loads(self.rfile.read(length)) if length else None
        self.server.seen.append((self.command, self.path, body))
        self.server.headers_seen.append(dict(self.headers))
        path: str = self.path[len("/api/v1/") :]
        given = self.server.given.get(f"{self.command} {path}")
        if given is not None:
            given(self, body)
        elif self.command == "POST" and path == "reservations":
            self.server.book.claim(self, body)
        elif self.command == "DELETE" and path.startswith("reservations/"):
            self.server.book.release(self, int(path.rpartition("/")[2]))
        elif self.command == "POST" and path == "admit":
            self.answer(200, self.server.book.verdict(body["need"]))
        elif (self.command, path) == ("GET", "level"):
            self.answer(200, self.server.level)
        elif (self.command, path) == ("GET", "status"):
            self.answer(200, self.server.status)
        else:
            self.problem(404, "there is nothing at this path")

    do_GET = do_POST = do_DELETE = _any

    def answer(self, status: int, body: Any, kind: str = "application/json") -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def problem(self, status: int, detail: str, **more: Any) -> None:
        body = {"type": "about:blank", "title": "x", "status": status, "detail": detail, **more}
        self.answer(status, body, "application/problem+json")

    def is_gone(self) -> bool:
        """Whether the client closed its half of the connection: the agent takes that for its end."""
        return bool(select.select([self.connection], [], [], 0)[0]) and not self.connection.recv(1)


class Book:
    """So many bytes of host memory, and who has them. First come, first served."""

    def __init__(self) -> None:
        self.total = 10 * GB
        self.changed = threading.Condition()
        self.held: Dict[int, Tuple[int, Optional[str]]] = {}
        self.queue: List[object] = []
        self.withdrawn = 0
        self.refused = 0
        #: Claims that may wait.
        self.places = 64
        self.most = 0
        self.last = 0
        #: Called between a grant and its answer.
        self.before_answer: Callable[[Handler], None] = lambda handler: None

    def free(self) -> int:
        return self.total - sum(amount for amount, _ in self.held.values())

    def verdict(self, need: Any) -> Dict[str, Any]:
        amount = _memory(need)
        fits = amount <= self.free()
        word, reason = ("yes", "all that is needed is free") if fits else ("no", f"host memory: {amount} needed")
        line = {"resource": "host memory", "need": amount, "short": max(0, amount - self.free()), "verdict": word}
        return {"verdict": word, "reason": reason, "resources": [line]}

    def claim(self, handler: Handler, body: Any) -> None:
        amount, key, turn = _memory(body["need"]), body.get("key"), object()
        deadline = time.monotonic() + body.get("wait_seconds", 0)
        with self.changed:
            known = [number for number, (_, own) in self.held.items() if key is not None and own == key]
            if known:
                return handler.answer(201, _granted(known[0]))
            if len(self.queue) >= self.places:
                self.refused += 1
                return handler.problem(429, f"{self.places} claims of user 0 wait already")
            self.queue.append(turn)
            while amount > self.free() or self.queue[0] is not turn:
                if handler.is_gone():
                    self.queue.remove(turn)
                    self.withdrawn += 1
                    self.changed.notify_all()
                    return
                if time.monotonic() >= deadline or amount > self.total:
                    self.queue.remove(turn)
                    self.changed.notify_all()
                    verdict = self.verdict(body["need"])
                    return handler.problem(409, verdict["reason"], verdict=verdict)
                self.changed.wait(0.02)
            self.queue.remove(turn)
            self.last += 1
            number = self.last
            self.held[number] = (amount, key)
            self.most = max(self.most, self.total - self.free())
            self.changed.notify_all()
        self.before_answer(handler)
        try:
            handler.answer(201, _granted(number))
        except OSError:
            pass

    def release(self, handler: Handler, number: int) -> None:
        with self.changed:
            known = self.held.pop(number, None)
            self.changed.notify_all()
        if known is None:
            return handler.problem(404, f"there is no reservation {number}")
        handler.answer(200, {})


def _memory(need: Any) -> int:
    return sum(part["amount"] for part in need["parts"] if part["resource"] == "host")


def _granted(number: int) -> Dict[str, Any]:
    verdict = {"verdict": "yes", "reason": "all that is needed is free", "resources": []}
    return {"id": number, "owner": {"process": {"pid": 1, "started": 1}}, "verdict": verdict}


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, path: str) -> None:
        self.path = path
        self.level: Dict[str, Any] = json.loads(json.dumps(LEVEL))
        self.status: Dict[str, Any] = json.loads(json.dumps(STATUS))
        self.book = Book()
        #: Answers in place of its own, by method and path.
        self.given: Dict[str, Respond] = {}
        self.seen: List[Tuple[str, str, Any]] = []
        self.headers_seen: List[Dict[str, str]] = []
        super().__init__(path, Handler)

    def handle_error(self, *_: Any) -> None:
        pass

    def give(self, what: str, status: int, body: Any) -> None:
        self.given[what] = lambda handler, _: handler.answer(status, body)


@contextlib.contextmanager
def folder() -> Iterator[str]:
    path = tempfile.mkdtemp(prefix="headroom-guard-")
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def serving(path: str, book: Optional[Book] = None) -> Iterator[Server]:
    """At this path, until the block ends: then the socket refuses, as that of a killed agent."""
    if os.path.exists(path):
        os.unlink(path)
    server = Server(path)
    if book is not None:
        server.book = book
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def agent() -> Iterator[Server]:
    with folder() as path, serving(os.path.join(path, "headroom.sock")) as server:
        yield server


def recording(told: List[Any]) -> Respond:
    """Notes path and body, and agrees."""

    def respond(handler: Handler, body: Any) -> None:
        told.append((handler.path, body))
        handler.answer(200, {})

    return respond


def change(gpu: int, **values: Any) -> None:
    """What the stand-in for NVIDIA's library answers: it reads the file NVML_STAND_IN at each call."""
    path = os.environ["NVML_STAND_IN"]
    with open(path, encoding="utf-8") as file:
        scenario = json.load(file)
    scenario["gpus"][gpu].update(values)
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(scenario, file)
    os.replace(path + ".new", path)


def until(condition: Callable[[], Any], what: str) -> Any:
    """Waits for a condition."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"waited in vain: {what}")
