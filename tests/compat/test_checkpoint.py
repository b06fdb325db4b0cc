"""Checkpoints: mmengine's own load, anything else is refused and not executed."""

from __future__ import annotations

import copy
import os
import pickle
import random
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging.history_buffer import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler
from mmengine.registry import DATASETS, MODELS, PARAM_SCHEDULERS
from mmengine.runner import Runner, load_checkpoint
from mmengine.runner import checkpoint as mmengine_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn
from torch.utils.data import Dataset

from mmfrcnn import compat
from mmfrcnn.errors import UserError


class Line(Dataset):
    """Eight points of a line."""

    metainfo = dict(classes=('a', 'b'), palette=[(1, 2, 3), (4, 5, 6)])

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return dict(x=torch.tensor([float(index)]))


class Slope(BaseModel):
    """One linear layer, pretrained where it is told to be."""

    def __init__(self, init_cfg=None):
        super().__init__(init_cfg=init_cfg)
        self.layer = nn.Linear(1, 1)
        self.norm = nn.BatchNorm1d(1)

    def forward(self, x, mode='tensor'):
        x = torch.stack(x)
        return dict(loss=(self.norm(self.layer(x)) - x).abs().mean())


@pytest.fixture(autouse=True)
def registered():
    DATASETS.register_module(module=Line, name='LineOfTest', force=True)
    MODELS.register_module(module=Slope, name='SlopeOfTest', force=True)


def make_runner(work_dir, name, epochs, **options):
    cfg = dict(
        model=dict(type='SlopeOfTest'),
        work_dir=str(work_dir),
        train_dataloader=dict(
            dataset=dict(type='LineOfTest'),
            sampler=dict(type='DefaultSampler', shuffle=True),
            batch_size=2,
        ),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(
            type='OptimWrapper',
            optimizer=dict(type='AdamW', lr=0.1),
            clip_grad=dict(max_norm=1.0),
        ),
        param_scheduler=[
            dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=3),
            dict(type='CosineAnnealingLR', by_epoch=True, T_max=4),
        ],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
        custom_hooks=[dict(type='EMAHook')],
        randomness=dict(seed=3),
        log_level='ERROR',
        experiment_name=f'{name}-{random.random()}',
    )
    return Runner.from_cfg(cfg | options)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Checkpoint of a real run: optimizer, schedulers, message hub, EMA, seed."""
    DATASETS.register_module(module=Line, name='LineOfTest', force=True)
    MODELS.register_module(module=Slope, name='SlopeOfTest', force=True)
    folder = tmp_path_factory.mktemp('trained')
    make_runner(folder, 'first', epochs=3).train()
    return folder / 'epoch_2.pth'


def test_a_real_checkpoint_holds_more_than_tensors(trained):
    """Else the tests below would show nothing."""
    text = pickle_of(trained)
    for name in (b'HistoryBuffer', b'multiarray', b'ndarray'):
        assert name in text
    keys = torch.load(trained).keys()
    assert keys >= {
        'meta',
        'state_dict',
        'message_hub',
        'optimizer',
        'param_schedulers',
        'ema_state_dict',
    }


def pickle_of(path):
    with zipfile.ZipFile(path) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith('data.pkl'))
        return archive.read(name)


def test_resume_continues_the_run(trained, tmp_path):
    """It ends where the uninterrupted run did: weights, optimizer, schedule, logs."""
    runner = make_runner(
        tmp_path, 'resumed', epochs=3, load_from=str(trained), resume=True
    )
    runner.train()
    found, expected = (
        torch.load(folder / 'epoch_3.pth') for folder in (tmp_path, trained.parent)
    )
    assert runner.iter == expected['meta']['iter'] == 12
    for part in ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers'):
        torch.testing.assert_close(
            *(flat(checkpoint[part]) for checkpoint in (found, expected)),
            rtol=0,
            atol=0,
        )
    for name in ('train/lr', 'train/loss'):
        histories = [
            checkpoint['message_hub']['log_scalars'][name]
            for checkpoint in (found, expected)
        ]
        np.testing.assert_array_equal(histories[0].data, histories[1].data)
        assert histories[0].mean() == histories[1].statistics('mean')


ARGUMENTS = {
    'CosineAnnealing': dict(T_max=3),
    'CosineRestart': dict(periods=[2, 5], restart_weights=[1, 0.5], eta_min=0.01),
    'Exponential': dict(gamma=0.5),
    'MultiStep': dict(milestones=[2, 4]),
    'OneCycle': dict(eta_max=0.2, total_steps=9),
    'QuadraticWarmup': dict(end=5),
    'ReduceOnPlateau': dict(monitor='loss', patience=0),
    'Step': dict(step_size=2),
}
"""What a scheduler cannot do without, by the beginning of its name."""


def make_scheduler(name):
    """Build one of mmengine's schedulers over an optimizer of one weight."""
    kind = PARAM_SCHEDULERS.get(name)
    found = [value for key, value in ARGUMENTS.items() if name.startswith(key)]
    arguments = dict(*found)
    if name.endswith('ParamScheduler'):
        arguments['param_name'] = 'lr'
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
    return kind(optimizer, **arguments), optimizer


