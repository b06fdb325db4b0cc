"""``tools/train.py``: train a detector."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner

from mmfrcnn.cli.checking.needs import check_needs
from mmfrcnn.cli.checking.scales import scale_warnings
from mmfrcnn.cli.checking.schedules import Length, schedule_warnings
from mmfrcnn.cli.checking.work_dir import check_unused, checkpoint_template
from mmfrcnn.cli.config import leaves
from mmfrcnn.cli.each_class import evaluate_each_class
from mmfrcnn.cli.introduction import introduction
from mmfrcnn.cli.out_of_memory import while_memory_lasts
from mmfrcnn.cli.precision import use_mixed_precision
from mmfrcnn.cli.rollback import Rollback
from mmfrcnn.cli.runtime import (
    build_runner,
    console,
    explained,
    leave_processes,
    prepare,
    print_once,
)
from mmfrcnn.cli.sameness import keep_images, make_deterministic, note_images
from mmfrcnn.cli.trackers import add_trackers, check_trackers
from mmfrcnn.cli.work_lock import held
from mmfrcnn.errors import Interrupted, UserError
from mmfrcnn.modeling.sampler import forget_draws
from mmfrcnn.training.accumulated import AccumulatedGradientsHook
from mmfrcnn.training.alternating.loop import AlternatingTrainLoop
from mmfrcnn.training.compiled import CompileHook
from mmfrcnn.training.cuda_graphs import CudaGraphHook
from mmfrcnn.training.data_wait import DataWaitHook
from mmfrcnn.training.gradients import GradientHook
from mmfrcnn.training.interruption import InterruptionHook
from mmfrcnn.training.pictures import PicturesHook
from mmfrcnn.training.profiling import ProfileHook
from mmfrcnn.training.results import ResultsHook
from mmfrcnn.weights.checkpoints import (
    check_checkpoint,
    find_last_checkpoint,
    read_checkpoint,
)
from mmfrcnn.weights.fitting import (
    check_classes,
    check_first_weights,
    check_optimizer,
    check_state,
    check_weights,
)


def run(args: argparse.Namespace) -> None:
    """Train as the command line says."""
    train_from(args)


def train_from(args: argparse.Namespace) -> Runner:
    """Train as the command line says; return the Runner that did."""
    check_trackers(args.log)
    config = prepare(args)
    if config.get('train_dataloader') is None or config.get('train_cfg') is None:
        raise UserError(f'{args.config} has no train_dataloader or no train_cfg')
    check_needs(config, 'train_dataloader', 'val_dataloader')
    if args.amp:
        use_mixed_precision(config, args.amp, get_device())
    if args.deterministic:
        make_deterministic(config)
    if args.auto_scale_lr:
        _scale_learning_rate(config)
    with held(config.work_dir, '--work-dir', shared=args.launcher != 'none'):
        choose_start(config, args.resume)
        evaluate_each_class(config, 'val')
        add_trackers(config, args.log)
        rollback = Rollback(config, args.on_nan)
        try:
            runner = rollback.while_it_diverges(
                lambda: while_memory_lasts(
                    lambda: _train(config, args, rollback), config
                )
            )
        except Interrupted:
            leave_processes()
            raise
        leave_processes()
    return runner


def _train(config: Config, args: argparse.Namespace, rollback: Rollback) -> Runner:
    interruption = InterruptionHook()
    with (
        interruption.listening(),
        explained(config, ['train', 'val']),
        console(args.verbose) as progress,
    ):
        runner = build_runner(config, args.verbose)
        runner.register_hook(TrainingReport(), priority='VERY_LOW')
        runner.register_hook(rollback.hook())
        runner.register_hook(DataWaitHook())
        runner.register_hook(GradientHook())
        runner.register_hook(AccumulatedGradientsHook())
        runner.register_hook(interruption)
        runner.register_hook(ResultsHook())
        runner.register_hook(PicturesHook())
        if progress:
            runner.register_hook(progress)
        if args.profile:
            runner.register_hook(ProfileHook())
        if args.compile:
            runner.register_hook(CompileHook())
        if args.cuda_graphs:
            runner.register_hook(CudaGraphHook())
        runner.train()
    return runner


def _scale_learning_rate(config: Config) -> None:
    if 'base_batch_size' not in config.get('auto_scale_lr', {}):
        raise UserError(
            '--auto-scale-lr: the config does not say for how many images an iteration '
            'its learning rate is; add auto_scale_lr = dict(base_batch_size=16)'
        )
    config.auto_scale_lr.enable = True


def choose_start(config: Config, resume: str | None) -> None:
    """Set ``load_from`` and ``resume`` from ``--resume``; check the file they name."""
    if resume == 'auto':
        last, broken = find_last_checkpoint(
            config.work_dir, checkpoint_template(config)
        )
        for path, damage in broken.items():
            print_once(f'Skipping {path}: {damage}.')
        if last is None and broken:
            raise UserError(
                f'--resume: no checkpoint in {config.work_dir} is whole. Name another '
                '(--resume FILE), or move those away to start from scratch'
            )
        if last is None:
            print_once(
                f'Nothing to resume in {config.work_dir}, starting from scratch.'
            )
        else:
            print_once(f'Resuming from {last}.')
            config.resume, config.load_from = True, last
    elif resume is not None:
        config.resume, config.load_from = True, resume
    # mmengine's own resume=True, without a file, goes on with what the folder holds.
    source = config.get('load_from')
    if not config.get('resume') or (source and not _is_in(source, config.work_dir)):
        check_unused(config)
    if config.get('load_from') and config.get('resume'):
        keep_images(config, read_checkpoint(config.load_from))
    elif config.get('load_from'):
        check_checkpoint(config.load_from)
    else:
        _check_pretrained(config)


def _is_in(file: str, folder: str) -> bool:
    return Path(os.path.realpath(folder)) in Path(os.path.realpath(file)).parents


def _check_pretrained(config: Config) -> None:
    """Check the files of pretrained weights that the parts of the model start from."""
    for key, value in leaves(config.model, 'model'):
        if key.endswith('init_cfg.checkpoint') and isinstance(value, str):
            try:
                check_checkpoint(value)
            except UserError as error:
                raise UserError(f'{key}: {error}') from error


class TrainingReport(Hook):
    """Says at the start what is about to be trained, on what and how fast.

    It also guards what a training starts from, a checkpoint that does not fit, and
    leaves out the config text inside one, which mmengine would execute.
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Check a checkpoint that is resumed or started from."""
        meta = checkpoint.get('meta', {})
        meta.pop('config', None)
        path = str(runner._load_from)
        model = getattr(runner.model, 'module', runner.model)
        weights = checkpoint.get('state_dict', checkpoint)
        metainfo = getattr(runner.train_dataloader.dataset, 'metainfo', {})
        if not runner._resume:
            forget_draws(weights)  # the samples are those of a new training
            check_first_weights(model, weights, path)
            check_classes(checkpoint, metainfo.get('classes'), path)
            return
        check_state(checkpoint, path)
        check_weights(model, weights, path)
        check_classes(checkpoint, metainfo.get('classes'), path)
        if isinstance(runner.optim_wrapper, OptimWrapper):
            optimizer = runner.optim_wrapper.optimizer
            check_optimizer(optimizer, checkpoint['optimizer'], path)

    def before_train(self, runner: Runner) -> None:
        """Say what is trained, on what and how fast, and what won't go as planned."""
        note_images(runner)
        runner.logger.info('\n' + introduction(runner))
        for line in (*_about_schedules(runner), *scale_warnings(runner.cfg)):
            runner.logger.warning(line)


def _about_schedules(runner: Runner) -> Iterator[str]:
    """Say what is wrong with the learning-rate schedule, of each step if there are."""
    loop, loader = runner.train_loop, len(runner.train_dataloader)
    groups = runner.optim_wrapper.param_groups
    if not isinstance(loop, AlternatingTrainLoop):
        length = Length(runner.max_iters, runner.max_epochs, loader)
        yield from schedule_warnings(runner.cfg.get('param_scheduler'), groups, length)
        return
    for name, (schedule, iters) in loop.schedules.items():
        for line in schedule_warnings(schedule, groups, Length(iters, 1, loader)):
            yield f'train_cfg.{name}: {line}'
