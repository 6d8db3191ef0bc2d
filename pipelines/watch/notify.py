"""Being told that something in the watched folder has changed."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Collection
from pathlib import Path

import watchfiles

__all__ = ["Notifier", "network_file_system"]

# The system tells of changes that this machine makes, not of those that others make on the server.
_NETWORK = (
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre"),
    *("fuse.sshfs", "fuse.rclone", "fuse.s3fs", "fuse.glusterfs", "davfs", "fuse.davfs2", "vboxsf"),
)


def network_file_system(folder: Path) -> str | None:
    """The type of the network file system on which ``folder`` is; ``None`` if none is known of."""
    table = Path("/proc/self/mounts")
    if sys.platform != "linux" or not table.is_file():
        return None
    path, longest, found = os.path.realpath(folder), -1, ""
    for line in table.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        _device, place, kind, *_ = line.split(" ")
        place = place.replace("\\040", " ").rstrip("/")
        inside = path == place or path.startswith(f"{place}/")
        if inside and len(place) >= longest:
            longest, found = len(place), kind
    return found if found in _NETWORK else None


class Notifier:
    """Calls ``changed`` after something below ``folder`` has changed, from a thread of its own.

    It only wakes who looks at the folder: what has changed is found by looking, so that nothing is
    missed if the system forgets to tell. Links to folders are watched, because watchfiles cannot be
    told not to follow them, but changes behind them wake nobody: looking does not follow them. Of
    what links to files lead to, nothing is told.

    Args:
        folder: what is watched, with all that is in it.
        skip: folders whose changes do not matter.
        changed: called after a burst of changes.
        failed: called once with the error if the system cannot tell (any more).
    """

    def __init__(
        self,
        folder: Path,
        *,
        skip: Collection[Path],
        changed: Callable[[], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._folder = os.path.realpath(folder)
        self._skip = tuple(os.path.join(os.path.realpath(path), "") for path in skip)  # noqa: PTH118
        self._changed = changed
        self._failed = failed
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notifier", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._stop.set()
        self._thread.join()

    def _matters(self, _change: watchfiles.Change, path: str) -> bool:
        return not path.startswith(self._skip) and not self._is_behind_link(path)

    def _is_behind_link(self, path: str) -> bool:
        """Whether a link to a folder leads to it: watchfiles follows them, looking does not."""
        folder = os.path.dirname(path)  # noqa: PTH120 - there may be many paths at once
        while len(folder) > len(self._folder):
            if os.path.islink(folder):  # noqa: PTH114
                return True
            folder = os.path.dirname(folder)  # noqa: PTH120
        return False

    def _run(self) -> None:
        try:
            for _ in watchfiles.watch(
                self._folder,
                watch_filter=self._matters,
                debounce=500,
                stop_event=self._stop,
                rust_timeout=1000,
                raise_interrupt=False,
                ignore_permission_denied=True,
            ):
                self._changed()
        except Exception as error:  # noqa: BLE001 - watchfiles raises what the system calls make of it
            self._failed(error)
