"""Says when training waits for its data."""

from __future__ import annotations

from typing import Any

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmfrcnn.cores import usable_cores


@HOOKS.register_module()
class DataWaitHook(Hook):
    """Warn once if a good part of the iterations' time is waiting for images.

    Looked at once, after the first hundred iterations.

    Args:
        share (float): Part of the time from which on it is worth a word.
    """

    priority = 'LOW'  # after IterTimerHook and LoggerHook

    first, last = 20, 120
    """Iterations looked at: without the start of the workers."""

    def __init__(self, share: float = 0.1) -> None:
        self.share = share
        self._seen = 0
        self._times = {'data_time': 0.0, 'time': 0.0}

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Add up the times of ``IterTimerHook``; after the last, say what they mean."""
        self._seen += 1
        if not self.first < self._seen <= self.last:
            return
        for name in self._times:
            log = runner.message_hub.get_scalar(f'train/{name}')
            self._times[name] += log.current()
        waited = self._times['data_time'] / self._times['time']
        if self._seen == self.last and waited > self.share:
            workers = runner.train_dataloader.num_workers
            runner.logger.warning(
                f'{waited:.0%} of the time goes by waiting for images: {workers} '
                f'workers load them, on a machine of {usable_cores()} cores. More: '
                f'--cfg-options train_dataloader.num_workers={max(2 * workers, 2)}'
            )
