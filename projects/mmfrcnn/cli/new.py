"""``tools/new.py``: look at a folder of annotated images, write a config for it."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import DATASETS
from mmengine.registry import init_default_scope

from mmfrcnn.cli.starting import boxes, choices
from mmfrcnn.cli.starting.splits import settle_splits
from mmfrcnn.cli.starting.write import Chosen, config_text
from mmfrcnn.data.checks.preflight import check_dataset
from mmfrcnn.data.discovery.alike import alike, thumbnails
from mmfrcnn.data.discovery.listing import WHOLE
from mmfrcnn.data.discovery.recognise import Found, recognise
from mmfrcnn.data.formats.pictures import Picture
from mmfrcnn.errors import UserError, first_of


def run(args: argparse.Namespace) -> None:
    """Look at a folder and write a config for it, as the command line says."""
    root = Path(os.path.normpath(args.data))
    out = Path(args.out or f'{_name(root)}.py')
    if out.exists():
        raise UserError(f'{out} is there already. Name another file: --out FILE')
    if not out.parent.is_dir():
        raise UserError(f'--out {out}: there is no folder {out.parent}')
    init_default_scope('mmdet')
    found = recognise(root, args.format)
    pictures = [one for split in found.pictures.values() for one in split]
    objects = sum(len(picture.objects) for picture in pictures)
    summary = (
        f'{found.title}: {len(pictures)} images, {objects} objects of '
        f'{len(found.classes)} classes'
    )
    print(summary)
    if found.unused:
        print(
            f'Not annotated, and in no split: {len(found.unused)} images: '
            f'{first_of(found.unused)}'
        )
    _look_at(found)
    groups = alike(thumbnails([_file(picture) for picture in pictures]))
    why_split = settle_splits(found, groups.tolist(), args.seed)
    chosen = _choose(found, args, summary, why_split)
    out.write_text(config_text(chosen), encoding='utf-8')
    _report(chosen, out)


def _name(root: Path) -> str:
    name = root.resolve().name
    name = ''.join(c if c.isalnum() or c in '-_' else '_' for c in name) or 'data'
    # A csv.py in the current folder would be imported in place of Python's own.
    return f'{name}_data' if name in sys.stdlib_module_names else name


def _file(picture: Picture) -> Path:
    assert picture.image is not None
    return picture.image


def _look_at(found: Found) -> None:
    """Report on each split, and refuse what cannot be trained on."""
    more: dict[str, Any] = {
        'data_root': str(found.root),
        'metainfo': {'classes': tuple(found.classes)},
        'pipeline': [],
        'test_mode': True,
    }
    for split, config in found.splits.items():
        dataset = DATASETS.build({**config, **more})
        name = 'train' if split == WHOLE else split
        print(check_dataset(dataset, name, f'{found.root}, {name}'))


# -- Choices


def _choose(
    found: Found, args: argparse.Namespace, summary: str, why_split: str
) -> Chosen:
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    training = found.pictures['train']
    sizes = boxes.sizes_of(training, found.classes)
    network = choices.choose_network(device)
    scale, why_scale = boxes.choose_scale(sizes, device)
    anchor_scale, ratios, why_anchors = boxes.choose_anchors(sizes, scale)
    batch_size, why_batch = choices.choose_batch_size(device, len(training))
    epochs, iterations, why_epochs = choices.choose_length(len(training), batch_size)
    flips, why_flips = choices.may_flip(found.classes, args.flip)
    balance, why_balance = choices.choose_balance(training, found.classes)
    return Chosen(
        command=shlex.join(_command(args)),
        summary=summary,
        root=args.data,
        splits=found.splits,
        classes=found.classes,
        network=network.name,
        scale=scale,
        anchors=(anchor_scale, ratios),
        batch_size=batch_size,
        epochs=epochs,
        iterations=iterations,
        flips=flips,
        balance=balance,
        why=dict(
            splits=why_split,
            network=network.why,
            scale=why_scale,
            anchors=why_anchors,
            batch_size=why_batch,
            epochs=why_epochs,
            flips=why_flips,
            balance=why_balance,
        ),
    )


def _command(args: argparse.Namespace) -> list[str]:
    command = ['mmfrcnn', 'new', args.data]
    for name in ('format', 'flip', 'out'):
        value = getattr(args, name)
        command += [f'--{name}', value] if value else []
    return command + (['--seed', str(args.seed)] if args.seed else [])


def _report(chosen: Chosen, out: Path) -> None:
    """Print what was chosen, and the commands that follow."""
    anchor_scale, ratios = chosen.anchors
    flips = 'yes' if chosen.flips else 'no'
    for name, value in (
        ('network', chosen.network),
        ('splits', ''),
        ('scale', '{}x{}'.format(*chosen.scale)),
        ('anchors', f'{anchor_scale} x the stride, ratios {list(ratios)}'),
        ('batch_size', str(chosen.batch_size)),
        ('epochs', str(chosen.epochs)),
        ('flips', flips),
        ('balance', f'{chosen.balance or "no"}'),
    ):
        if chosen.why[name]:
            joined = ': '.join(filter(None, [value, chosen.why[name]]))
            print(f'{name:10} {joined}')
    print(f'Written: {out}. Next: mmfrcnn train {out}')