def run_steps(name, scheduler, optimizer, steps):
    rates = []
    for _ in range(steps):
        optimizer.step()
        scheduler.step(*[{'loss': 1.0}] * ('Plateau' in name))
        rates += [(g['lr'], g['momentum']) for g in optimizer.param_groups]
    return rates


@pytest.mark.parametrize('name', sorted(PARAM_SCHEDULERS.module_dict))
def test_the_state_of_every_scheduler_comes_back(name, tmp_path):
    """Go on from a file as without one; and the file asks for nothing but values."""
    scheduler, optimizer = make_scheduler(name)
    run_steps(name, scheduler, optimizer, 2)
    path = tmp_path / 'state.pth'
    torch.save({'scheduler': scheduler.state_dict(), 'state_dict': {}}, path)
    saved = copy.deepcopy(optimizer.state_dict())
    assert b'getattr' not in pickle_of(path)
    state = CheckpointLoader.load_checkpoint(str(path))['scheduler']

    resumed, its_optimizer = make_scheduler(name)
    its_optimizer.load_state_dict(saved)
    resumed.load_state_dict(state)
    expected = run_steps(name, scheduler, optimizer, 3)
    assert run_steps(name, resumed, its_optimizer, 3) == expected
    assert 'Constant' in name or len(set(expected)) > 1  # else it would show nothing


@pytest.mark.parametrize('strategy', ['cos', 'linear'])
def test_one_cycle_of_an_older_file_comes_back(strategy, tmp_path):
    """Files of before held the scheduler's function: `vars` is what was saved then."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    scheduler = OneCycleParamScheduler(
        optimizer, 'lr', eta_max=0.2, total_steps=9, anneal_strategy=strategy
    )
    state = {k: v for k, v in vars(scheduler).items() if k != 'optimizer'}
    path = tmp_path / 'state.pth'
    torch.save({'scheduler': state}, path)
    assert b'getattr' in pickle_of(path)
    loaded = CheckpointLoader.load_checkpoint(str(path))['scheduler']
    assert loaded['anneal_func'](1.0, 3.0, 0.5) == 2.0
    assert loaded.keys() == state.keys()


def flat(value, name=''):
    """Return the numbers and tensors of nested containers by their path."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {
            path: leaf
            for key, item in items
            for path, leaf in flat(item, f'{name}.{key}').items()
        }
    return {name: value} if isinstance(value, int | float | torch.Tensor) else {}


def test_load_from_takes_the_weights(trained, tmp_path):
    runner = make_runner(
        tmp_path, 'loaded', epochs=1, load_from=str(trained), custom_hooks=[]
    )
    runner.load_or_resume()
    # With EMA the averaged weights are the ones under state_dict.
    expected = torch.load(trained)['state_dict']
    for name, tensor in runner.model.state_dict().items():
        assert torch.equal(tensor, expected[name])
    assert runner.iter == 0


