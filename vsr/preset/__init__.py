"""Presets: named sets of wishes in TOML files, shipped ones and the user's own."""

from vsr.preset.find import PresetFile, find_presets, preset_folders
from vsr.preset.load import load_preset
from vsr.preset.preset import CODEC_ALIASES, DEFAULT_MODEL, Preset, merge, rate_options

__all__ = [
    "CODEC_ALIASES",
    "DEFAULT_MODEL",
    "Preset",
    "PresetFile",
    "find_presets",
    "load_preset",
    "merge",
    "preset_folders",
    "rate_options",
]
