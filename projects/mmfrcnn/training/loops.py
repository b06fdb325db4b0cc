"""mmengine's training loops, which go on exactly where a checkpoint was written.

mmengine's loop of iterations loads everything again that was trained on, to drop it;
its loop of epochs begins the epoch anew; neither repeats the validation that a kill has
cut off, and both draw other random numbers than the run that was not interrupted. Here
all of that is a function of (seed, epoch, position) and (seed, iteration).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.dist import get_rank
from mmengine.runner import (
    EpochBasedTrainLoop,
    IterBasedTrainLoop,
    Runner,
    loops,
)
from torch import nn
from torch.utils.data import DataLoader

from mmfrcnn.data.draws import begin_pass, reseed_order
from mmfrcnn.data.randomness import seed_generators

LENGTH = 'iterations_an_epoch'
"""What a checkpoint says of the epochs that its iterations were counted in."""
VALIDATED = 'validated_after'
"""The iteration whose validation a checkpoint has in it; mmengine writes the checkpoint
of an iteration before its validation, and once more after the best one."""


def install() -> None:
    """Let mmengine's loops, and what is made of them, work like this."""
    loops._InfiniteDataloaderIterator = Batches
    IterBasedTrainLoop.run = run_iterations
    EpochBasedTrainLoop.run = run_epochs
    EpochBasedTrainLoop.run_epoch = run_epoch


class Batches:
    """The batches of a training by iterations, pass after pass.

    Nothing is loaded, and no worker started, before the first one is asked for.

    Args:
        loader (DataLoader): The training data.
    """

    def __init__(self, loader: DataLoader) -> None:
        self._loader = loader
        self._seed: int | None = None
        self._epoch = 0
        self._iterator: Any = None

    def _shutdown_workers(self) -> None:
        """Be told as torch's iterators are."""
        _let_go(self._iterator)

    def begin(self, seed: int, done: int) -> None:
        """Go on as after so many batches."""
        self._seed = seed
        passed = begin_pass(self._loader, seed, self._epoch, done)
        while 0 < passed < done:  # a data set may be empty
            done -= passed
            self._epoch += 1
            passed = begin_pass(self._loader, seed, self._epoch, done)

    def __iter__(self) -> Batches:
        return self

    def __next__(self) -> Any:
        if self._iterator is None:
            self._iterator = iter(self._loader)
        try:
            return next(self._iterator)
        except StopIteration:
            self._epoch += 1
            if self._seed is not None:
                begin_pass(self._loader, self._seed, self._epoch)
            self._iterator = iter(self._loader)
            return next(self._iterator)


def run_iterations(loop: IterBasedTrainLoop) -> nn.Module:
    """Stand for ``IterBasedTrainLoop.run``."""
    runner = loop.runner
    runner.call_hook('before_train')
    runner.call_hook('before_train_epoch')  # the whole training is one
    settle_order(runner, loop.dataloader)
    loop.dataloader_iterator.begin(runner.seed, loop._iter)
    with _workers_let_go(loop):
        if _is_resumed(loop):
            _validate_if_due(loop, loop._iter, loop._max_iters)
        while loop._iter < loop._max_iters and not loop.stop_training:
            runner.model.train()
            batch = next(loop.dataloader_iterator)
            seed_iteration(runner)
            loop.run_iter(batch)
            _validate_if_due(loop, loop._iter, loop._max_iters)
    runner.call_hook('after_train_epoch')
    runner.call_hook('after_train')
    return runner.model


def run_epochs(loop: EpochBasedTrainLoop) -> nn.Module:
    """Stand for ``EpochBasedTrainLoop.run``."""
    runner, length = loop.runner, len(loop.dataloader)
    before = runner.message_hub.runtime_info.get(LENGTH, length)
    runner.message_hub.update_info(LENGTH, length)
    runner.call_hook('before_train')
    settle_order(runner, loop.dataloader)
    done = loop._iter - loop._epoch * length
    # Of epochs of another length, the iterations say nothing here.
    loop.batches_done = done if before == length and 0 < done <= length else 0
    with _workers_let_go(loop):
        if _is_resumed(loop) and not loop.batches_done:
            _validate_if_due(loop, loop._epoch, loop._max_epochs)
        while loop._epoch < loop._max_epochs and not loop.stop_training:
            loop.run_epoch()
            _validate_if_due(loop, loop._epoch, loop._max_epochs)
    runner.call_hook('after_train')
    return runner.model


def run_epoch(loop: EpochBasedTrainLoop) -> None:
    """Stand for ``EpochBasedTrainLoop.run_epoch``: what a resumed epoch has left."""
    runner = loop.runner
    runner.call_hook('before_train_epoch')
    runner.model.train()
    done, loop.batches_done = getattr(loop, 'batches_done', 0), 0
    begin_pass(loop.dataloader, runner.seed, loop._epoch, done)
    loop.dataloader_iterator = iter(loop.dataloader)
    for index, batch in enumerate(loop.dataloader_iterator, start=done):
        seed_iteration(runner)
        loop.run_iter(index, batch)
    runner.call_hook('after_train_epoch')
    loop._epoch += 1


def _is_resumed(loop: Any) -> bool:
    """Whether it goes on from a checkpoint without the validation that follows it."""
    validated = loop.runner.message_hub.runtime_info.get(VALIDATED, 0)
    return loop._iter > 0 and validated != loop._iter


def _validate_if_due(loop: Any, done: int, last: int) -> None:
    """Validate after so many iterations or epochs, if the config asks for it."""
    loop._decide_current_val_interval()
    runner = loop.runner
    is_due = done >= loop.val_begin and (done % loop.val_interval == 0 or done == last)
    if runner.val_loop is not None and is_due:
        runner.message_hub.update_info(VALIDATED, runner.iter)
        seed_iteration(runner)
        runner.val_loop.run()


@contextmanager
def _workers_let_go(loop: Any) -> Iterator[None]:
    """Let the loaders' workers go at the end, while they can be told to.

    Where Python collects the loaders, the queues to the workers may be closed before
    the word is in them, and torch waits five seconds for each.
    """
    try:
        yield
    finally:
        _let_go(getattr(loop, 'dataloader_iterator', None))
        if loop.runner.val_loop is not None:
            _let_go(getattr(loop.runner.val_loop.dataloader, '_iterator', None))


def _let_go(iterator: Any) -> None:
    shut_down = getattr(iterator, '_shutdown_workers', None)
    if shut_down is not None:  # there are workers
        shut_down()


def seed_iteration(runner: Runner) -> None:
    """Seed what is drawn outside the data loader until the next iteration.

    As mmengine seeds a run: processes alike, unless ``diff_rank_seed`` is set.
    """
    rank = get_rank() if _differs_by_rank(runner) else 0
    seed_generators((runner.seed, runner.iter, rank))


def settle_order(runner: Runner, loader: DataLoader) -> None:
    """Let the order of the images be that of the run, also of one that is resumed."""
    if not _differs_by_rank(runner):
        reseed_order(loader, runner.seed)


def _differs_by_rank(runner: Runner) -> bool:
    return bool(runner._randomness_cfg.get('diff_rank_seed'))
