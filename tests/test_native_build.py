"""What the build says of the C++ libraries, and what the processor is asked."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vsr import native_build, processor
from vsr.native_build import RECORD, problem, write_record


def test_a_record_that_cannot_be_read_is_a_reason(tmp_path: Path) -> None:
    record = tmp_path / RECORD
    for content in ("", "{", "{}", "[]", '{"why": ""}'):
        record.write_text(content)
        assert "install the package again" in problem(record)
    write_record(record, tmp_path, "no compiler was found")
    assert problem(record) == "it was not built: no compiler was found"
    assert [path.name for path in tmp_path.iterdir()] == [RECORD]


def test_only_a_checkouts_own_sources_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources, record = tmp_path / "native", tmp_path / RECORD
    sources.mkdir()
    (sources / "engine.cpp").write_text("int one;")
    write_record(record, sources, "")
    (sources / "engine.cpp").write_text("int other;")
    monkeypatch.setattr(native_build, "_SOURCES", sources)
    assert problem(record) == ""  # another package that is called like it
    (sources / "CMakeLists.txt").write_text("project(vsr)")
    assert "other sources" in problem(record)


def test_a_torch_without_these_functions_has_no_such_instructions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: True, raising=False)
    assert processor.bfloat16_instructions() == ("AMX", "AVX512-BF16")
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported")
    assert processor.bfloat16_instructions() == ("AVX512-BF16",)
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported")
    assert processor.bfloat16_instructions() == ()
