"""What ``mmcv.ops`` reports about its compilation."""

from __future__ import annotations


def get_compiler_version() -> str:
    """Return what stands in for the version of mmcv's compiler in environment logs."""
    return 'not compiled (ops served by torchvision through mmfrcnn)'


def get_compiling_cuda_version() -> str:
    """Return what stands in for mmcv's CUDA version in environment logs."""
    return 'not available'
