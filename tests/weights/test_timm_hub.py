"""timm:// as an address of weights, without a connection."""

from __future__ import annotations

import sys

import pytest
import torch
from mmengine.runner.checkpoint import CheckpointLoader

from mmfrcnn.errors import UserError
from mmfrcnn.modeling import TimmBackbone

timm = pytest.importorskip('timm', reason='the extra timm is not installed')
safetensors = pytest.importorskip(
    'safetensors.torch', reason='the package safetensors is not installed'
)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub of one file, and the list of what is asked of it."""
    torch.manual_seed(0)
    path, asked = tmp_path / 'model.safetensors', []
    safetensors.save_file(timm.create_model('resnet18d').state_dict(), path)

    def download(repo_id, filename, **_):
        asked.append((repo_id, filename))
        return str(path)

    monkeypatch.setattr('timm.models._hub.hf_hub_download', download)
    return path, asked


def backbone(address):
    init = dict(type='Pretrained', checkpoint=address)
    return TimmBackbone(name='resnet18d', out_indices=(1, 2), init_cfg=init)


@pytest.mark.parametrize('name', ['resnet18d', 'resnet18d.ra2_in1k'])
def test_what_timm_downloads_is_loaded_when_training_starts(name, hub):
    path, asked = hub
    built = backbone(f'timm://{name}')
    assert not asked
    built.init_weights()
    assert set(asked) == {('timm/resnet18d.ra2_in1k', 'model.safetensors')}
    stored = safetensors.load_file(path)
    for key, value in built.state_dict().items():
        assert torch.equal(value, stored[key])
    # The file that the message names, where there is no connection.
    built = backbone(str(path))
    built.init_weights()
    for key, value in built.state_dict().items():
        assert torch.equal(value, stored[key])


def test_without_a_connection_the_file_is_named(monkeypatch):
    def download(*_, **__):
        raise OSError('no route\nto host')

    monkeypatch.setattr('timm.models._hub.hf_hub_download', download)
    with pytest.raises(UserError, match='could not be loaded') as caught:
        backbone('timm://resnet18d').init_weights()
    message = str(caught.value)
    assert '\n' not in message and 'no route' in message
    address = 'https://huggingface.co/timm/resnet18d.ra2_in1k/resolve/main/'
    assert address + 'model.safetensors' in message


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('resnet18d.ra3_in1k', "Did you mean 'resnet18d.ra2_in1k'?"),
        ('resnet_18d', "has no weights 'resnet_18d'. Did you mean"),
        ('hf-hub:someone/else', "has no weights 'hf-hub:someone/else'"),
        ('local-dir:/etc', "has no weights 'local-dir:/etc'"),
        ('', "has no weights ''"),
        ('vovnet57a', "has no weights 'vovnet57a'"),  # timm never trained it
    ],
)
def test_unknown_names_reach_no_hub(name, message, hub):
    with pytest.raises(UserError, match=message):
        CheckpointLoader.load_checkpoint(f'timm://{name}')
    assert not hub[1]


def test_pickles_of_the_hub_are_not_executed(tmp_path, monkeypatch):
    """Where the hub has no .safetensors, timm reads a pickle: weights-only."""

    class Harm:
        def __reduce__(self):
            return open, (str(tmp_path / 'harm'), 'w')

    torch.save({'harm': Harm()}, tmp_path / 'weights.bin')

    def download(repo_id, filename, **_):
        if filename.endswith('.safetensors'):
            raise timm.models._hub.EntryNotFoundError('none')
        return str(tmp_path / 'weights.bin')

    monkeypatch.setattr('timm.models._hub.hf_hub_download', download)
    monkeypatch.setattr(
        'timm.models._hub.EntryNotFoundError', type('NotFound', (OSError,), {})
    )
    with pytest.raises(UserError, match=r'could not be loaded .*globals: io\.open'):
        CheckpointLoader.load_checkpoint('timm://resnet18d')
    assert not (tmp_path / 'harm').exists()


def test_without_timm_the_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'timm', None)
    with pytest.raises(
        UserError, match=r'not installed: pip install "mmfrcnn\[timm\]"'
    ):
        CheckpointLoader.load_checkpoint('timm://resnet18d')
