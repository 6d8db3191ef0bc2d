"""A web server on the loopback interface that can misbehave."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["Server", "serving"]


class Server:
    """What is served and how.

    Attributes:
        files: path below the root -> content.
        how: what is done with a request: ``serve``; ``cut`` the connection in the middle, or
            ``cut-unstated`` without having said how long the file is; ``stall`` in the middle;
            ``silent``: accept and say nothing; ``long``: send more than the file; ``redirect`` to
            the file below ``/moved/``; ``garbage`` instead of HTTP; or a status code.
        asked: paths that were asked for, in order.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.how: str | int = "serve"
        self.asked: list[str] = []
        self.url = ""
        self.over = threading.Event()


@contextmanager
def serving() -> Iterator[Server]:
    """Serve from a thread until the block ends."""
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.asked.append(self.path)
            if server.how == "redirect" and not self.path.startswith("/moved/"):
                self.send_response(302)
                self.send_header("Location", f"/moved{self.path}")
                self.end_headers()
                return
            content = server.files.get(self.path.removeprefix("/moved").lstrip("/"))
            if isinstance(server.how, int) or content is None:
                self.send_error(server.how if isinstance(server.how, int) else 404)
            else:
                self._send(content)

        def _send(self, content: bytes) -> None:
            if server.how == "silent":
                server.over.wait(60)
                return
            if server.how == "garbage":
                self.wfile.write(b"this is no HTTP\r\n\r\n")
                return
            self.send_response(200)
            if server.how not in ("cut-unstated", "long"):
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            half = len(content) // 2
            self.wfile.write(content[:half])
            if server.how == "stall":
                self.wfile.flush()
                server.over.wait(60)
            if server.how in ("serve", "redirect", "long"):
                self.wfile.write(content[half:])
            if server.how == "long":
                self.wfile.write(b"more")

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name
            """Say nothing."""

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """A client that gives up in the middle is what some tests are about."""
            if not isinstance(sys.exception(), ConnectionError):
                super().handle_error(request, client_address)  # type: ignore[arg-type]

    with Quiet(("127.0.0.1", 0), Handler) as http:
        server.url = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            http.shutdown()
            thread.join()
