"""The authors' checkpoints: which of their entries is which of ours.

Their ``.pt`` files (github.com/IVIPLab/FDIWN) are flat dictionaries of tensors named after their
modules. The tables below say, module by module, their child's name and ours; together they spell
out every key. Nothing else differs: tensors are reshaped at most, never computed with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from torch import Tensor

__all__ = ["from_authors", "is_authors", "key_table"]

#: Their name -> ours, or -> (ours, the table of what is inside).
Table: TypeAlias = Mapping[str, "str | tuple[str, Table]"]

_KERNEL: Table = {"weight": "weight"}
_CONV: Table = {"weight": "weight", "bias": "bias"}
_WEIGHT_NORM: Table = {"weight_v": "v", "weight_g": "g", "bias": "bias"}
_ATTENTION: Table = {
    "cweight": "mean_weight",
    "cbias": "mean_bias",
    "sweight": "norm_weight",
    "sbias": "norm_bias",
    "gn.weight": "affine_weight",
    "gn.bias": "affine_bias",
}
_WIRW: Table = {
    "body.0": ("wide.expand", _WEIGHT_NORM),
    "body.2": ("wide.reduce", _WEIGHT_NORM),
    "body.3": ("wide.conv", _WEIGHT_NORM),
    "SAlayer": ("wide.attention", _ATTENTION),
    "res_scale.scale": "wide_scale",
    "x_scale.scale": "skip_scale",
}
_WCRW: Table = {**_WIRW, "conv": ("shortcut", _CONV)}
_COEFFICIENT: Table = {
    "upper_branch.1": ("from_mean.squeeze", _CONV),
    "upper_branch.3": ("from_mean.excite", _CONV),
    "lower_branch.0": ("from_deviation.squeeze", _CONV),
    "lower_branch.2": ("from_deviation.excite", _CONV),
}
_WDIB: Table = {
    **{f"srb{i}": (f"wirw{i}", _WIRW) for i in (1, 2, 3, 4)},
    **{f"rb{i}": (f"wcrw{i}", _WCRW) for i in (1, 2)},
    **{f"conv_distilled{i}": (f"distil{i}", _KERNEL) for i in (1, 2)},
    "A1_coffconv": ("coefficient_a1", _COEFFICIENT),
    "B1_coffconv": ("coefficient_b1", _COEFFICIENT),
    "A2_coffconv": ("coefficient_a2", _COEFFICIENT),
    "B2_coffconv": ("coefficient_b2", _COEFFICIENT),
    "scale_x1.scale": "scale_a",
    "scale_x2.scale": "scale_b",
    "fuse1": ("fuse", _WCRW),
    "fuse2": ("calibrate", _KERNEL),
    "SAlayer": ("attention", _ATTENTION),
}
_FSWG: Table = {
    **{f"MY{i}": (f"wdib{i}", _WDIB) for i in (1, 2, 3)},
    "conv": ("skip", _KERNEL),
    "conv1": ("merge1", _KERNEL),
    "conv2": ("merge2", _KERNEL),
    "rb1": ("wirw", _WIRW),
    "scale_x.scale": "body_scale",
    "scale_res.scale": "skip_scale",
}
_NETWORK: Table = {
    "Sub_mean": ("subtract_mean", _CONV),
    "Add_mean": ("add_mean", _CONV),
    "head": ("head", _CONV),
    **{f"Li{i}": (f"groups.{i - 1}", _FSWG) for i in (1, 2, 3)},
    "conv1": ("features_widen", _KERNEL),
    "UP1.0": ("features_up", _CONV),
    "conv2": ("input_widen", _CONV),
    "UP2.0": ("input_up", _CONV),
}


def _spell_out(table: Table) -> Iterator[tuple[str, str]]:
    for theirs, entry in table.items():
        if isinstance(entry, str):
            yield theirs, entry
        else:
            ours, inside = entry
            for their_child, our_child in _spell_out(inside):
                yield f"{theirs}.{their_child}", f"{ours}.{our_child}"


def key_table() -> dict[str, str]:
    """Every key of an authors' FDIWN checkpoint -> the key of :class:`vsr.models.fdiwn.Fdiwn`."""
    return dict(_spell_out(_NETWORK))


def is_authors(state: Mapping[str, Tensor]) -> bool:
    """Whether a checkpoint's keys are the authors' names rather than ours."""
    return any(key.startswith(("Li1.", "Sub_mean.")) for key in state)


def from_authors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename an authors' checkpoint; keys the table does not know are kept as they are.

    Their per-channel tensors are ``(1, c, 1, 1)`` in the attention and ``(o, i, 1, 1)`` in the
    coefficient's convolutions; ours are ``(c,)`` and ``(o, i)``.
    """
    table = key_table()
    renamed = {}
    for key, value in state.items():
        ours = table.get(key, key)
        if ".attention." in ours:
            value = value.flatten()
        elif ".coefficient_" in ours and ours.endswith(".weight"):
            value = value.flatten(1)
        renamed[ours] = value
    return renamed
