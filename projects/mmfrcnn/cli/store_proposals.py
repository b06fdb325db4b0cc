"""``tools/store_proposals.py``: what a trained RPN proposes, in a file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.runner.checkpoint import _load_checkpoint

from mmfrcnn.cli.runtime import explained, prepare, print_once
from mmfrcnn.data.proposals import read_arrays, save_proposals
from mmfrcnn.errors import UserError
from mmfrcnn.training.alternating.propose import propose, unaugmented
from mmfrcnn.weights.checkpoints import check_checkpoint
from mmfrcnn.weights.fitting import check_weights


def run(args: argparse.Namespace) -> None:
    """Store proposals as the command line says."""
    if not args.out.endswith('.npz'):
        raise UserError(f'{args.out}: proposals are written as .npz; name such a file')
    _check_out(args.out)
    config = prepare(args)
    check_checkpoint(args.checkpoint)
    init_default_scope(config.get('default_scope', 'mmdet'))
    with explained(config):
        loader = Runner.build_dataloader(_dataloader(config, args.split))
    model = _model(config, args.checkpoint).to(get_device())
    rules = _rules(model, args.split)
    with explained(config, [args.split]):
        images = propose(model, loader, rules, print_once)
    save_proposals(args.out, images)
    total = sum(len(image.boxes) for image in images)
    print_once(
        f'{total} proposals of {len(images)} images of the {args.split} set '
        f'({total / max(1, len(images)):.0f} an image) are in {args.out}'
    )


def _check_out(out: str) -> None:
    """Refuse to write over a file that holds no proposals."""
    if Path(out).exists():
        try:
            read_arrays(out)
        except UserError as error:
            raise UserError(
                f'--out {out} is there and holds no proposals: name another file'
            ) from error


def _dataloader(config: Config, split: str) -> dict:
    """Return the config of a dataloader without augmentation, whole and in order."""
    test = config.get('test_dataloader') or config.get('val_dataloader')
    chosen = config.get(f'{split}_dataloader')
    if chosen is None or test is None:
        raise UserError(
            f'--split {split}: the config has no {split}_dataloader, or no '
            'test_dataloader to say how images are prepared'
        )
    return unaugmented(chosen, test) if split == 'train' else chosen


def _model(config: Config, checkpoint: str) -> Any:
    loaded = _load_checkpoint(checkpoint, map_location='cpu')
    weights = loaded.get('state_dict', loaded)
    model = MODELS.build(config.model)
    if not (hasattr(model, 'rpn_head') or type(model).__name__ == 'RPN'):
        raise UserError(
            f'{type(model).__name__} has no rpn_head, so it proposes nothing'
        )
    check_weights(model, weights, checkpoint)
    model.load_state_dict(weights)
    return model


def _rules(model: Any, split: str) -> dict:
    """Return how many proposals, and which: those Fast R-CNN gets in joint training."""
    if split == 'train' and model.train_cfg and 'rpn_proposal' in model.train_cfg:
        return model.train_cfg['rpn_proposal']
    return model.test_cfg['rpn']
