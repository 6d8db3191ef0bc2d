"""The authors' checkpoints, fetched from their repository into the user's cache.

They have no licence file, so they cannot ship; whoever uses them fetches them from the authors.
They are kept as they are, so that the hash in a report is that of the published file.
"""

from __future__ import annotations

import hashlib
import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import BinaryIO, cast
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from vsr import __version__
from vsr.errors import ModelError, UsageError
from vsr.models.cache import cache_path, install, installed, new_file
from vsr.models.sets import problem
from vsr.plan.weights import AUTHORS
from vsr.types import WeightsFile

__all__ = ["AUTHORS_FILES", "AUTHORS_URL", "Checkpoint", "fetch"]

#: github.com/IVIPLab/FDIWN at the last commit there is, which cannot change under its name.
AUTHORS_URL = (
    "https://raw.githubusercontent.com/IVIPLab/FDIWN/fa93977ce12b99f22750d2ccf6f9654a10997e7c/"
)
#: Seconds without a byte after which a server counts as gone.
TIMEOUT = 30.0
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A file of the authors.

    Attributes:
        model: row of the model table. scale: 2, 3 or 4.
        path: of the file in their repository.
        bytes: its size. sha256: of its content.
    """

    model: str
    scale: int
    path: str
    bytes: int
    sha256: str


AUTHORS_FILES = tuple(
    Checkpoint(
        model="fdiwn",
        scale=scale,
        path=f"FDIWN_TrainCode/experiment/FDIWNx{scale}/model/model_best.pt",
        bytes=size,
        sha256=sha256,
    )
    for scale, size, sha256 in (
        (2, 2855132, "f4bc70c9e325ae3390aee7b1acb5f0304f3d2ce09e03f2377b8522101eb986eb"),
        (3, 2924372, "759ab8ed5fcf8c85fdd0006738dccc27f3a1882a1d49cbab152f2b4d974be20a"),
        (4, 2993820, "12b708bcdbbdf0795a8b8a9ab7bb5a933241b58afdd984a4ace91e9b80673ef6"),
    )
)


def fetch(
    checkpoint: Checkpoint, base: str = AUTHORS_URL, *, timeout: float | None = None
) -> tuple[WeightsFile, bool]:
    """Get a checkpoint into the set ``authors``, unless it is there and whole.

    Args:
        checkpoint: a row of :data:`AUTHORS_FILES`.
        base: address below which the repository's files are, such as that of a mirror.
        timeout: seconds without a byte after which the server counts as gone, 30 by default.

    Returns:
        The file, and whether it was downloaded.

    Raises:
        UsageError: ``base`` is no web address.
        ModelError: it cannot be had, or what came is not the published file.
        OutputError: it cannot be written.
    """
    for file in installed():
        key = (file.set, file.model, file.scale, file.sha256)
        wanted = (AUTHORS, checkpoint.model, checkpoint.scale, checkpoint.sha256)
        if key == wanted and problem(file) is None:
            return file, False
    url = f"{base.rstrip('/')}/{checkpoint.path}"
    if not _is_web_address(url):
        raise UsageError(
            f"{base!r} is no web address",
            remedy="It begins with https:// or http://, and has neither blanks nor letters that "
            "ASCII has not (they are written as %20, %C3%BC).",
        )
    path = cache_path(AUTHORS, checkpoint.model, checkpoint.scale, checkpoint.sha256, ".pt")
    with new_file(path.parent) as (part, out):
        found = _download(url, out, checkpoint, TIMEOUT if timeout is None else timeout)
        if found != checkpoint.sha256:
            raise ModelError(
                f"what the server sent is not the published file: its SHA-256 is {found}, "
                f"not {checkpoint.sha256}",
                where=url,
                remedy="Nothing was installed. Try again later or from another server (--from).",
            )
    install(part, path)
    file = WeightsFile(
        set=AUTHORS,
        model=checkpoint.model,
        scale=checkpoint.scale,
        path=str(path),
        sha256=checkpoint.sha256,
        origin="installed",
    )
    return file, True


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and " " not in url
    return plain and parts.scheme in ("http", "https") and bool(parts.netloc)


def _download(url: str, out: BinaryIO, checkpoint: Checkpoint, timeout: float) -> str:
    """Write what ``url`` gives to ``out``; returns its SHA-256."""
    digest, count = hashlib.sha256(), 0
    # The scheme has been checked, and urllib follows redirections to no other kind.
    request = Request(url, headers={"User-Agent": f"vsr/{__version__}"})  # noqa: S310
    with _network_errors(url):
        response = cast(HTTPResponse, urlopen(request, timeout=timeout))  # noqa: S310
    with response:
        # One byte more than there should be is enough to know that it is another file.
        while count <= checkpoint.bytes:
            with _network_errors(url):
                chunk = response.read(min(_CHUNK, checkpoint.bytes + 1 - count))
            if not chunk:
                break
            out.write(chunk)
            digest.update(chunk)
            count += len(chunk)
        stated = response.headers.get("Content-Length")
    if stated is not None and stated.isdecimal() and count < min(int(stated), checkpoint.bytes):
        raise ModelError(
            f"the connection was cut after {count} of {stated} bytes", where=url, remedy=_AGAIN
        )
    return digest.hexdigest()


_AGAIN = "Try again; files that are complete are not fetched twice."


@contextmanager
def _network_errors(url: str) -> Iterator[None]:
    """Turn what goes wrong on the network into our error: this is the one place for it."""
    try:
        yield
    except HTTPError as error:
        error.close()
        raise ModelError(
            f"the server answered {error.code} {error.reason}".rstrip(),
            where=url,
            remedy="Try again later or from another server (--from).",
        ) from error
    except TimeoutError as error:
        raise ModelError("the server does not answer", where=url, remedy=_AGAIN) from error
    except URLError as error:
        raise ModelError(
            f"cannot reach the server: {error.reason}",
            where=url,
            remedy="Check network, proxy (https_proxy) and firewall, or name another server with "
            "--from. Without a network, bring the file here by other means and use "
            "`vsr weights import FILE --name authors`.",
        ) from error
    except (http.client.HTTPException, OSError) as error:
        raise ModelError(f"the connection failed: {error}", where=url, remedy=_AGAIN) from error
