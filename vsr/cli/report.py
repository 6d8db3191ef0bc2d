"""What is said of an upscale before it and after it, as text."""

from __future__ import annotations

from vsr.cli.output import echo, entries, note, rate_text, size_text, time_text
from vsr.types import Plan, Report
from vsr.types.place import result_name, source_name

__all__ = ["announce", "report_text"]


def announce(plan: Plan) -> None:
    """Say in time what somebody might want to stop the run for."""
    video, model = plan.video, plan.model
    source, destination = source_name(plan.source), result_name(plan.destination)
    echo(
        f"{source} {video.width}x{video.height} -> {destination} {plan.width}x{plan.height}: "
        f"{model.name} on {plan.device}, {plan.encode.name}",
        err=True,
    )
    for reason in plan.reasons:
        if reason.topic == "weights":
            echo(f"weights {reason.choice}: {reason.why}", err=True)
    for sentence in plan.given_up:
        note("given up", sentence, "yellow")
    for sentence in plan.info.warnings:
        note("warning", sentence, "yellow")


def report_text(plan: Plan, report: Report) -> str:
    """What became of ``plan``: frames, time, how busy each stage was, and what is missing.

    Warnings are not repeated: each has been shown when it came up.
    """
    size = f"{plan.width}x{plan.height}, {size_text(report.bytes)}"
    lines = [f"{result_name(report.destination)}: {size}"]
    rate = (report.frames_out - report.resumed_frames) / max(report.seconds, 1e-9)
    rows = [
        ("frames", _frames(report)),
        ("time", f"{time_text(report.seconds)}, {rate_text(rate)}"),
        ("busy", _busy(report)),
        ("memory", f"{size_text(report.peak_memory)} at most"),
    ]
    if report.weights:
        rows.append(("weights", f"{report.weights}, SHA-256 {report.weights_sha256}"))
    lines += entries(
        rows,
        label=8,
        indent="  ",
    )
    for heading, sentences in (
        ("given up", report.given_up),
        ("damaged", _damage(report)),
    ):
        if sentences:
            lines.append(f"  {heading}")
            lines += entries([("-", sentence) for sentence in sentences], label=1, indent="    ")
    return "\n".join(lines)


def _frames(report: Report) -> str:
    checked = "read back and verified" if report.verified else "not verified"
    counts = [f"{report.frames_in} in", f"{report.frames_out} out", checked]
    if report.resumed_frames:
        counts.append(f"{report.resumed_frames} of them from a run that was stopped")
    if report.repeated_frames:
        counts.append(f"{report.repeated_frames} like the one before and inferred once")
    return ", ".join(counts)


def _busy(report: Report) -> str:
    shares = ", ".join(
        f"{stage.name} {stage.busy / max(report.seconds, 1e-9):.0%}" for stage in report.stages
    )
    workers = f"; {report.workers} workers" if report.workers > 1 else ""
    return f"{shares}; bound by {report.bound_by}{workers}"


def _damage(report: Report) -> list[str]:
    found = []
    if report.corrupt_packets:
        found.append(f"{report.corrupt_packets} packets of the source could not be decoded")
    if report.concealed_frames:
        found.append(f"{report.concealed_frames} frames are damaged in the source")
    return found
