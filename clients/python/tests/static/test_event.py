"""Events of the agent reach callbacks, in order, once, and over its restarts."""

from __future__ import annotations

import os
import threading
import unittest
from typing import Any, List, Optional

from headroom_guard import Client, Event, Follower
from headroom_guard.event import parse
from stand_in import Handler, Server, folder, serving, until


class Stream:
    """Sends these events, then keeps the stream open until it is told to end."""

    def __init__(self, text: str, status: int = 200) -> None:
        self.text, self.status, self.end = text, status, threading.Event()
        self.asked_after: List[Optional[str]] = []

    def __call__(self, handler: Handler, _: Any) -> None:
        self.asked_after.append(handler.headers.get("Last-Event-ID"))
        if self.status != 200:
            return handler.problem(self.status, "not now")
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        # In pieces that end in the middle of lines.
        content = self.text.encode()
        for start in range(0, len(content), 7):
            piece = content[start : start + 7]
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.end.wait(60)
        handler.close_connection = True


def frame(number: int, kind: str, data: str = "{}") -> str:
    return f"id: {number}\nevent: {kind}\ndata: {data}\n\n"


class Events(unittest.TestCase):
    def test_events_are_parsed_as_the_standard_says(self) -> None:
        text = ": headroom\n\nid: 1\nevent: alert\ndata: {\"a\":\ndata:1}\n\nevent: gap\ndata: {}\n\n:\n\nevent: x\n\ndata: 7\n\n"
        text += "data: {no\n\nid: x\ndata: {}\n\nid: 9\ndata: {\"cut\": 1}\n"
        with self.assertLogs("headroom_guard", "WARNING") as logs:
            events = list(parse(text.encode().split(b"\n")[:-1]))
        self.assertEqual(events, [Event("alert", {"a": 1}, 1), Event("gap"), Event("message")])
        self.assertEqual(len(logs.output), 2)

    def test_callbacks_get_the_kinds_that_they_want_and_survive_their_own_errors(self) -> None:
        got: List[Event] = []

        def callback(event: Event) -> None:
            got.append(event)
            if event.kind == "alert":
                raise ZeroDivisionError

        with folder() as path, serving(os.path.join(path, "s")) as server:
            stream = Stream(": headroom\n\n" + frame(3, "alert") + frame(5, "incident") + frame(6, "level", '{"to": 2}'))
            server.given["GET events"] = stream
            with self.assertLogs("headroom_guard", "ERROR"):
                with Follower(callback, ("alert", "level"), Client(server.path)) as follower:
                    self.assertTrue(follower.wait_connected(60))
                    until(lambda: len(got) == 2, "both come")
            stream.end.set()
        self.assertEqual(got, [Event("alert", {}, 3), Event("level", {"to": 2}, 6)])
        self.assertEqual(stream.asked_after, [None])

    def test_it_goes_on_where_it_was_after_a_restart_and_tells_of_trouble_once(self) -> None:
        got: List[Optional[int]] = []
        with folder() as path:
            where = os.path.join(path, "s")
            with self.assertLogs("headroom_guard", "WARNING") as logs:
                follower = Follower(lambda event: got.append(event.id), None, Client(where))
                until(lambda: logs.output, "it says that nobody is there")
                with serving(where) as server:
                    first = Stream(frame(3, "alert") + frame(9, "alert"))
                    server.given["GET events"] = first
                    until(lambda: got == [3, 9], "both come")
                    first.end.set()
                    second = Stream("event: gap\ndata: {}\n\n" + frame(12, "alert"))
                    server.given["GET events"] = second
                    until(lambda: got == [3, 9, None, 12], "it goes on")
                    self.assertEqual(second.asked_after[-1], "9")
                    second.end.set()
                    third = Stream("", 429)
                    server.given["GET events"] = third
                    until(lambda: len(third.asked_after) >= 2, "it tries again")
                    self.assertEqual(third.asked_after[-1], "12")
                follower.close()
            self.assertEqual(sum("not now" in line for line in logs.output), 1, logs.output)

    def test_closing_from_the_callback_works(self) -> None:
        got: List[Event] = []
        with folder() as path, serving(os.path.join(path, "s")) as server:
            stream = Stream(frame(1, "alert") + frame(2, "alert"))
            server.given["GET events"] = stream
            holder: List[Follower] = []
            ready = threading.Event()

            def callback(event: Event) -> None:
                ready.wait(60)
                got.append(event)
                holder[0].close()

            holder.append(Follower(callback, None, Client(server.path)))
            ready.set()
            until(lambda: got, "it comes")
            holder[0].close()
            stream.end.set()
        self.assertEqual(len(got), 1)


if __name__ == "__main__":
    unittest.main()
