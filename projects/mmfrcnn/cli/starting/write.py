"""The choices for a data set, as the text of a config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

RATE, RATE_OF = 0.005, {'r50': 0.0025}
"""Learning rate for each image of an iteration, and of networks that want another."""
HIGHEST_RATE = 0.02
"""However many images an iteration has."""
LONGEST_WARM_UP = 500
"""Iterations in which the rate rises at most, however long the run is."""


@dataclass(frozen=True)
class Chosen:
    """What a config says, and why.

    Attributes:
        command: That wrote it.
        summary: What was found, in one line.
        root: The folder of the data.
        splits: The configs of the data sets by split, without ``data_root``.
        classes: Class names, by label.
        network: The base config in ``_base_/own``.
        scale: Longer and shorter side of the network's input.
        anchors: The anchors' scale (times the stride) and ratios (height over width).
        batch_size: Images an iteration.
        epochs: Of the run.
        iterations: Of an epoch.
        flips: Whether mirrored images are shown.
        balance: ``oversample_thr``, or None.
        why: The reasons: of ``splits``, ``network``, ``scale``, ``anchors``,
            ``batch_size``, ``epochs``, ``flips`` and ``balance``.
    """

    command: str
    summary: str
    root: str
    splits: dict[str, dict[str, Any]]
    classes: Sequence[str]
    network: str
    scale: tuple[int, int]
    anchors: tuple[int, Sequence[float]]
    batch_size: int
    epochs: int
    iterations: int
    flips: bool
    balance: float | None
    why: dict[str, str]


def config_text(chosen: Chosen) -> str:
    """Return the config: Python that mmengine reads, with the reason of each choice."""
    # A line break in a name would end the comment, and begin code.
    why = {key: _printable(text) for key, text in chosen.why.items()}
    pause = max(chosen.epochs // 10, 1)  # epochs between evaluations
    flip = ["dict(type='RandomFlip', prob=0.5)"] * chosen.flips
    steps = ', '.join(
        ['*_base_.train_pipeline[:2]', 'resize', *flip, "dict(type='PackDetInputs')"]
    )
    splits = [name for name in ('train', 'val', 'test') if name in chosen.splits]
    lines = [
        f'# Written by: {_printable(chosen.command)}: {_printable(chosen.summary)}.',
        f'# Network: {why["network"]}.',
        f"_base_ = 'mmfrcnn::_base_/own/{chosen.network}.py'",
        f'classes = {_classes(chosen.classes)}',
        f'common = dict(data_root={chosen.root!r}, metainfo=dict(classes=classes))',
        f'# Splits: {why["splits"]}.',
        *(f'{name} = {_call(chosen.splits[name])}' for name in splits),
        f'scale = {chosen.scale}  # {why["scale"]}',
        f'batch_size = {chosen.batch_size}  # {why["batch_size"]}',
        f'max_epochs = {chosen.epochs}  # {why["epochs"]}',
        f'# {why["anchors"]}.',
        f'anchors = dict(scales=[{chosen.anchors[0]}], '
        f'ratios={list(chosen.anchors[1])})',
        "resize = dict(type='Resize', scale=scale, keep_ratio=True)",
        f'# {"Mirrored too" if chosen.flips else "Never mirrored"}: {why["flips"]}.',
        f'train_pipeline = [{steps}]',
        'test_pipeline = [_base_.test_pipeline[0], resize, *_base_.test_pipeline[2:]]',
        'model = dict(rpn_head=dict(anchor_generator=anchors), '
        'roi_head=dict(bbox_head=dict(num_classes=len(classes))))',
        *_train_loader(chosen.balance, why['balance']),
        'val_dataloader = dict(dataset=dict(**val, **common, pipeline=test_pipeline))',
        'test_dataloader = dict(dataset=dict(**test, **common, pipeline=test_pipeline))'
        if 'test' in splits
        else 'test_dataloader = val_dataloader',
        f'train_cfg = dict(max_epochs=max_epochs, val_interval={pause})',
        f'default_hooks = dict(checkpoint=dict(interval={pause}))',
        f'optim_wrapper = dict(optimizer=dict(lr=min({HIGHEST_RATE}, batch_size * '
        f'{RATE_OF.get(chosen.network, RATE)})))  # rises for a tenth of the run, then '
        'falls',
        'param_scheduler = [',
        "    dict(type='LinearLR', start_factor=0.01, by_epoch=False, "
        f'end=max(1, min({LONGEST_WARM_UP}, max_epochs * {chosen.iterations} // 10))),',
        "    dict(type='CosineAnnealingLR', T_max=max_epochs, eta_min_ratio=0.01, "
        'convert_to_iter_based=True),',
        ']',
    ]
    return '\n'.join(lines) + '\n'


def _train_loader(balance: float | None, why: str) -> list[str]:
    data = '**train, **common, pipeline=train_pipeline'
    if balance is None:
        return [f'train_dataloader = dict(batch_size=batch_size, dataset=dict({data}))']
    data += ', filter_cfg=dict(filter_empty_gt=False)'
    return [
        f'# Images of rare classes are shown more often: {why}.',
        'train_dataloader = dict(batch_size=batch_size, dataset=dict(_delete_=True, '
        f"type='ClassBalancedDataset', oversample_thr={balance}, "
        f'dataset=dict({data})))',
    ]


def _printable(text: str) -> str:
    return ''.join(c if c.isprintable() else '?' for c in text)


def _classes(names: Sequence[str]) -> str:
    return f'({", ".join(map(repr, names))}{"," * (len(names) == 1)})'


def _call(values: dict[str, Any]) -> str:
    """Write a dict as configs do."""
    inside = ', '.join(
        f'{key}={_call(value) if isinstance(value, dict) else repr(value)}'
        for key, value in values.items()
    )
    return f'dict({inside})'
