"""Backend ``cuda``: FDIWN on NVIDIA GPUs, 16-bit, fused kernels, replayed as a CUDA graph."""
