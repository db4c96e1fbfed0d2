"""What can go wrong between a client and its agent has a name of its own."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import unittest
from typing import Any, Callable, List, Type

from headroom_guard import AgentError, Client, HeadroomError, NoAgentError
from headroom_guard.answer import Need
from headroom_guard.wire import Lost
from stand_in import GB, Handler, Respond, agent, folder, serving

NEED: Need = {"parts": [{"what": "x", "resource": "host", "memory": "anonymous", "amount": GB, "origin": "declared"}]}


def refusing(status: int) -> Respond:
    return lambda handler, _: handler.problem(status, "because")


def sending(content: bytes) -> Callable[[socket.socket], object]:
    return lambda connection: connection.sendall(content)


def both(client: Client, path: str = "level") -> List[BaseException]:
    """The errors of a thread and of a loop; none if it works."""
    errors: List[BaseException] = []
    calls: List[Callable[[], Any]] = [lambda: client.read(path), lambda: asyncio.run(client.read_async(path))]
    for call in calls:
        try:
            call()
        except HeadroomError as error:
            errors.append(error)
    return errors


class Wire(unittest.TestCase):
    def fails(self, client: Client, kind: Type[HeadroomError], text: str) -> None:
        errors = both(client)
        self.assertEqual(len(errors), 2, errors)
        for error in errors:
            self.assertIs(type(error), kind, repr(error))
            self.assertIn(text, str(error))

    def raw(self, respond: Callable[[socket.socket], object], kind: Type[HeadroomError], text: str, limit: float) -> None:
        """An agent that answers so."""
        with folder() as path:
            where = os.path.join(path, "s")
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(where)
            listener.listen()

            def serve() -> None:
                for _ in range(2):
                    connection, _ = listener.accept()
                    with connection:
                        try:
                            connection.recv(1 << 16)
                            respond(connection)
                        except OSError:
                            pass

            thread = threading.Thread(target=serve)
            thread.start()
            self.fails(Client(where, limit=limit), kind, text)
            thread.join()
            listener.close()

    def test_an_answer_is_read_by_threads_and_loops(self) -> None:
        with agent() as server:
            client = Client(server.path)
            self.assertEqual(client.level()["level"], 0)
            self.assertEqual(asyncio.run(client.read_async("level")), server.level)
            self.assertEqual(client.admit(NEED)["verdict"], "yes")
            self.assertEqual(asyncio.run(client.admit_async(NEED, 3, ["0"]))["verdict"], "yes")
            self.assertEqual(server.seen[-1][2], {"need": NEED, "priority": 3, "gpus": ["0"]})
            self.assertEqual({headers["Host"] for headers in server.headers_seen}, {"localhost"})

    def test_who_asks_too_often_is_slowed_down(self) -> None:
        with agent() as server:
            verdict, refused = {"verdict": "yes", "reason": "", "resources": []}, []

            def respond(handler: Handler, _: Any) -> None:
                refused.append(1)
                handler.answer(200, verdict) if len(refused) % 2 == 0 else handler.problem(429, "too often")

            server.given["POST admit"] = respond
            self.assertEqual(Client(server.path).admit(NEED), verdict)
            self.assertEqual(asyncio.run(Client(server.path).admit_async(NEED)), verdict)
            self.assertEqual(len(refused), 4)
            server.given["POST admit"] = refusing(429)
            with self.assertRaises(AgentError):
                Client(server.path, limit=0.1).admit(NEED)

    def test_nobody_listens(self) -> None:
        with folder() as path:
            where = os.path.join(path, "s")
            self.fails(Client(where), NoAgentError, "no agent answers at")
            with serving(where):
                self.assertEqual(both(Client(where)), [])
            # The socket of an agent that was killed.
            self.assertTrue(os.path.exists(where))
            self.fails(Client(where), NoAgentError, "no agent answers at")

    def test_a_path_that_is_no_socket_or_too_long_is_an_error_of_its_own(self) -> None:
        with folder() as path:
            self.fails(Client(os.path.join(path, "x" * 200)), AgentError, "cannot connect")

    @unittest.skipIf(os.geteuid() != 0, "needs another user")
    def test_no_permission_is_not_no_agent(self) -> None:
        with agent() as server:
            os.chmod(server.path, 0o600)
            os.chmod(os.path.dirname(server.path), 0o755)
            os.seteuid(65534)
            try:
                self.fails(Client(server.path), AgentError, "no permission")
            finally:
                os.seteuid(0)

    def test_an_answer_that_is_cut_off_is_lost(self) -> None:
        whole = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"
        for length in (0, 9, 15, 20, 38, len(whole)):
            self.raw(sending(whole[:length]), Lost, "complete", 30)

    def test_an_agent_that_hangs_is_given_up(self) -> None:
        self.raw(lambda connection: connection.recv(1), NoAgentError, "did not answer within", 0.2)

    def test_what_is_no_http_or_no_json_is_said(self) -> None:
        self.raw(lambda connection: connection.sendall(b"SSH-2.0-x\r\n\r\n"), AgentError, "does not speak HTTP", 30)
        text = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
        self.raw(lambda connection: connection.sendall(text), AgentError, "no JSON", 30)

    def test_problems_say_what_is_wrong_and_a_busy_agent_is_none(self) -> None:
        with agent() as server:
            for status, kind in ((403, AgentError), (429, AgentError), (500, AgentError), (503, NoAgentError)):
                server.given["GET level"] = refusing(status)
                self.fails(Client(server.path), kind, "because")
            server.given["GET level"] = lambda handler, _: handler.answer(418, ["no problem object"])
            self.fails(Client(server.path), AgentError, "418")

    def test_a_full_queue_of_connections_is_waited_for(self) -> None:
        with folder() as path:
            where = os.path.join(path, "s")
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(where)
            listener.listen(0)
            first = socket.socket(socket.AF_UNIX)
            first.connect(where)

            def serve(answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}") -> None:
                for _ in range(3):
                    connection, _ = listener.accept()
                    with connection:
                        connection.settimeout(30)
                        if connection.recv(1 << 16):
                            connection.sendall(answer)

            timer = threading.Timer(0.2, serve)
            timer.start()
            first.shutdown(socket.SHUT_WR)
            self.assertEqual(both(Client(where, limit=30)), [])
            timer.join()
            first.close()
            listener.close()

    def test_many_threads_ask_at_once(self) -> None:
        with agent() as server:
            client, wrong = Client(server.path, limit=60), []

            def ask() -> None:
                for _ in range(20):
                    if client.level() != server.level:
                        wrong.append(1)

            threads = [threading.Thread(target=ask) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual((wrong, len(server.seen)), ([], 160))


if __name__ == "__main__":
    unittest.main()
