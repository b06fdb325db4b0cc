"""Where the time of a training step goes: a trace, and a table on one screen."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch.profiler import profile, record_function

from mmfrcnn.training.regions import common_regions, our_regions
from mmfrcnn.training.stages import STAGES, Region, Stopwatch, watched

TRACE = 'profile.json'


@HOOKS.register_module()
class ProfileHook(Hook):
    """Profile some iterations: ``WORK_DIR/profile.json`` and a table in the log.

    Half of the iterations are timed stage by stage, the others traced (a trace costs
    time itself). The trace opens in chrome://tracing or ui.perfetto.dev.

    Args:
        begin (int): First iteration; those before it warm up.
        iterations (int): How many are timed, and how many traced after them.
    """

    priority = 'VERY_HIGH'  # its iteration begins before, and ends with, the others'

    def __init__(self, begin: int = 5, iterations: int = 5) -> None:
        self.begin = begin
        self.iterations = iterations
        self._open = ExitStack()

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Start the clock, or the trace."""
        if runner.iter == self.begin:
            self._watch = Stopwatch(_wait)
            self._open.enter_context(watched(_regions(runner), self._watch.stage))
            self._watch.reset()
        elif runner.iter == self.begin + self.iterations:
            self._profile = self._open.enter_context(profile())
            self._open.enter_context(watched(_regions(runner), record_function))

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Stop, and report."""
        done = runner.iter + 1 - self.begin
        if done == self.iterations:
            seconds = self._watch.stop()
            self._open.close()
            runner.logger.info('\n' + breakdown(seconds, self.iterations))
        elif done == 2 * self.iterations:
            self._open.close()
            path = Path(runner.work_dir) / TRACE
            self._profile.export_chrome_trace(str(path))
            runner.logger.info(f'The trace of {self.iterations} iterations is {path}')

    def after_train(self, runner: Runner) -> None:
        """Leave the model as it was, should training end before the profile."""
        self._open.close()


def breakdown(seconds: dict[str, float], iterations: int) -> str:
    """Lay out a table: milliseconds an iteration and share of each stage."""
    total = sum(seconds.values())
    lines = [f'{"stage":32}{"ms":>10}{"share":>9}']
    for stage in STAGES:
        if seconds.get(stage):
            # What is no stage of the model: the data, the log, other hooks.
            name = 'data, hooks and the rest' if stage == 'other' else stage
            spent = seconds[stage]
            lines.append(f'{name:32}{_each(spent, iterations)}{spent / total:9.1%}')
    lines.append(f'{"an iteration":32}{_each(total, iterations)}')
    return '\n'.join(lines)


def _each(seconds: float, iterations: int) -> str:
    return f'{1000 * seconds / iterations:10.1f}'


def _regions(runner: Runner) -> list[Region]:
    wrapped = runner.model
    model = wrapped.module if is_model_wrapper(wrapped) else wrapped
    optimizer = runner.optim_wrapper
    return [
        *common_regions(model),
        *our_regions(model),
        Region(optimizer, 'backward', 'backward'),
        Region(optimizer, 'step', 'optimizer'),
    ]


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
