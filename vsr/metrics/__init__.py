"""How near a picture is to another, as the super-resolution literature measures it."""

from vsr.metrics.flicker import Flicker, flicker
from vsr.metrics.measures import (
    METRICS,
    NEEDS,
    Measures,
    Signals,
    choose_metrics,
    pooled_psnr,
)
from vsr.metrics.ms_ssim import ms_ssim
from vsr.metrics.psnr import psnr, psnr_y, rgb_to_y
from vsr.metrics.ssim import ssim, ssim_y

__all__ = [
    "METRICS",
    "NEEDS",
    "Flicker",
    "Measures",
    "Signals",
    "choose_metrics",
    "flicker",
    "ms_ssim",
    "pooled_psnr",
    "psnr",
    "psnr_y",
    "rgb_to_y",
    "ssim",
    "ssim_y",
]
