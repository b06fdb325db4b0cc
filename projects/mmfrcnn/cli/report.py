"""``tools/report.py``: explain a run on one page."""

from __future__ import annotations

import argparse
import os
import platform
import shlex
from pathlib import Path
from typing import Any

import mmdet
import mmengine
import numpy as np
import torch
import torchvision
from mmengine.config import Config
from mmengine.device import get_device

import mmfrcnn
from mmfrcnn.cli.checking.needs import check_needs
from mmfrcnn.cli.precision import choose_precision
from mmfrcnn.cli.reporting.gather import gather, use_held_out
from mmfrcnn.cli.reporting.outputs import (
    COLUMNS,
    DETAILS,
    LABELS,
    PAGE,
    RECORD,
    check_outputs,
    write_report,
)
from mmfrcnn.cli.run_folder import name_files
from mmfrcnn.cli.runtime import console, explained, prepare
from mmfrcnn.cli.test import build_tester
from mmfrcnn.deploy.prepare import FastInferenceHook
from mmfrcnn.errors import UserError
from mmfrcnn.evaluation.figures import compare, figures_of
from mmfrcnn.evaluation.label_errors import LabelError, label_errors
from mmfrcnn.evaluation.ledger.columns import Columns
from mmfrcnn.report.advice import Advice, advice_for
from mmfrcnn.report.facts import Facts
from mmfrcnn.report.page import LIKELY
from mmfrcnn.report.report import Origin, Report
from mmfrcnn.report.words import in_words
from mmfrcnn.training.pictures import history
from mmfrcnn.weights.checkpoints import check_checkpoint


def run(args: argparse.Namespace) -> None:
    """Report as the command line says."""
    if args.images < 1:
        raise UserError(f'--images must be at least 1, not {args.images}')
    other = _columns_of(args.against) if args.against else None
    config, folder, run_folder = _prepare(args)
    check_outputs(folder)
    facts = _facts(args, config)
    columns = facts.held_out.columns
    figures = figures_of(columns)
    comparison = None if other is None else compare(other, columns)
    advice, errors = advice_for(facts), label_errors(columns)
    sentences = _sentences(args, facts, errors, comparison)
    origin = _origin(args, config, run_folder, sentences)
    report = Report(facts, figures, advice, errors, origin, comparison)
    write_report(folder, report)
    _print(advice, comparison, folder)


def _prepare(args: argparse.Namespace) -> tuple[Config, Path, Path]:
    """Load the config; say which folders the report and the run have.

    The log of the evaluation goes into a folder in the report's.
    """
    run_folder = Path(args.config) if Path(args.config).is_dir() else None
    folder = args.work_dir or run_folder
    if folder is not None:
        args.work_dir = str(Path(folder) / DETAILS)
    name_files(args)
    config = prepare(args)
    if folder is None:
        config.work_dir = str(Path(config.work_dir) / DETAILS)
    folder = Path(config.work_dir).parent
    return config, folder, run_folder or folder


def _facts(args: argparse.Namespace, config: Config) -> Facts:
    split = use_held_out(config, args.config)
    check_needs(config, 'test_dataloader')
    check_checkpoint(args.checkpoint)
    config.load_from, config.resume = args.checkpoint, False
    precision = choose_precision(None, get_device())
    with explained(config, [split]), console(args.verbose) as progress:
        inference = FastInferenceHook(False, precision, False)
        runner = build_tester(config, args.verbose, progress, inference)
        return gather(runner, config, args.config, args.images)


def _columns_of(folder: str) -> Columns:
    path = Path(folder) / DETAILS / COLUMNS
    if not path.is_file():
        raise UserError(
            f'--against {folder}: there is no {path}. Make it: mmfrcnn report {folder}'
        )
    return Columns.read(path)


def _origin(
    args: argparse.Namespace,
    config: Config,
    run_folder: Path,
    sentences: list[str],
) -> Origin:
    """Say where the report comes from."""
    losses, metrics = history(run_folder)
    return Origin(
        title=f'{Path(args.config).stem}: report',
        source=f'{args.checkpoint}, evaluated on {_data(config)}',
        command=_command(args),
        config=config.pretty_text,
        environment={
            'mmfrcnn': mmfrcnn.__version__,
            'torch': torch.__version__,
            'torchvision': torchvision.__version__,
            'mmdet': mmdet.__version__,
            'mmengine': mmengine.__version__,
            'numpy': np.__version__,
            'Python': platform.python_version(),
            'system': platform.platform(),
            'device': get_device(),
            'processors': str(os.cpu_count()),
        },
        curves={'losses in training': losses, 'metrics of the validation': metrics},
        labels_file=f'{DETAILS}/{LABELS}',
        sentences=sentences,
    )


def _sentences(
    args: argparse.Namespace,
    facts: Facts,
    errors: list[LabelError],
    comparison: dict[str, Any] | None,
) -> list[str]:
    """Say what became of the objects, what labels look like, which run is better."""
    sentences = [in_words(facts.held_out)]
    likely = sum(one.certainty >= LIKELY for one in errors)
    if likely:
        sentences.append(f'{likely} labels are likely wrong or missing: see below.')
    if comparison is not None:
        compared = f'A: {args.against}; B: this run. {comparison["sentence"]}'
        sentences.append(compared)
    return sentences


def _data(config: Config) -> str:
    """Name the annotations, or what stands for them."""
    dataset = config.test_dataloader.dataset
    root, file = dataset.get('data_root') or '', dataset.get('ann_file') or ''
    return os.path.join(root, file) or str(dataset.get('type'))


def _command(args: argparse.Namespace) -> str:
    words = ['mmfrcnn', 'report', args.config, args.checkpoint]
    if args.cfg_options:
        words += ['--cfg-options', *args.cfg_options]
    return shlex.join(words)


def _print(
    advice: list[Advice], comparison: dict[str, Any] | None, folder: Path
) -> None:
    for number, one in enumerate(advice, 1):
        print(f'{number}. {one.text}')
    if not advice:
        print('No rule found anything wrong.')
    if comparison is not None:
        print(comparison['sentence'])
    print(f'Report: {folder / PAGE} and {folder / RECORD}')
