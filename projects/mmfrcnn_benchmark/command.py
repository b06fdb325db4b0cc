"""``tools/benchmark.py``: our detector beside its peers."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from mmfrcnn.cli.checking.registered import check_registered
from mmfrcnn.cli.config import load_config
from mmfrcnn.cli.outputs import check_file
from mmfrcnn.cli.runtime import choose_device, explained
from mmfrcnn.data.class_names import resolve_classes
from mmfrcnn.errors import UserError
from mmfrcnn_benchmark.compare import compare_stages, compare_steps
from mmfrcnn_benchmark.contenders import choose_contenders
from mmfrcnn_benchmark.counts import compare_counts
from mmfrcnn_benchmark.kernels import compile_kernels
from mmfrcnn_benchmark.loader import measure_loader
from mmfrcnn_benchmark.pooling import compare_pooling
from mmfrcnn_benchmark.roofline import compute_roofline
from mmfrcnn_benchmark.scale import draw, measure_scale
from mmfrcnn_benchmark.tables import render
from mmfrcnn_benchmark.workload import Workload


def run(args: argparse.Namespace) -> None:
    """Measure what the command line says and print the tables."""
    if args.threads:
        torch.set_num_threads(args.threads)
    device = choose_device(args.device)
    if args.json:
        check_file('--json', Path(args.json), _is_ours)
        _write_json(args.json, [])
    kinds, missing = choose_contenders(args.peers)
    for name, reason in missing:
        print(f'{name} is left out: {reason}')
    jobs: list[Callable[[], dict[str, Any]]] = [
        *(partial(_measure, n, args, device, kinds) for n in MEASURES if vars(args)[n]),
        *(partial(_load, path, args.cfg_options) for path in args.loader),
        *(partial(_scale, axis, args) for axis in args.scale),
    ]
    if args.kernels:
        jobs.append(partial(compile_kernels, _say))
    if args.roofline:
        jobs.append(partial(compute_roofline, _say))
    results: list[dict[str, Any]] = []
    for job in jobs:
        results.append(job())
        print(f'\n{render(results[-1])}\n', flush=True)
        if args.json:
            _write_json(args.json, results)
    if args.plot:
        draw([one for one in results if one['benchmark'] == 'scale'], args.plot)
        print(f'The plot is {args.plot}.')
    for fact, text in results[-1]['machine'].items():
        print(f'{fact}: {text}')


def _measure(
    name: str, args: argparse.Namespace, device: str, kinds: list
) -> dict[str, Any]:
    images, objects = DEFAULTS[name]
    height, width = args.size or (SMALL if name == 'counts' else SIZE)
    work = Workload(
        images=args.batch_size or images,
        height=height,
        width=width,
        objects=objects if args.objects is None else args.objects,
        classes=args.classes,
        device=device,
        precision=args.precision,
    )
    return MEASURES[name](
        kinds, work, rounds=args.rounds, warmup=args.warmup, progress=_say
    )


def _load(path: str, options: list[str]) -> dict[str, Any]:
    config = load_config(path, options)
    check_registered(config)
    resolve_classes(config, _say)
    if config.get('train_dataloader') is None:
        raise UserError(f'--loader {path}: it has no train_dataloader')
    with explained(config):
        return measure_loader(config, _say)


def _scale(axis: str, args: argparse.Namespace) -> dict[str, Any]:
    options = ['--rounds', str(args.rounds), '--precision', args.precision]
    fixed = {
        'gts': ('--objects', args.objects),
        'batch': ('--batch-size', args.batch_size),
        'classes': ('--classes', args.classes),
    }
    for other, (option, value) in fixed.items():
        if other != axis and value is not None:
            options += [option, str(value)]
    if axis != 'size':
        options += ['--size', *map(str, args.size or SIZE)]
    for option, value in (('--device', args.device), ('--threads', args.threads)):
        if value:
            options += [option, str(value)]
    return measure_scale(axis, options, _say)


def _steps(training: bool) -> Callable:
    return lambda kinds, work, **more: compare_steps(kinds, work, training, **more)


def _stages(own_work: bool) -> Callable:
    return lambda kinds, work, **more: compare_stages(
        kinds, work, True, own_work=own_work, **more
    )


MEASURES = {
    'infer': _steps(False),
    'train': _steps(True),
    'stages': _stages(False),
    'heads': _stages(True),
    'pooling': lambda kinds, work, **more: compare_pooling(work, **more),
    'counts': compare_counts,
}
SIZE, SMALL = (800, 1088), (96, 128)
# Images a batch and objects an image, where the command line does not say.
DEFAULTS = {
    'infer': (1, 8),
    'train': (2, 8),
    'stages': (1, 8),
    'heads': (4, 30),
    'pooling': (1, 0),
    'counts': (2, 8),
}


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _is_ours(beginning: bytes) -> bool:
    return beginning.split() == [b'[]'] or b'"benchmark": ' in beginning


def _write_json(path: str, results: list[dict[str, Any]]) -> None:
    try:
        Path(path).write_text(json.dumps(results, indent=1) + '\n')
    except OSError as error:
        raise UserError(f'--json {path}: {error.strerror}') from error
