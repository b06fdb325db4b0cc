"""How far a run is: a bar on a terminal, lines elsewhere, a table of the metrics."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import HOOKS
from mmengine.hooks import CheckpointHook, Hook, LoggerHook
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, Runner
from tqdm import tqdm

from mmfrcnn.training.alternating.loop import AlternatingTrainLoop
from mmfrcnn.training.alternating.steps import STEPS
from mmfrcnn.training.console import say
from mmfrcnn.training.results import (
    RESULTS,
    Row,
    as_cell,
    best_row,
    is_number,
    number,
    read_results,
)

BAR = '{desc} {percentage:3.0f}%|{bar:12}| {n_fmt}/{total_fmt}{postfix}'


@HOOKS.register_module()
class ProgressHook(Hook):
    """Prints how training, validation and testing go on; for one process of several.

    Losses are read when ``LoggerHook`` writes them to the log, and not before: on a
    GPU, nobody waits. The best of each metric so far is that of ``results.csv``.
    """

    # After the losses are read and the time is taken, and before LoggerHook, which
    # measures the peak of the memory anew.
    priority = 'NORMAL'

    def __init__(self) -> None:
        self._interval = 1
        self._bar: tqdm | None = None
        self._main_metric = ''

    def before_run(self, runner: Runner) -> None:
        """Find out how often the log is written."""
        loggers = [hook for hook in runner.hooks if isinstance(hook, LoggerHook)]
        self._interval = loggers[0].interval if loggers else 1

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Move the bar; when the log is written, say what it says."""
        place = _place(runner)
        self._advance(place, runner.iter, runner.max_iters, leave=True)
        if self.every_n_inner_iters(batch_idx, self._interval) or self.end_of_epoch(
            runner.train_dataloader, batch_idx
        ):
            said = '  '.join(f'{k}: {v}' for k, v in _measured(runner).items())
            if self._bar:
                self._bar.set_postfix_str(said)
            else:
                done = f'{runner.iter + 1}'.rjust(len(f'{runner.max_iters}'))
                say(f'{place} [{done}/{runner.max_iters}]  {said}')

    def before_val_epoch(self, runner: Runner) -> None:
        """Leave the bar of training where it is."""
        self.close()

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence | None = None,
    ) -> None:
        """Move a bar of its own."""
        self._tell_images('Validation', batch_idx, len(runner.val_dataloader))

    def after_val_epoch(
        self, runner: Runner, metrics: dict[str, float] | None = None
    ) -> None:
        """Print the metrics, each beside its best so far."""
        self.close()
        dataset = runner.val_dataloader.dataset
        rows = read_results(Path(runner.work_dir) / RESULTS)
        title = f'Validation on {len(dataset)} images after iteration {runner.iter}'
        found = split_metrics(metrics, dataset)
        self._main_metric = next(iter(found[0]), '')
        say('\n'.join(metric_table(title, *found, rows)))

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence | None = None,
    ) -> None:
        """Move the bar."""
        self._tell_images('Test', batch_idx, len(runner.test_dataloader))

    def after_test_epoch(
        self, runner: Runner, metrics: dict[str, float] | None = None
    ) -> None:
        """Print the metrics."""
        self.close()
        dataset = runner.test_dataloader.dataset
        title = f'Test on {len(dataset)} images'
        say('\n'.join(metric_table(title, *split_metrics(metrics, dataset), [])))

    def after_run(self, runner: Runner) -> None:
        """Say where the checkpoints of a training are."""
        self.close()
        if isinstance(runner._train_loop, BaseLoop):
            say('\n'.join(_farewell(runner, self._main_metric)))

    def close(self) -> None:
        """End the line of the bar, if there is one."""
        if self._bar:
            self._bar.close()
            self._bar = None

    def _advance(self, title: str, done: int, total: int, leave: bool = False) -> None:
        """Move the bar by one, on a terminal."""
        if not sys.stdout.isatty():
            return
        if self._bar is None:
            self._bar = tqdm(
                total=total,
                initial=done,
                desc=title,
                leave=leave,
                bar_format=BAR,
                file=sys.stdout,
                dynamic_ncols=True,
            )
        self._bar.set_description_str(title, refresh=False)
        self._bar.update()

    def _tell_images(self, title: str, batch_idx: int, total: int) -> None:
        self._advance(title, batch_idx, total)
        if not self._bar and self.every_n_inner_iters(batch_idx, self._interval):
            say(f'{title} [{batch_idx + 1}/{total}]')


def _place(runner: Runner) -> str:
    """Say which epoch, or which step of alternating training, a run is in."""
    loop = runner.train_loop
    if isinstance(loop, AlternatingTrainLoop):
        done, length = loop.step_iters
        return f'Step {loop.step.number}/{len(STEPS)} [{done + 1}/{length}]'
    if isinstance(loop, EpochBasedTrainLoop):
        return f'Epoch {loop.epoch + 1}/{loop.max_epochs}'
    return 'Iteration'


