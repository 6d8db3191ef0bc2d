"""Triton kernels of FDIWN's stages, each with the function that launches it.

Maps are ``(N, H, W, C)``, contiguous, in the trunk's storage type. Inside a kernel a tile of them
is ``(pixels, 32)``: 24 channels and eight that are masked, because Triton's shapes are powers of
two. Arithmetic is float32; what enters a matrix product is rounded to the storage type.

Sizes are not specialised: one compilation serves all, and alignment is known from the 24 channels.

Nothing depends on how many frames share a batch or in which order programs run: a frame's pixels
go to programs by its size alone, and what these leave is added in one order.
"""
