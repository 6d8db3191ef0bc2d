"""What the paper states: Gao et al., AAAI 2022 (arXiv 2112.08655), its tables of results.

PSNR in dB and SSIM, on Y of MATLAB's rgb2ycbcr; networks trained on DIV2K, small images by bicubic.
The figures are those of networks run on four overlapping quarters of each image.
"""

from __future__ import annotations

__all__ = ["COST", "DATASETS", "RESULTS"]

DATASETS = ("Set5", "Set14", "B100", "Urban100", "Manga109")

#: (model, scale) -> PSNR and SSIM in the order of :data:`DATASETS`; ``None`` where it has none.
RESULTS: dict[tuple[str, int], tuple[tuple[float, float] | None, ...]] = {
    ("fdiwn", 2): (
        *((38.07, 0.9608), (33.75, 0.9201), (32.23, 0.9003), (32.40, 0.9305), (38.85, 0.9774)),
    ),
    ("fdiwn", 3): (
        *((34.52, 0.9281), (30.42, 0.8438), (29.14, 0.8065), (28.36, 0.8567), (33.77, 0.9456)),
    ),
    ("fdiwn", 4): (
        *((32.23, 0.8955), (28.66, 0.7829), (27.62, 0.7380), (26.28, 0.7919), (30.63, 0.9098)),
    ),
    ("fdiwn-m", 2): (*((38.03, 0.9606), (33.60, 0.9179), (32.17, 0.8995), (32.19, 0.9284), None),),
    ("fdiwn-m", 3): (*((34.46, 0.9274), (30.35, 0.8423), (29.10, 0.8051), (28.16, 0.8528), None),),
    ("fdiwn-m", 4): (*((32.17, 0.8941), (28.55, 0.7806), (27.58, 0.7364), (26.02, 0.7844), None),),
}

#: (model, scale) -> thousands of parameters, and billions of multiply-adds for 1280x720.
COST: dict[tuple[str, int], tuple[int, float]] = {
    ("fdiwn", 2): (629, 112.0),
    ("fdiwn", 3): (645, 51.5),
    ("fdiwn", 4): (664, 28.4),
    ("fdiwn-m", 2): (433, 73.6),
    ("fdiwn-m", 3): (446, 35.9),
    ("fdiwn-m", 4): (454, 19.6),
}
