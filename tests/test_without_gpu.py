"""What runs on GPUs only, as far as it can be checked without one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from vsr.types import Color, FrameBatch, pixel_format

ROOT = Path(__file__).resolve().parent.parent


def test_the_current_stream_of_the_planes_device_waits_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waited: list[tuple[str, object]] = []

    def current_stream(device: str) -> Any:
        return SimpleNamespace(wait_event=lambda event: waited.append((device, event)))

    monkeypatch.setattr(torch.cuda, "current_stream", current_stream)
    ready = object()
    plane: Any = SimpleNamespace(is_cuda=True, device="cuda:1")
    batch = FrameBatch(
        (plane,), pixel_format("gray"), 1, 1, Color(), (0,), (1,), Fraction(1, 25), ready=ready
    )
    batch.wait()
    assert waited == [("cuda:1", ready)]


def test_names_imported_for_types_are_not_used_at_run_time() -> None:
    """Type checkers take such a name for bound; where only a GPU gets, no other test would see."""
    found = [
        f"{path.relative_to(ROOT)}:{name.lineno} {name.id}"
        for folder in ("vsr", "pipelines")
        for path in (ROOT / folder).rglob("*.py")
        for name in unbound(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []


def test_such_a_use_is_found() -> None:
    source = """
if TYPE_CHECKING:
    import torch
    from a import B

def wait(b: B) -> torch.Tensor:
    from a import B
    return torch.cuda(B)
"""
    assert [(name.lineno, name.id) for name in unbound(ast.parse(source))] == [(8, "torch")]


def unbound(module: ast.Module) -> Iterator[ast.Name]:
    """Uses of what a module imports for type checkers only and no function around them does."""
    blocks = [n for n in module.body if isinstance(n, ast.If) and "TYPE_CHECK" in ast.dump(n.test)]
    typing_only = {name for block in blocks for node in block.body for name in imported(node)}
    for node in module.body:
        if node not in blocks:
            yield from _unbound(node, typing_only)


def _unbound(node: ast.AST, names: set[str]) -> Iterator[ast.Name]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        names = names - {name for inner in ast.walk(node) for name in imported(inner)}
    if isinstance(node, ast.Name) and node.id in names:
        yield node
    for field, value in ast.iter_fields(node):
        if field not in ("annotation", "returns"):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from _unbound(child, names)


def imported(node: ast.AST) -> set[str]:
    """The names that an import statement binds."""
    if not isinstance(node, ast.Import | ast.ImportFrom):
        return set()
    return {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
