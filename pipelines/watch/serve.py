"""The page: the queue, its progress, pictures before and after, and errors, in a browser.

It shows and changes nothing. It is for this machine unless somebody insists, and asks no password;
requests under another host's name are refused, so that no web page elsewhere can read it through
the browser of this machine (DNS rebinding). Pictures and logs go by the number of their job, never
by a path: the copy of a log beside a quarantined file can be replaced by whoever writes to its
folder, and by a link to anything.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipelines.queue.job import Job
from pipelines.queue.ledger import Ledger
from vsr.errors import OutputError, UsageError, VsrError

__all__ = ["Page"]

_STATIC = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
#: Most jobs of one state that a page shows, and most of a log, in bytes from its end.
_MOST_JOBS, _MOST_LOG = 200, 64 * 1024
_LOCAL_NAMES = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True, slots=True)
class _Answer:
    body: bytes
    kind: str = "text/plain; charset=utf-8"
    status: HTTPStatus = HTTPStatus.OK


class Page:
    """Serves the page until it is closed.

    Args:
        ledger: what is shown.
        home: folder of pictures and logs; those of a job are ``pictures/<number>-before.jpg`` and
            so on, and ``logs/<number>.log``.
        host: address or name to listen at.
        port: 0 chooses a free one.
        anyone: listen at an address that other machines reach.

    Attributes:
        url: where it is.

    Raises:
        UsageError: ``host`` can be reached from other machines, and ``anyone`` is not set.
        OutputError: it cannot listen there.
    """

    def __init__(
        self, ledger: Ledger, home: Path, host: str, port: int, *, anyone: bool = False
    ) -> None:
        family, address = _resolve(host, port)
        if not anyone and not ipaddress.ip_address(address.partition("%")[0]).is_loopback:
            raise UsageError(
                f"{host} can be reached from other machines, and the page has no password",
                remedy="Serve at 127.0.0.1, or add --serve-anyone if that is what you want.",
            )
        server = type("Server", (_Server,), {"address_family": family})
        try:
            self._server: _Server = server((address, port), _Handler)
        except OSError as error:
            raise OutputError(
                f"cannot listen there: {error.strerror}",
                where=f"{host}:{port}",
                remedy="Another program may use the port; choose another one.",
            ) from error
        self._server.ledger = ledger
        self._server.pictures = home / "pictures"
        self._server.logs = home / "logs"
        # Whoever may come under any address may come under any name.
        self._server.names = None if anyone else {*_LOCAL_NAMES, host, address}
        shown = f"[{address}]" if ":" in address else address
        self.url = f"http://{shown}:{self._server.server_address[1]}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _resolve(host: str, port: int) -> tuple[int, str]:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise UsageError(
            f"there is no address {host!r}", remedy="Serve at 127.0.0.1:8080, for example."
        ) from error
    return family, str(address[0])


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    ledger: Ledger
    pictures: Path
    logs: Path
    names: set[str] | None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the middle is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "vsr"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        """Answer with the whole of it."""
        self._answer(body=True)

    def do_HEAD(self) -> None:
        """Answer with the headers of it."""
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        answer = self._find()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(answer.body)

    def _find(self) -> _Answer:
        if not self._is_for_us():
            text = "This page is served under the name of this machine only.\n"
            return _Answer(text.encode(), status=HTTPStatus.MISDIRECTED_REQUEST)
        path = urlsplit(self.path).path
        if path in _STATIC:
            name, kind = _STATIC[path]
            return _Answer(files("pipelines.watch").joinpath("page", name).read_bytes(), kind)
        if path == "/queue.json":
            try:
                return _Answer(json.dumps(_queue(self.server)).encode(), "application/json")
            except VsrError as error:
                return _Answer(str(error).encode(), status=HTTPStatus.SERVICE_UNAVAILABLE)
        return self._of_job(path) or _Answer(
            b"There is no such page.\n", status=HTTPStatus.NOT_FOUND
        )

    def _is_for_us(self) -> bool:
        names = self.server.names
        if names is None:
            return True
        host = urlsplit(f"//{self.headers.get('Host', '')}").hostname
        return host is not None and host in {name.lower() for name in names}

    def _of_job(self, path: str) -> _Answer | None:
        """``/jobs/<number>/<what>``."""
        parts = path.split("/")
        finders: dict[str, Callable[[Job], _Answer | None]] = {
            "before.jpg": lambda job: self._picture(job, "before"),
            "after.jpg": lambda job: self._picture(job, "after"),
            "log.txt": lambda job: _log(self.server, job),
        }
        known = len(parts) == 4 and parts[:2] == ["", "jobs"] and parts[3] in finders
        if not known or not parts[2].isascii() or not parts[2].isdecimal() or len(parts[2]) > 15:
            return None
        job = self.server.ledger.job(int(parts[2]))
        return None if job is None else finders[parts[3]](job)

    def _picture(self, job: Job, which: str) -> _Answer | None:
        path = self.server.pictures / f"{job.id}-{which}.jpg"
        return _Answer(path.read_bytes(), "image/jpeg") if path.is_file() else None

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Nobody reads who looked."""


def _log_of(server: _Server, job: Job) -> Path | None:
    path = server.logs / f"{job.id}.log"
    return path if job.log and path.is_file() else None


def _log(server: _Server, job: Job) -> _Answer | None:
    path = _log_of(server, job)
    if path is None:
        return None
    with path.open("rb") as file:
        size = path.stat().st_size
        file.seek(max(0, size - _MOST_LOG))
        return _Answer(file.read().decode("utf-8", "replace").encode())


def _queue(server: _Server) -> dict[str, Any]:
    ledger = server.ledger
    counts = ledger.counts()
    jobs = [job for state in counts for job in ledger.jobs([state], limit=_MOST_JOBS)]
    return {
        "source": _printable(ledger.fact("source") or ""),
        "destination": _printable(ledger.fact("destination") or ""),
        "counts": counts,
        "jobs": [_entry(server, job) for job in jobs],
    }


def _entry(server: _Server, job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "path": _printable(job.path),
        "state": job.state,
        "reason": _printable(job.reason),
        "error": job.error,
        "attempts": job.attempts,
        "frames": job.frames,
        "total": job.total,
        "fps": job.fps,
        "eta": job.eta,
        "next_try": job.next_try,
        "destination": _printable(job.destination),
        "moved_to": _printable(job.moved_to),
        "log": _log_of(server, job) is not None,
        "pictures": job.state == "done" and (server.pictures / f"{job.id}-after.jpg").is_file(),
        "completions": job.completions,
        "ended_at": job.ended_at,
    }


def _printable(text: str) -> str:
    """File names need not be text; a browser takes nothing else."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
