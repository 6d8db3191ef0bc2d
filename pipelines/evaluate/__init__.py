"""How good a network is: clips, files and images against their ground truth.

One function for each kind: :func:`evaluate_clip`, :func:`evaluate_files`, :func:`evaluate_images`,
:func:`evaluate_suite`.
"""

from pipelines.evaluate.clip import evaluate_clip
from pipelines.evaluate.files import evaluate_files
from pipelines.evaluate.images import evaluate_images
from pipelines.evaluate.options import EvalOptions, Outcome
from pipelines.evaluate.save import ResultFiles, result_files, result_paths, suite_json
from pipelines.evaluate.suite import Suite, SuiteCost, SuiteRow, evaluate_suite

__all__ = [
    "EvalOptions",
    "Outcome",
    "ResultFiles",
    "Suite",
    "SuiteCost",
    "SuiteRow",
    "evaluate_clip",
    "evaluate_files",
    "evaluate_images",
    "evaluate_suite",
    "result_files",
    "result_paths",
    "suite_json",
]
