"""Weights of detectron2's Faster R-CNNs with a ResNet-50 or -101: C4, DC5 and FPN.

The names and shapes of each architecture follow by rule from its facts. detectron2 has
the background last and mmdet's order of classes, so nothing but names changes.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from mmfrcnn.errors import UserError
from mmfrcnn.weights.mapping import COUNTER, Row, Weights, check_rows, rename

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}  # of res2 to res5
KINDS = ('C4', 'DC5', 'FPN')
NORM = ('weight', 'bias', 'running_mean', 'running_var')
PIXEL_MEAN = (103.53, 116.28, 123.675)  # blue, green, red
SIZES, RATIOS = (32, 64, 128, 256, 512), (0.5, 1.0, 2.0)  # of the anchors

RPN, ROI = 'proposal_generator.rpn_head.', 'roi_heads.'
HEAD = 'roi_head.bbox_head.'


@functools.lru_cache(maxsize=8)
def architecture(kind: str, depth: int, num_classes: int = 80) -> tuple[Row, ...]:
    """List the tensors of a published architecture, with our batch counters.

    Args:
        kind (str): C4, DC5 or FPN.
        depth (int): 50 or 101.
        num_classes (int): Without the background.
    """
    trunk = 'backbone.bottom_up.' if kind == 'FPN' else 'backbone.'
    rows = list(_conv_norm(f'{trunk}stem.conv1', 'backbone.conv1', 'bn1', 64, 3, 7))
    for stage in (2, 3, 4, 5):
        in_head = kind == 'C4' and stage == 5
        rows += _stage(
            ROI if in_head else trunk,
            'roi_head.shared_head.' if in_head else 'backbone.',
            stage,
            BLOCKS[depth][stage - 2],
        )
    if kind == 'FPN':
        for level in range(4):
            lateral, output = (
                f'backbone.fpn_lateral{level + 2}',
                f'fpn_output{level + 2}',
            )
            target = f'neck.lateral_convs.{level}.conv'
            rows += _affine(lateral, target, 256, 256 * 2**level, 1, 1)
            target = f'neck.fpn_convs.{level}.conv'
            rows += _affine(f'backbone.{output}', target, 256, 256, 3, 3)
    channels = {'C4': 1024, 'DC5': 2048, 'FPN': 256}[kind]
    anchors = len(RATIOS) * (1 if kind == 'FPN' else len(SIZES))
    rows += _affine(f'{RPN}conv', 'rpn_head.rpn_conv', channels, channels, 3, 3)
    rows += _affine(
        f'{RPN}objectness_logits', 'rpn_head.rpn_cls', anchors, channels, 1, 1
    )
    rows += _affine(
        f'{RPN}anchor_deltas', 'rpn_head.rpn_reg', 4 * anchors, channels, 1, 1
    )
    if kind != 'C4':
        fcs = f'{HEAD}shared_fcs'
        rows += _affine(f'{ROI}box_head.fc1', f'{fcs}.0', 1024, 49 * channels)
        rows += _affine(f'{ROI}box_head.fc2', f'{fcs}.1', 1024, 1024)
    features, predictor = 2048 if kind == 'C4' else 1024, f'{ROI}box_predictor'
    rows += _affine(
        f'{predictor}.cls_score', f'{HEAD}fc_cls', num_classes + 1, features
    )
    rows += _affine(
        f'{predictor}.bbox_pred', f'{HEAD}fc_reg', 4 * num_classes, features
    )
    return tuple(rows)


def from_detectron2(tensors: Mapping[str, Tensor], path: str) -> Weights:
    """Convert detectron2's weights to ours.

    Args:
        tensors (Mapping[str, Tensor]): Its model's ``state_dict``; constants that its
            older versions stored, pixel mean and anchors, are checked and left out.
        path (str): Where it is from, for messages.

    Raises:
        UserError: If a tensor is missing, unknown, or of another shape, or a constant
            has another value.
    """
    kind, depth = _recognise(tensors, path)
    tensors = _without_constants(tensors, kind, path)
    scores = tensors.get(f'{ROI}box_predictor.cls_score.bias')
    classes = 80 if scores is None else scores.numel() - 1
    rows = architecture(kind, depth, classes)
    check_rows(tensors, rows, f"detectron2's R{depth}-{kind}", path)
    return Weights(rename(tensors, rows))


def _affine(source: str, target: str, *shape: int) -> Iterator[Row]:
    """A convolution or a linear layer with a bias."""
    yield Row(f'{source}.weight', f'{target}.weight', shape)
    yield Row(f'{source}.bias', f'{target}.bias', shape[:1])


def _conv_norm(
    source: str, conv: str, norm: str, out: int, into: int, size: int
) -> Iterator[Row]:
    """A convolution without a bias, and the batch norm beside it."""
    yield Row(f'{source}.weight', f'{conv}.weight', (out, into, size, size))
    target = f'{conv.rpartition(".")[0]}.{norm}'
    for name in NORM:
        yield Row(f'{source}.norm.{name}', f'{target}.{name}', (out,))
    yield Row(f'{source}.norm.{COUNTER}', f'{target}.{COUNTER}', ())


def _stage(source: str, target: str, stage: int, blocks: int) -> Iterator[Row]:
    """The bottleneck blocks of res2, res3, res4 or res5."""
    width, out = 64 * 2 ** (stage - 2), 256 * 2 ** (stage - 2)
    for block in range(blocks):
        there, here = f'{source}res{stage}.{block}', f'{target}layer{stage - 1}.{block}'
        into = out if block else (64 if stage == 2 else out // 2)
        if block == 0:
            yield from _conv_norm(
                f'{there}.shortcut',
                f'{here}.downsample.0',
                '1',
                out,
                into,
                1,
            )
        yield from _conv_norm(f'{there}.conv1', f'{here}.conv1', 'bn1', width, into, 1)
        yield from _conv_norm(f'{there}.conv2', f'{here}.conv2', 'bn2', width, width, 3)
        yield from _conv_norm(f'{there}.conv3', f'{here}.conv3', 'bn3', out, width, 1)


def _recognise(tensors: Mapping[str, Tensor], path: str) -> tuple[str, int]:
    fourth = [
        int(found[1])
        for key in tensors
        if (found := re.search(r'^backbone\.(?:bottom_up\.)?res4\.(\d+)\.', key))
    ]
    depths = {blocks[2] - 1: depth for depth, blocks in BLOCKS.items()}
    if max(fourth, default=-1) not in depths:
        raise UserError(
            f'{path} holds no Faster R-CNN of detectron2 with a ResNet-50 or -101: its '
            'res4 should have 6 or 23 blocks'
            + (f', it has {max(fourth) + 1}' if fourth else '')
        )
    if any(key.startswith('backbone.bottom_up.') for key in tensors):
        kind = 'FPN'
    elif any(key.startswith('roi_heads.res5.') for key in tensors):
        kind = 'C4'
    else:
        kind = 'DC5'
    return kind, depths[max(fourth)]


def _without_constants(
    tensors: Mapping[str, Tensor], kind: str, path: str
) -> dict[str, Tensor]:
    """Leave out what the config says here, having checked that it says the same."""
    constants = {
        'pixel_mean': torch.tensor(PIXEL_MEAN),
        'pixel_std': torch.ones(3),
    }
    groups = [[size] for size in SIZES] if kind == 'FPN' else [list(SIZES)]
    for level, sizes in enumerate(groups):
        key = f'proposal_generator.anchor_generator.cell_anchors.{level}'
        constants[key] = _cell_anchors(sizes)
    for key, value in constants.items():
        found = tensors.get(key)
        if found is not None and not (
            found.numel() == value.numel()
            and torch.allclose(found.float().view_as(value), value, atol=1e-2)
        ):
            raise UserError(
                f'{path}: {key} is {found.flatten().tolist()}, but the configs of '
                f'configs/detectron2 have {value.flatten().tolist()}. A config of '
                'yours must say it; remove the tensor from the file then'
            )
    return {key: tensor for key, tensor in tensors.items() if key not in constants}


def _cell_anchors(sizes: list[int]) -> Tensor:
    """Anchors about the origin, sizes before ratios: (A, 4)."""
    half = torch.tensor(
        [
            [size / ratio**0.5 / 2, size * ratio**0.5 / 2]
            for size in sizes
            for ratio in RATIOS
        ]
    )
    return torch.cat([-half, half], 1)
