"""Functions of tensors alone: no config, no registry, nothing of mmdet.

A box ``(x1, y1, x2, y2)`` covers ``x1 <= x < x2`` and ``y1 <= y < y2``: its width is
``x2 - x1``, without the "+ 1" of the first R-CNN codes.
"""
