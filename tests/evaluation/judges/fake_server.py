"""A chat completion server on loopback that does what a test tells it to."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Answer:
    """What the server sends: a status, headers, and a body (a dict becomes JSON); `cut` closes in the middle."""

    status: int = 200
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False


def completion(
    text: Any, prompt_tokens: int = 7, reply_tokens: int = 1, model: str = "fake-2024", **more: Any
) -> Answer:
    """An ordinary reply."""
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": reply_tokens}
    choices = [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]
    return Answer(200, {"object": "chat.completion", "model": model, "choices": choices, "usage": usage, **more})


class FakeServer(ThreadingHTTPServer):
    """`with FakeServer(lambda number, request: completion("8")) as server`: `server.url`, `server.requests`.

    Args:
        answer: called with the request's number (from 0) and its JSON.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, answer: Callable[[int, dict[str, Any]], Answer]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer, self.requests, self.headers = answer, [], []
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def __enter__(self) -> "FakeServer":
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone away is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: FakeServer

    def do_POST(self) -> None:
        """Count, answer."""
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            number = len(self.server.requests)
            self.server.requests.append({"path": self.path, **request})
            self.server.headers.append(dict(self.headers))
            self.server.at_once += 1
            self.server.most_at_once = max(self.server.at_once, self.server.most_at_once)
        answer = self.server.answer(number, request)
        with self.server.lock:
            self.server.at_once -= 1
        self._send(answer)

    def _send(self, answer: Answer) -> None:
        body = json.dumps(answer.body).encode() if isinstance(answer.body, dict | list) else answer.body
        self.send_response(answer.status)
        for name, value in {"Content-Length": str(len(body)), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if answer.cut else body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
