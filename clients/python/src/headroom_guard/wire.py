"""HTTP over the agent's Unix socket: one request a connection, for threads and for asyncio. Knows no path of the API.

A request that is given up half-way is told to the agent by closing our half of the connection. Then we read to the end: an answer
that was on its way already is not lost."""

from __future__ import annotations

import asyncio
import errno
import http.client
import io
import json
import socket
import time
from dataclasses import dataclass
from typing import Any, Optional

from .error import AgentError, NoAgentError

# The longest answer that is read, in bytes.
_LONGEST = 64 << 20
_PIECE = 64 << 10
# How long a full queue of connections is waited for, and an answer to a request that was given up, in seconds.
_QUEUE = 2.0
_ABANDON = 2.0
_NOBODY = (errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR)


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes

    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise AgentError(f"the agent's answer is no JSON: {error}", self.status) from error


class Lost(NoAgentError):
    """The connection ended before the answer was complete: whether the request was carried out is not known."""


def _head(method: str, path: str, body: Optional[object]) -> bytes:
    """The whole request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Accept: application/json", "Connection: close"]
    content = b""
    if body is not None:
        content = json.dumps(body, allow_nan=False).encode()
        lines += ["Content-Type: application/json"]
    if method != "GET":
        lines += [f"Content-Length: {len(content)}"]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + content


class _Bytes:
    """Bytes in place of a socket, for http.client."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def makefile(self, *_: object, **__: object) -> io.BytesIO:
        return io.BytesIO(self._content)


def _read(content: bytes, method: str) -> Answer:
    # http.client wants no more of a socket than this.
    response = http.client.HTTPResponse(_Bytes(content), method=method)  # type: ignore[arg-type]
    try:
        # http.client would take headers that are cut off for all of them.
        if not content or content.startswith(b"HTTP/") and b"\r\n\r\n" not in content:
            raise http.client.IncompleteRead(content)
        response.begin()
        body = response.read()
    except http.client.IncompleteRead as error:
        raise Lost("the agent ended the connection before its answer was complete") from error
    except (http.client.HTTPException, ValueError) as error:
        raise AgentError(f"what listens there does not speak HTTP: {error}") from error
    return Answer(response.status, body)


def _refused(path: str, error: OSError) -> Exception:
    """An error of connecting, in the words of this package."""
    if isinstance(error, PermissionError):
        return AgentError(f"no permission for the agent's socket {path}")
    if error.errno in _NOBODY or isinstance(error, TimeoutError):
        return NoAgentError(f"no agent answers at {path}: {error.strerror or error}")
    # Among them a path that is too long for a socket.
    return AgentError(f"cannot connect to {path}: {error}")


def _late(limit: float) -> NoAgentError:
    return NoAgentError(f"the agent did not answer within {limit:.0f} s")


def connect(path: str) -> socket.socket:
    deadline = time.monotonic() + _QUEUE
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            connection.connect(path)
            return connection
        except BlockingIOError:
            # Its queue of connections is full for the moment.
            connection.close()
            if time.monotonic() > deadline:
                raise NoAgentError(f"the agent at {path} takes no connection") from None
            time.sleep(0.02)
        except OSError as error:
            connection.close()
            raise _refused(path, error) from error


class Exchange:
    """One request and its answer. What has been received stays here if it is interrupted."""

    def __init__(self, path: str) -> None:
        self._connection = connect(path)
        self._received = bytearray()
        self._method = "GET"

    def request(self, method: str, path: str, body: Optional[object], limit: float) -> Answer:
        deadline = time.monotonic() + limit
        self._method = method
        try:
            self._connection.settimeout(limit)
            self._connection.sendall(_head(method, path, body))
            return self._rest(deadline)
        except socket.timeout as error:
            raise _late(limit) from error
        except OSError as error:
            raise Lost(f"the connection to the agent is lost: {error}") from error

    def _rest(self, deadline: float) -> Answer:
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise socket.timeout()
            self._connection.settimeout(left)
            piece = self._connection.recv(_PIECE)
            if not piece:
                return _read(bytes(self._received), self._method)
            self._received += piece
            if len(self._received) > _LONGEST:
                raise AgentError("the agent's answer is too long")

    def abandon(self) -> Optional[Answer]:
        """Gives the request up; returns the answer if there is one all the same."""
        try:
            self._connection.shutdown(socket.SHUT_WR)
            return self._rest(time.monotonic() + _ABANDON)
        except (OSError, NoAgentError, AgentError):
            return None

    def close(self) -> None:
        self._connection.close()


class AsyncExchange:
    """The same on a loop, which it never blocks."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._writer: Optional[asyncio.StreamWriter] = None
        # Reads on when its caller is cancelled.
        self._reading: Optional[asyncio.Task[Answer]] = None

    async def request(self, method: str, path: str, body: Optional[object], limit: float) -> Answer:
        reader, writer = await self._open()
        self._writer = writer
        try:
            writer.write(_head(method, path, body))
            self._reading = asyncio.ensure_future(_rest(reader, method))
            # Whoever never asks for its error does not want to read of it in the log either.
            self._reading.add_done_callback(lambda done: done.cancelled() or done.exception())
            return await self._within(limit)
        except OSError as error:
            raise Lost(f"the connection to the agent is lost: {error}") from error

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        deadline = time.monotonic() + _QUEUE
        while True:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                # A Unix socket connects at once or not at all.
                connection.setblocking(False)
                connection.connect(self._path)
                return await asyncio.open_unix_connection(sock=connection)
            except BlockingIOError:
                connection.close()
                if time.monotonic() > deadline:
                    raise NoAgentError(f"the agent at {self._path} takes no connection") from None
                await asyncio.sleep(0.02)
            except OSError as error:
                connection.close()
                raise _refused(self._path, error) from error
            except BaseException:
                connection.close()
                raise

    async def _within(self, limit: float) -> Answer:
        assert self._reading is not None
        # Not wait_for: before Python 3.12 that may swallow a cancellation.
        done, _ = await asyncio.wait({self._reading}, timeout=limit)
        if not done:
            raise _late(limit)
        return self._reading.result()

    async def abandon(self) -> Optional[Answer]:
        """As of :class:`Exchange`."""
        if self._writer is None or self._reading is None:
            return None
        try:
            if self._writer.can_write_eof():
                self._writer.write_eof()
            return await self._within(_ABANDON)
        except (OSError, RuntimeError, NoAgentError, AgentError):
            return None

    def close(self) -> None:
        try:
            if self._reading is not None:
                self._reading.cancel()
            if self._writer is not None:
                self._writer.close()
        except RuntimeError:
            pass  # The loop has ended, and with it the connection.


async def _rest(reader: asyncio.StreamReader, method: str) -> Answer:
    received = bytearray()
    while True:
        piece = await reader.read(_PIECE)
        if not piece:
            return _read(bytes(received), method)
        received += piece
        if len(received) > _LONGEST:
            raise AgentError("the agent's answer is too long")
