"""How near a picture is to another, as the super-resolution literature measures it."""

from vsr.metrics.psnr import psnr, psnr_y, rgb_to_y
from vsr.metrics.ssim import ssim, ssim_y

__all__ = ["psnr", "psnr_y", "rgb_to_y", "ssim", "ssim_y"]
