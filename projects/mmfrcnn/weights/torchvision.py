"""Weights of torchvision's four Faster R-CNNs, in both directions.

torchvision has the background first, here it is last. Its COCO weights have a row for
each of COCO's 90 category numbers; those of the ten numbers without a category become
the unused rows of `LinearWithUnusedClasses`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping

import torch
import torchvision
from torch import Tensor

from mmfrcnn.errors import UserError
from mmfrcnn.weights.mapping import (
    COUNTER,
    Row,
    Weights,
    check_rows,
    rename,
    rename_back,
)

# `fasterrcnn_mobilenet_v3_large_320_fpn` has the same tensors as its larger sibling.
NAMES = {
    'roi_heads.box_head.0.0.weight': 'fasterrcnn_resnet50_fpn_v2',
    'backbone.body.layer4.2.conv3.weight': 'fasterrcnn_resnet50_fpn',
    'backbone.body.16.0.weight': 'fasterrcnn_mobilenet_v3_large_fpn',
}
OUR_NAMES = {
    'roi_head.bbox_head.shared_convs.0.conv.weight': 'fasterrcnn_resnet50_fpn_v2',
    'backbone.layer4.2.conv3.weight': 'fasterrcnn_resnet50_fpn',
    'backbone.features.16.0.weight': 'fasterrcnn_mobilenet_v3_large_fpn',
}
HEAD = 'roi_head.bbox_head.'
RENAMED = (
    (r'backbone\.body\.(\d)', r'backbone.features.\1'),
    (r'backbone\.body\.', 'backbone.'),
    (r'backbone\.fpn\.inner_blocks\.(\d)\.0', r'neck.lateral_convs.\1.conv'),
    (r'backbone\.fpn\.inner_blocks\.(\d)\.1', r'neck.lateral_convs.\1.bn'),
    (r'backbone\.fpn\.layer_blocks\.(\d)\.0', r'neck.fpn_convs.\1.conv'),
    (r'backbone\.fpn\.layer_blocks\.(\d)\.1', r'neck.fpn_convs.\1.bn'),
    (r'rpn\.head\.conv\.(\d)\.0', r'rpn_head.rpn_conv.\1.conv'),
    (r'rpn\.head\.cls_logits', 'rpn_head.rpn_cls'),
    (r'rpn\.head\.bbox_pred', 'rpn_head.rpn_reg'),
    (r'roi_heads\.box_head\.fc6', HEAD + 'shared_fcs.0'),
    (r'roi_heads\.box_head\.fc7', HEAD + 'shared_fcs.1'),
    (r'roi_heads\.box_head\.(\d)\.0', HEAD + r'shared_convs.\1.conv'),
    (r'roi_heads\.box_head\.(\d)\.1', HEAD + r'shared_convs.\1.bn'),
    (r'roi_heads\.box_head\.5', HEAD + 'shared_fcs.0'),
    (r'roi_heads\.box_predictor\.cls_score', HEAD + 'fc_cls'),
    (r'roi_heads\.box_predictor\.bbox_pred', HEAD + 'fc_reg'),
)
SCORES = (HEAD + 'fc_cls.weight', HEAD + 'fc_cls.bias')
BOXES = (HEAD + 'fc_reg.weight', HEAD + 'fc_reg.bias')

COCO_ROWS = 91
COCO_UNUSED = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)


@functools.lru_cache(maxsize=4)
def architecture(name: str, num_rows: int) -> tuple[Row, ...]:
    """List the tensors of a torchvision detector.

    Args:
        name (str): As in ``torchvision.models.list_models()``.
        num_rows (int): Classes, the background counted.
    """
    with torch.device('meta'):  # names and shapes without memory
        model = torchvision.models.get_model(
            name, weights=None, weights_backbone=None, num_classes=num_rows
        )
    return tuple(
        Row(key, _our_name(key, name), tuple(tensor.shape))
        for key, tensor in model.state_dict().items()
    )


def from_torchvision(tensors: Mapping[str, Tensor], path: str) -> Weights:
    """Convert torchvision's weights to ours.

    Args:
        tensors (Mapping[str, Tensor]): Its ``state_dict``.
        path (str): Where it is from, for messages.

    Raises:
        UserError: If a tensor is missing, unknown, or of another shape.
    """
    tensors = {_todays_name(key): tensor for key, tensor in tensors.items()}
    name = _recognise(tensors, NAMES, path, "none of torchvision's Faster R-CNNs")
    scores = tensors.get('roi_heads.box_predictor.cls_score.bias')
    rows = architecture(name, COCO_ROWS if scores is None else scores.numel())
    check_rows(tensors, rows, name, path)
    ours = rename(tensors, rows)
    used, unused = _used_rows(scores.numel())
    extras = {'has_counters': torch.tensor(any(COUNTER in key for key in tensors))}
    for key in SCORES:
        ours[key] = ours[key][[*used, *unused, 0]]
    for key in BOXES:
        boxes = ours[key].unflatten(0, (-1, 4))  # (C + 1, 4, ...)
        ours[key] = boxes[used].flatten(0, 1)
        extras[key] = boxes[[*unused, 0]].flatten(0, 1)
    return Weights(ours, extras)


def to_torchvision(weights: Weights, path: str) -> dict[str, Tensor]:
    """Convert our weights to torchvision's ``state_dict``.

    Rows that torchvision has and we have not, those of the boxes of the background and
    of unused classes, which nothing reads, are given back if they are in the extras,
    else they are zero.

    Args:
        weights (Weights): Of a model of ``configs/torchvision``.
        path (str): Where they are from, for messages.

    Raises:
        UserError: If a tensor is missing, unknown, or of another shape.
    """
    ours = dict(weights.tensors)
    name = _recognise(ours, OUR_NAMES, path, 'no model of configs/torchvision')
    absent = [key for key in (*SCORES, *BOXES) if key not in ours]
    if absent:
        raise UserError(f'{path} has no {", ".join(absent)}')
    count = len(ours[SCORES[1]])
    used, unused = _used_rows(count)
    if len(ours[BOXES[1]]) != 4 * len(used):
        raise UserError(
            f'{path}: {BOXES[1]} has {len(ours[BOXES[1]])} rows, but {count} scores '
            f'ask for {4 * len(used)}'
        )
    order = [*used, *unused, 0]
    for key in SCORES:
        ours[key] = _put_rows(ours[key], order)
    for key in BOXES:
        size = (4 * (count - len(used)), *ours[key].shape[1:])
        rest = weights.extras.get(key, ours[key].new_zeros(size))
        boxes = torch.cat([ours[key], rest]).unflatten(0, (-1, 4))
        ours[key] = _put_rows(boxes, order).flatten(0, 1)
    rows = architecture(name, count)
    mirrored = [Row(row.target, row.source, row.shape) for row in rows]
    check_rows(ours, mirrored, f'our {name}', path)
    if not weights.extras.get('has_counters', torch.tensor(True)):
        rows = tuple(row for row in rows if COUNTER not in row.source)
    return rename_back(ours, rows)


def _our_name(key: str, architecture_name: str) -> str:
    if not architecture_name.endswith('_v2'):  # a single convolution has no list
        key = key.replace('rpn.head.conv.0.0.', 'rpn_head.rpn_conv.')
    for pattern, replacement in RENAMED:
        key, count = re.subn(f'^{pattern}', replacement, key)
        if count:
            break
    return key


def _todays_name(key: str) -> str:
    """Return the name that torchvision gives today to one of its older files."""
    key = re.sub(
        r'(inner|layer)_blocks\.(\d)\.(weight|bias)$', r'\1_blocks.\2.0.\3', key
    )
    return re.sub(r'^rpn\.head\.conv\.(weight|bias)$', r'rpn.head.conv.0.0.\1', key)


def _recognise(
    tensors: Mapping[str, Tensor], names: Mapping[str, str], path: str, otherwise: str
) -> str:
    for key, name in names.items():
        if key in tensors:
            return name
    raise UserError(
        f'{path} holds the weights of {otherwise}: it has none of {", ".join(names)}'
    )


def _used_rows(count: int) -> tuple[list[int], list[int]]:
    """Return the rows of classes, in our order, and those that name nothing."""
    unused = list(COCO_UNUSED) if count == COCO_ROWS else []
    return [row for row in range(1, count) if row not in unused], unused


def _put_rows(tensor: Tensor, order: list[int]) -> Tensor:
    """Put row i of a tensor at ``order[i]``."""
    result = torch.empty_like(tensor)
    result[order] = tensor
    return result
