"""``tools/convert_weights.py``: weights of other frameworks as ours, and back."""

from __future__ import annotations

import argparse
import os

from mmdet.registry import MODELS
from mmengine.registry import init_default_scope

from mmfrcnn.cli.config import load_config
from mmfrcnn.errors import UserError
from mmfrcnn.weights.detectron2 import from_detectron2
from mmfrcnn.weights.files import (
    check_output,
    read_tensors,
    read_weights,
    write_state_dict,
    write_weights,
)
from mmfrcnn.weights.fitting import check_weights
from mmfrcnn.weights.mapping import Weights
from mmfrcnn.weights.torchvision import from_torchvision, to_torchvision


def run(args: argparse.Namespace) -> None:
    """Convert as the command line says."""
    source, target = args.input, args.output
    check_output(target)
    if os.path.realpath(source) == os.path.realpath(target):
        raise UserError(f'{target} is the input; name another file for the output')
    if args.destination:
        tensors = to_torchvision(read_weights(source), source)
        write_state_dict(target, tensors)
        print(f'{len(tensors)} tensors: {target}')
        return
    if args.source == 'mmdet':
        weights = read_weights(source)
        weights.extras.clear()
    else:
        convert = {'torchvision': from_torchvision, 'detectron2': from_detectron2}
        weights = convert[args.source](read_tensors(source), source)
    if args.config:
        _check_against(args.config, weights, source)
    write_weights(target, weights)
    print(f'{len(weights.tensors)} tensors: {target}')
    if not args.config:
        print('Not compared with a model: name yours with --config to have it checked.')


def _check_against(config_path: str, weights: Weights, source: str) -> None:
    config = load_config(config_path)
    init_default_scope(config.get('default_scope', 'mmdet'))
    check_weights(MODELS.build(config.model), weights.tensors, source)
