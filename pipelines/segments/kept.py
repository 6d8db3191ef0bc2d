"""What is kept of an earlier run for the same result: this very job, another one, or nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.events import Listener, Warned
from pipelines.segments.cut import Cut, cut_job
from pipelines.segments.ledger import Ledger
from pipelines.segments.settings import job_settings, source_identity
from vsr.errors import OutputError
from vsr.media.write.atomic import check_destination
from vsr.types import Plan
from vsr.types.place import on_disk

__all__ = ["straight_through", "take_up"]

# What is named first of all that changed: much else follows from it.
_CAUSES = ("source", "trim", "video", "model", "weights", "versions")


@contextmanager
def straight_through(plan: Plan, tell: Listener, *, fresh: bool = False) -> Iterator[None]:
    """Hold what is kept for the result of ``plan`` while the block makes that without segments.

    It goes when the result is there; at once, if ``fresh``.

    Raises:
        OutputError: segments of another job are kept for the same result, or it is at work.
    """
    with Ledger(plan.destination, needed=False) as ledger:
        if not ledger.held:
            if ledger.folder.exists():
                tell(Warned(f"{ledger.folder} is not ours or cannot be locked, and stays."))
            yield
            return
        if ledger.is_done():
            ledger.remove()
        check_destination(plan.destination, overwrite=plan.overwrite, source=plan.source)
        source = source_identity(plan.source) if on_disk(plan.source) else None
        if take_up(plan, source, ledger, tell, fresh=fresh, whole=True, least=2) is not None:
            tell(Warned(f"What is kept in {ledger.folder} is not used, and goes with the result."))
        yield
        ledger.remove()


def take_up(
    plan: Plan,
    source: Mapping[str, Any] | None,
    ledger: Ledger,
    tell: Listener,
    *,
    fresh: bool,
    whole: bool,
    least: int,
) -> Cut | None:
    """The segments of the job, taken from the ledger if it keeps this very job.

    ``source`` is the source's identity, ``None`` if it is no file. ``None`` comes back if there
    are no segments; the ledger then keeps nothing.

    Raises:
        OutputError: there are none, and the ledger keeps those of another job.
    """
    kept = None if fresh else ledger.settings()
    changes: list[str] = []
    if kept is not None:
        settings = None if source is None else job_settings(plan, source)
        if kept == settings:
            return ledger.cut()
        changes = ["source"] if settings is None else _changes(kept, settings)
    with ledger.claimed():
        cut = None if whole else cut_job(plan)
        if cut is not None and len(cut.segments) < least:
            cut = None
        if changes:
            _give_up(plan, ledger, tell, changes, whole=cut is None)
        if cut is None or source is None:
            ledger.remove()
            return None
        ledger.clear()
        ledger.begin(job_settings(plan, source), cut, str(Path(plan.source).absolute()))
    return cut


def _changes(kept: Mapping[str, str], settings: Mapping[str, str]) -> list[str]:
    """Names of the settings that differ, causes first."""

    def order(name: str) -> tuple[int, str]:
        group = name.partition(".")[0]
        return (_CAUSES.index(group) if group in _CAUSES else len(_CAUSES)), name

    return sorted((k for k in {*kept, *settings} if kept.get(k) != settings.get(k)), key=order)


def _give_up(
    plan: Plan, ledger: Ledger, tell: Listener, changes: Sequence[str], *, whole: bool
) -> None:
    """Say why the job that the ledger keeps is of no use to this one."""
    count = ledger.count()
    what = ", ".join(changes[:5]) + (" and more" if len(changes) > 5 else "")
    # What was made from a file that is no longer there in that form is of no use to anybody.
    same_path = str(Path(plan.source).absolute()) == ledger.source()
    outdated = same_path and changes[0].startswith("source")
    if whole and count and not outdated:
        # A short try must neither cost hours of work nor take the name that they were for.
        raise OutputError(
            f"{count} finished segments of another job for this result are kept in "
            f"{ledger.folder}; what differs: {what}",
            where=plan.destination,
            remedy="Name another result with -o, then the command of that job still goes on with "
            "it. With --fresh what is kept is removed.",
        )
    if count or not whole:
        tell(Warned(f"Begun anew: {what} changed since the job was stopped."))