@pytest.mark.parametrize(
    'value',
    [
        np.float32(1.5),
        np.float64(-2.5),
        np.int64(7),
        np.bool_(True),
        np.arange(5),
        np.ones((2, 3), np.float32),
        np.zeros(0, np.uint8),
        np.dtype('float32'),
    ],
    ids=repr,
)
def test_numpy_values_come_back(value, tmp_path):
    path = tmp_path / 'numpy.pth'
    torch.save(dict(state_dict={}, meta=dict(value=value)), path)
    found = CheckpointLoader.load_checkpoint(str(path))['meta']['value']
    assert type(found) is type(value)
    assert np.array_equal(found, value)
    if hasattr(value, 'dtype'):
        assert found.dtype == value.dtype


def test_histories_come_back(tmp_path):
    history = HistoryBuffer([1.0, 2.0, 6.0], [1, 1, 1])
    torch.save(dict(hub=history), tmp_path / 'history.pth')
    found = CheckpointLoader.load_checkpoint(str(tmp_path / 'history.pth'))['hub']
    assert isinstance(found, HistoryBuffer)
    assert found.mean() == found.statistics('mean') == 3
    assert found.current() == 6


@pytest.mark.parametrize('zipped', [True, False])
def test_checkpoints_of_the_zoo(zipped, tmp_path):
    """Old ones are one plain pickle; their metadata are texts and plain containers."""
    model = Slope()
    meta = dict(
        mmdet_version='2.0.0',
        config="model = dict(type='FasterRCNN')",
        CLASSES=('person', 'bicycle'),
        epoch=12,
        iter=87960,
        hook_msgs={},
    )
    path = tmp_path / 'zoo.pth'
    torch.save(
        dict(meta=meta, state_dict=model.state_dict()),
        path,
        _use_new_zipfile_serialization=zipped,
    )
    other = Slope()
    loaded = load_checkpoint(other, str(path), strict=True)
    assert loaded['meta']['CLASSES'] == meta['CLASSES']
    for name, tensor in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor)


