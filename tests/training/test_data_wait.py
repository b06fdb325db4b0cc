"""A training that waits for its images says so, once."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
from mmdet.registry import HOOKS
from mmengine.logging import MessageHub


@pytest.mark.parametrize('data_time, warned', [(0.5, 1), (0.05, 0)])
def test_waiting_is_said_once(caplog, data_time: float, warned: int) -> None:
    hook = HOOKS.build(dict(type='DataWaitHook', share=0.3))
    hub = MessageHub(f'wait{data_time}')
    logger = logging.getLogger('test_data_wait')
    runner = SimpleNamespace(
        message_hub=hub, logger=logger, train_dataloader=SimpleNamespace(num_workers=3)
    )
    for index in range(200):
        # The start of the workers, minutes perhaps, does not count.
        hub.update_scalar('train/data_time', 100.0 if index == 0 else data_time)
        hub.update_scalar('train/time', 101.0 if index == 0 else 1.0)
        hook.after_train_iter(runner, index)
    assert len(caplog.records) == warned
    if warned:
        text = caplog.text
        assert '50%' in text and 'train_dataloader.num_workers=6' in text