def _measured(runner: Runner) -> dict[str, str]:
    """Return what is known of the last iterations, averaged as in the log."""
    window = runner.log_processor.window_size
    scalars = {
        name.removeprefix('train/'): buffer
        for name, buffer in runner.message_hub.log_scalars.items()
        if name.startswith('train/')
    }
    found = {}
    if 'eta' in runner.message_hub.runtime_info:
        eta = int(runner.message_hub.get_info('eta'))
        found['eta'] = str(timedelta(seconds=eta))
    if 'loss' in scalars:
        found['loss'] = f'{scalars["loss"].mean(window):.4f}'
    if 'time' in scalars:
        loader = runner.train_dataloader
        batch = loader.batch_size or loader.batch_sampler.batch_size
        speed = batch * runner.world_size / scalars['time'].mean(window)
        found['images/s'] = f'{speed:.3g}'
    device = next(runner.model.parameters()).device
    if device.type == 'cuda':
        peak = torch.cuda.max_memory_allocated(device)
        found['memory'] = f'{peak / 2**30:.1f} GiB'
    if 'lr' in scalars:
        found['lr'] = f'{scalars["lr"].current():.3g}'
    for name, buffer in scalars.items():
        if 'loss' in name:
            found.setdefault(name, f'{buffer.mean(window):.4f}')
    return found


def split_metrics(
    metrics: dict[str, Any] | None, dataset: Any
) -> tuple[dict[str, float], dict[str, float]]:
    """Tell metrics of all classes from the AP of each, ``coco/NAME_precision``.

    Args:
        metrics (dict | None): By name, as mmengine gives them.
        dataset (Any): Its ``metainfo`` has the names of the classes.

    Returns:
        tuple: Numbers by the name of the metric, and by the name of the class.
    """
    general = {k: float(v) for k, v in (metrics or {}).items() if is_number(v)}
    of_class = {}
    for name in getattr(dataset, 'metainfo', {}).get('classes', ()):
        for key in [key for key in general if key.endswith(f'/{name}_precision')]:
            of_class[name] = general.pop(key)
    return general, of_class


def metric_table(
    title: str,
    metrics: dict[str, float],
    of_class: dict[str, float],
    rows: Sequence[Row],
) -> list[str]:
    """Return a title and the lines of a table: each metric, and its best so far.

    Args:
        title (str): The first line.
        metrics (dict[str, float]): By name.
        of_class (dict[str, float]): AP by class, in one line.
        rows (Sequence[dict]): The rows of ``results.csv``, these metrics' too.
    """
    width = max((len(key) for key in metrics), default=0) + 1
    lines = [title]
    for key, value in metrics.items():
        shown, best, note = f'{value:.3f}', best_row(rows, key), ''
        if value < 0:
            shown, note = '-', 'there is no such object'  # COCO's -1
        elif best is not None and as_cell(value) == best[key]:
            note = 'best so far'
        elif best is not None:
            note = f'best {number(best[key]):.3f} after iteration {best["iteration"]}'
        lines.append(f'  {key + ":":{width}} {shown:7} {note}'.rstrip())
    if of_class:
        classes = ', '.join(f'{name} {ap:.3f}' for name, ap in of_class.items())
        lines.append(f'  AP of each class: {classes}')
    return lines


def _farewell(runner: Runner, metric: str) -> list[str]:
    """Say which checkpoints a training has left: the best, and the last."""
    lines = [f'Trained for {runner.iter} iterations. {runner.work_dir} holds']
    info = runner.message_hub.runtime_info
    best = best_row(read_results(Path(runner.work_dir) / RESULTS), metric)
    if info.get('best_ckpt'):
        lines.append(f'  best  {info["best_ckpt"]}')
    elif best is not None:
        lines.append(f'  best  {_checkpoint_of(runner, best, metric)}')
    if info.get('last_ckpt'):
        lines.append(f'  last  {info["last_ckpt"]}')
    return lines if len(lines) > 1 else []


def _checkpoint_of(runner: Runner, row: Row, metric: str) -> str:
    """Name the checkpoint of a row, or say that it's not kept, and how it would be."""
    what = f'{metric} {number(row[metric]):.3f} after iteration {row["iteration"]}'
    hooks = [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]
    for hook in hooks[:1]:
        count = row['epoch' if hook.by_epoch else 'iteration']
        path = Path(hook.out_dir) / hook.filename_tmpl.format(count)
        if path.is_file():
            return f'{path} ({what})'
    return (
        f'{what}, of which no checkpoint is kept; another run keeps it with '
        f'--cfg-options default_hooks.checkpoint.save_best={metric}'
    )
