"""Laws of the scaling model in ``benchmarks/``: whatever the figures, these hold."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st


def _load() -> ModuleType:
    folder = Path(__file__).parents[1] / "benchmarks"
    spec = importlib.util.spec_from_file_location("scaling_model", folder / "scaling_model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["scaling_model"] = module
    sys.path.insert(0, str(folder))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(folder))
    return module


model = _load()
JOBS = st.builds(
    model.Job,
    name=st.just("job"),
    frames=st.integers(1, 10**6),
    segment=st.integers(1, 1000),
    source_bytes=st.floats(0, 1e11),
    result_bytes=st.floats(0, 1e12),
    rate=st.floats(0.01, 1e4),
)
SITES = st.builds(
    model.Site,
    network=st.floats(1e6, 1e11),
    disk=st.floats(1e6, 1e11),
    shared=st.booleans(),
    start=st.floats(0, 100),
    per_segment=st.floats(0, 10),
)


@given(JOBS, SITES, st.integers(1, 2000), st.integers(1, 2000))
def test_more_devices_never_take_longer(job: object, site: object, one: int, other: int) -> None:
    few, many = sorted((one, other))
    assert model.estimate(job, site, many).seconds <= model.estimate(job, site, few).seconds


@given(JOBS, SITES, st.integers(1, 2000))
def test_nothing_is_faster_than_the_devices_and_the_joining(
    job: object, site: object, devices: int
) -> None:
    found = model.estimate(job, site, devices)
    frames, rate, result = job.frames, job.rate, job.result_bytes  # type: ignore[attr-defined]
    assert found.seconds * (1 + 1e-9) >= frames / rate / devices
    assert found.seconds * (1 + 1e-9) >= 3 * result / site.disk  # type: ignore[attr-defined]
    assert 0 < found.efficiency <= 1 + 1e-9


@given(JOBS, SITES)
def test_devices_beyond_the_segments_are_idle(job: object, site: object) -> None:
    count = -(-job.frames // job.segment)  # type: ignore[attr-defined]
    at, beyond = (model.estimate(job, site, n) for n in (count, 10 * count))
    assert at.seconds == beyond.seconds
    assert beyond.efficiency == pytest.approx(at.efficiency / 10)


def test_a_long_job_on_a_good_site_scales() -> None:
    film = model.jobs(30)[0]
    site = replace(model.Site(), network=1e12, disk=1e12, start=0)
    assert model.estimate(film, site, 10).efficiency > 0.99
    assert model.estimate(film, site, 10).bound_by == "devices"


def test_a_slow_network_is_what_binds() -> None:
    film = model.jobs(30)[0]
    assert model.estimate(film, model.Site(network=1e7), 100).bound_by == "network in"
