"""``--amp`` and ``--precision``: what they choose, and what they refuse."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config

from mmfrcnn.cli.precision import choose_precision, use_mixed_precision
from mmfrcnn.errors import UserError
from tests.end_to_end.tiny import run_here


@pytest.fixture
def config():
    return Config(dict(optim_wrapper=dict(type='OptimWrapper', clip_grad=dict(a=1))))


@pytest.fixture(params=[True, False])
def has_bfloat16(request, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda **_: request.param)
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda: 'Tesla T4')
    return request.param


def test_a_processor_trains_in_bfloat16(config):
    use_mixed_precision(config, 'auto', 'cpu')
    assert config.optim_wrapper.type == 'Bfloat16OptimWrapper'
    assert config.optim_wrapper.clip_grad == dict(a=1)
    with pytest.raises(UserError, match=r'--amp fp16 needs a GPU.* Use --amp bf16'):
        use_mixed_precision(config, 'fp16', 'cpu')


def test_a_card_trains_in_what_it_has(config, has_bfloat16):
    use_mixed_precision(config, 'auto', 'cuda')
    kinds = {True: 'Bfloat16OptimWrapper', False: 'AmpOptimWrapper'}
    assert config.optim_wrapper.type == kinds[has_bfloat16]
    assert ('loss_scale' in config.optim_wrapper) is not has_bfloat16


def test_float16_on_any_card_and_back(config, has_bfloat16):
    use_mixed_precision(config, 'fp16', 'cuda')
    assert config.optim_wrapper.type == 'AmpOptimWrapper'
    assert config.optim_wrapper.loss_scale == 'dynamic'
    use_mixed_precision(config, 'bf16', 'cpu')  # a config in mixed precision itself
    assert 'loss_scale' not in config.optim_wrapper


def test_a_card_without_bfloat16_says_so(config, has_bfloat16):
    if has_bfloat16:
        assert choose_precision('bf16', 'cuda:1') == 'bf16'
        return
    with pytest.raises(UserError, match=r'Tesla T4 has no bfloat16\. Use --amp fp16'):
        use_mixed_precision(config, 'bf16', 'cuda')
    with pytest.raises(UserError, match='Use --precision fp16'):
        choose_precision('bf16', 'cuda')


def test_full_float32_is_held_to_when_it_is_asked_for(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', True)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision('high')
        assert choose_precision(None, 'cuda') == 'fp32'
        assert torch.backends.cudnn.allow_tf32
        assert choose_precision('fp32', 'cuda') == 'fp32'
        assert not torch.backends.cudnn.allow_tf32
        assert torch.get_float32_matmul_precision() == 'highest'
    finally:
        torch.set_float32_matmul_precision(before)


def test_a_config_after_the_flag_is_told_from_a_precision(capsys):
    with pytest.raises(SystemExit) as end:
        run_here('train', '--amp', 'pets.py')
    last = capsys.readouterr().err.splitlines()[-1]
    assert end.value.code == 2
    assert 'pets.py is no precision; write --amp after the config' in last