class Payload:
    """Unpickles by calling a function."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def payloads(mark):
    python = f'open({mark!r}, "w").close()'
    return {
        'system': (Payload(os.system, f'touch {mark}'), 'system'),
        'exec': (Payload(exec, python), 'exec'),
        'eval': (Payload(eval, f'open({mark!r}, "w")'), 'eval'),
        'open': (Payload(open, mark, 'w'), 'open'),
        'getattr': (Payload(getattr, OrderedDict, 'fromkeys'), 'getattr'),
        'getattr-history': (Payload(getattr, HistoryBuffer, '__init__'), 'getattr'),
        'getattr-class': (Payload(getattr, HistoryBuffer, '__globals__'), 'getattr'),
        'getattr-one-cycle': (
            Payload(getattr, OneCycleParamScheduler, '__init__'),
            'getattr',
        ),
        'object': (np.array([Payload(exec, python)], dtype=object), 'ObjectDType'),
        'config': (Payload(Path, mark), 'Path'),
    }


NAMES = list(payloads('x'))


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize('name', NAMES)
def test_anything_else_is_refused_and_not_executed(name, zipped, tmp_path):
    mark = tmp_path / 'executed'
    payload, culprit = payloads(str(mark))[name]
    path = tmp_path / 'malicious.pth'
    torch.save(
        dict(state_dict={}, meta=dict(hub=payload)),
        path,
        _use_new_zipfile_serialization=zipped,
    )
    mark.unlink(missing_ok=True)  # to pickle it may already have run it
    with pytest.raises(UserError) as refused:
        CheckpointLoader.load_checkpoint(str(path))
    message = str(refused.value)
    assert str(path) in message
    assert culprit in message
    assert '\n' not in message
    assert not mark.exists()


@pytest.mark.parametrize('way', ['load_from', 'resume', 'init_cfg'])
def test_every_way_in_refuses(way, tmp_path):
    mark, path = tmp_path / 'executed', tmp_path / 'malicious.pth'
    torch.save(dict(state_dict=Payload(os.system, f'touch {mark}')), path)
    if way == 'init_cfg':
        pretrained = dict(type='Pretrained', checkpoint=str(path))
        model = dict(type='SlopeOfTest', init_cfg=pretrained)
        options = dict(model=model)
    else:
        options = dict(load_from=str(path), resume=way == 'resume')
    runner = make_runner(tmp_path / 'runner', way, epochs=1, **options)
    with pytest.raises(UserError, match=r'malicious\.pth.*system'):
        runner.train()
    assert not mark.exists()


def test_an_old_config_text_is_not_run(trained, tmp_path):
    """mmengine runs the Python text under meta.config when it resumes."""
    checkpoint, mark = torch.load(trained), tmp_path / 'executed'
    checkpoint['meta']['config'] = f'open({str(mark)!r}, "w").close()'
    path = tmp_path / 'config.pth'
    torch.save(checkpoint, path)
    options = dict(load_from=str(path), resume=True, custom_hooks=[])
    runner = make_runner(tmp_path, 'config', epochs=2, **options)
    runner.load_or_resume()
    assert runner.epoch == 2
    assert not mark.exists()


@pytest.mark.parametrize('zipped', [True, False])
def test_damaged_files_are_named(zipped, tmp_path):
    whole, path = tmp_path / 'whole.pth', tmp_path / 'damaged.pth'
    checkpoint = dict(state_dict=Slope().state_dict(), hub=HistoryBuffer([1.0], [1]))
    torch.save(checkpoint, whole, _use_new_zipfile_serialization=zipped)
    content = whole.read_bytes()
    chance = random.Random(4)
    damages = [content[: len(content) * part // 10] for part in range(10)]
    damages += [b'no checkpoint', chance.randbytes(1000), b'PK\x03\x04' + content[9:]]
    damages += [b'\x80\x02' + chance.randbytes(50) for _ in range(30)]
    for damage in damages:
        path.write_bytes(damage)
        with pytest.raises(UserError) as refused:
            CheckpointLoader.load_checkpoint(str(path))
        assert str(path) in str(refused.value)
        assert '\n' not in str(refused.value)


def test_missing_files_and_folders_are_named(tmp_path):
    for path in (tmp_path / 'absent.pth', tmp_path):
        with pytest.raises(UserError, match=str(path)):
            CheckpointLoader.load_checkpoint(str(path))


def test_the_forks_fallback_is_closed(tmp_path, monkeypatch):
    """The OneDL mmengine loads unsafely what does not load safely."""

    def fall_back(file, map_location=None, weights_only=None):
        return torch.load(file, map_location=map_location, weights_only=False)

    mark, path = tmp_path / 'executed', tmp_path / 'malicious.pth'
    torch.save(dict(state_dict=Payload(os.system, f'touch {mark}')), path)
    monkeypatch.setattr(
        mmengine_checkpoint, '_safe_torch_load', fall_back, raising=False
    )
    compat.install()
    with pytest.raises(pickle.UnpicklingError):
        mmengine_checkpoint._safe_torch_load(str(path), map_location='cpu')
    assert not mark.exists()


def test_what_was_downloaded_is_not_executed(tmp_path, monkeypatch):
    mark, cache = tmp_path / 'executed', tmp_path / 'checkpoints'
    cache.mkdir()
    torch.save(Payload(os.system, f'touch {mark}'), cache / 'malicious.pth')
    mark.unlink(missing_ok=True)
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    with pytest.raises(UserError, match=r'malicious\.pth.*system'):
        CheckpointLoader.load_checkpoint('https://example.org/malicious.pth')
    assert not mark.exists()


def test_no_connection_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    address = 'http://127.0.0.1:1/weights.pth'  # nobody listens there
    with pytest.raises(UserError, match='could not be downloaded') as refused:
        CheckpointLoader.load_checkpoint(address)
    assert address in str(refused.value)
    assert str(tmp_path / 'checkpoints') in str(refused.value)
