"""A training that is asked to end: by Ctrl-C, or by the SIGTERM of Slurm or Kubernetes.

It finishes the update it is in, writes a checkpoint and ends. Of several processes,
each of which may be asked, all end after the same update: the first that is asked
writes down which, before it takes part in it, so the others find it when they have.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.sharedctypes import RawValue
from pathlib import Path
from types import FrameType
from typing import Any

from mmengine.dist import barrier, is_main_process
from mmengine.hooks import CheckpointHook, EMAHook, Hook
from mmengine.runner import Runner
from torch.distributed.distributed_c10d import _get_default_store
from torch.utils.data import DataLoader

from mmfrcnn.errors import Interrupted
from mmfrcnn.files import write_whole
from mmfrcnn.training.loops import VALIDATED

WORD = 1
"""Seconds in which a worker's parent has heard of a signal that was sent to both."""


_before: dict[int, Any] = {}
"""What had the signals before this process listened to them, by their numbers."""


def _listen_no_more() -> None:
    for number, handler in _before.items():
        signal.signal(number, handler or signal.SIG_DFL)
    _before.clear()


if hasattr(os, 'register_at_fork'):
    # A pool's workers, for one, are ended by a SIGTERM of their parent.
    os.register_at_fork(after_in_child=_listen_no_more)


class InterruptionHook(Hook):
    """Ends a training that is asked to, with a checkpoint of the update it was in.

    Raises:
        Interrupted: After the checkpoint is written, in every process.
    """

    priority = 'LOWEST'  # after the hook that may write a checkpoint of its own

    def __init__(self) -> None:
        self._signal = 0
        self._end_after = 0
        self._in_training = False
        self._process = os.getpid()
        self._is_ending = RawValue('b', 0)  # the workers see it

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Be told by SIGTERM and Ctrl-C; in the main thread, others are never told."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        for number in (signal.SIGTERM, signal.SIGINT):
            _before[number] = signal.signal(number, self._ask)
        try:
            yield
        finally:
            _listen_no_more()
            self._is_ending.value = 0

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # forked a moment ago
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        if not self._in_training:
            raise Interrupted(number, 'where there was nothing to save')
        if self._signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._signal, self._is_ending.value = number, 1
        again = '; Ctrl-C again: at once' if number == signal.SIGINT else ''
        # Not by print, in whose middle a signal may come.
        os.write(2, f'\n{_name(number)}: ending after this step{again}\n'.encode())

    def before_train_epoch(self, runner: Runner) -> None:
        """Make the workers patient, before there are any."""
        self._in_training = True
        for loop in (runner.train_loop, runner._val_loop):
            loader = getattr(loop, 'dataloader', None)
            if isinstance(loader, DataLoader):
                self._make_patient(loader)

    def _make_patient(self, loader: DataLoader) -> None:
        if not isinstance(loader.worker_init_fn, PatientWorker):
            begin = loader.worker_init_fn
            loader.worker_init_fn = PatientWorker(begin, self._is_ending)

    def after_train(self, runner: Runner) -> None:
        """Nothing is left to be saved."""
        self._in_training = False

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """End, if it is asked for and this update is the last."""
        done = runner.iter + 1
        if self._is_last(runner, done):
            self._end(runner, done)

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence | None = None,
    ) -> None:
        """End within a validation, which a resumed run repeats; one process alone.

        Several are not in step here. They end after it.
        """
        if self._in_training and self._signal and not runner.distributed:
            for hook in runner.hooks:
                if isinstance(hook, EMAHook):  # the averaged weights are in the model
                    hook.after_val_epoch(runner)
            runner.message_hub.update_info(VALIDATED, 0)
            self._end(runner, runner.iter)

    def _is_last(self, runner: Runner, done: int) -> bool:
        """Settle the update to end after, and say whether it is this one."""
        if not runner.distributed:
            return bool(self._signal) and done == _update_of(runner, done)
        if not self._end_after:
            store, key = _get_default_store(), f'mmfrcnn/end/{runner.timestamp}'
            if self._signal:
                wanted = f'{self._signal} {_update_of(runner, done + 1)}'
                store.compare_set(key, '', wanted)  # whoever was first is heeded
            if self._signal or store.check([key]):
                found = store.get(key).split()
                self._signal, self._end_after = int(found[0]), int(found[1])
        return 0 < self._end_after <= done

    def _end(self, runner: Runner, done: int) -> None:
        path = _save(runner, done)
        barrier()
        raise Interrupted(
            self._signal,
            f'after iteration {done}, which {path} holds. '
            'To go on, the same command with --resume',
        )


def _update_of(runner: Runner, iteration: int) -> int:
    """Return the iteration that ends the update an iteration belongs to."""
    counts = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
    return min(-(-iteration // counts) * counts, runner.max_iters)


def _save(runner: Runner, done: int) -> Path:
    """Write a checkpoint of all that was done, unless there is one; return its path."""
    name = f'iter_{done}.pth'
    hooks = [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]
    folder = Path(hooks[0].out_dir if hooks else runner.work_dir)
    written = runner.message_hub.runtime_info.get('last_ckpt')
    if written and _iterations_in(hooks[0], written) == done:
        return Path(written)
    runner.call_hook('before_saving')
    meta = dict(epoch=runner.epoch, iter=done)
    runner.save_checkpoint(str(folder), name, meta=meta, by_epoch=False)
    if is_main_process():
        write_whole(folder / 'last_checkpoint', str(folder / name))
    return folder / name


def _iterations_in(hook: CheckpointHook, path: str) -> int | None:
    """Return the iteration in the name of a checkpoint, if iterations are counted."""
    number = Path(path).stem.rpartition('_')[2]
    return int(number) if not hook.by_epoch and number.isdigit() else None


def _name(number: int) -> str:
    return signal.Signals(number).name


class PatientWorker:
    """Begins a data loader's worker that is there while its batches are needed.

    Ctrl-C and Slurm tell all processes at once. A worker that ended first would take
    the update with it that its parent is about to finish.

    Args:
        begin (Callable | None): What else is done at its beginning.
        is_ending (Any): Shared with the parent: not 0 while that finishes an update.
    """

    def __init__(self, begin: Callable[[int], None] | None, is_ending: Any) -> None:
        self.begin = begin
        self.is_ending = is_ending

    def __call__(self, worker: int) -> None:
        """Begin worker number ``worker``."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if hasattr(signal, 'setitimer'):  # Windows has no SIGTERM to be patient with
            signal.signal(signal.SIGTERM, self._wait)
            signal.signal(signal.SIGALRM, self._end)
        if self.begin is not None:
            self.begin(worker)

    def _wait(self, number: int, frame: FrameType | None) -> None:
        signal.setitimer(signal.ITIMER_REAL, WORD)

    def _end(self, number: int, frame: FrameType | None) -> None:
        if self.is_ending.value:
            self._wait(number, frame)
        else:
            os._exit(0)
