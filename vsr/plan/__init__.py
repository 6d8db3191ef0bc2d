"""The planner: from what a file is and what somebody wants to every choice of the run."""

from vsr.plan.color import MATRIX_NAMES
from vsr.plan.container import default_destination
from vsr.plan.describe import describe, plan_to_dict
from vsr.plan.make import default_preset, make_plan, select_video
from vsr.plan.request import DeviceFacts, Request, WeightsFacts
from vsr.plan.weights import find_weights

__all__ = [
    "MATRIX_NAMES",
    "DeviceFacts",
    "Request",
    "WeightsFacts",
    "default_destination",
    "default_preset",
    "describe",
    "find_weights",
    "make_plan",
    "plan_to_dict",
    "select_video",
]
