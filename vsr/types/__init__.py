"""What flows through the package: plain frozen dataclasses, nothing else."""

from vsr.types.evaluation import Candidate, Evaluation, FrameScore, MetricInfo
from vsr.types.formats import PIXEL_FORMATS, pixel_format
from vsr.types.media import (
    Chapter,
    ChromaSite,
    Color,
    ColorRange,
    FrameBatch,
    HdrMetadata,
    Matrix,
    MediaInfo,
    PixelFormat,
    Primaries,
    SidePacket,
    StreamInfo,
    StreamKind,
    Transfer,
    Trim,
    VideoStreamInfo,
)
from vsr.types.plan import (
    EncodePlan,
    ModelPlan,
    Plan,
    Reason,
    Report,
    StageReport,
    StreamAction,
)
from vsr.types.segment import ReadTally, Segment, SegmentTally
from vsr.types.spec import CodecSpec, ContainerSpec
from vsr.types.weights import WeightsFile, is_set_name

__all__ = [
    "PIXEL_FORMATS",
    "Candidate",
    "Chapter",
    "ChromaSite",
    "CodecSpec",
    "Color",
    "ColorRange",
    "ContainerSpec",
    "EncodePlan",
    "Evaluation",
    "FrameBatch",
    "FrameScore",
    "HdrMetadata",
    "Matrix",
    "MediaInfo",
    "MetricInfo",
    "ModelPlan",
    "PixelFormat",
    "Plan",
    "Primaries",
    "ReadTally",
    "Reason",
    "Report",
    "Segment",
    "SegmentTally",
    "SidePacket",
    "StageReport",
    "StreamAction",
    "StreamInfo",
    "StreamKind",
    "Transfer",
    "Trim",
    "VideoStreamInfo",
    "WeightsFile",
    "is_set_name",
    "pixel_format",
]
