"""The torchvision backbone against torchvision's own networks."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import torchvision
from mmdet.registry import MODELS
from torch import nn

from mmfrcnn.data.checks.preflight import _check_channels
from mmfrcnn.errors import UserError
from mmfrcnn.modeling.backbones.torchvision_backbone import TorchvisionBackbone

NODES = ['features.3', 'features.6', 'features.13', 'features.18']
WEIGHTS = Path(__file__).parents[4] / 'shared/data/weights/mobilenet_v2_imagenet.pth'


def mobilenet(**extra) -> TorchvisionBackbone:
    config = {'name': 'mobilenet_v2', 'out_nodes': NODES, **extra}
    return MODELS.build({'type': 'TorchvisionBackbone', **config})


@pytest.fixture
def images():
    return torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def weights_file(tmp_path):
    """A file of a whole network's weights, classifier and all."""
    torch.manual_seed(1)
    path = tmp_path / 'mobilenet.pth'
    torch.save(torchvision.models.mobilenet_v2().state_dict(), path)
    return path


@pytest.mark.parametrize(
    ('name', 'nodes', 'channels'),
    [
        ('mobilenet_v2', NODES, [24, 32, 96, 1280]),
        ('resnet18', ['layer1', 'layer2', 'layer3', 'layer4'], [64, 128, 256, 512]),
        ('squeezenet1_1', ['features.4', 'features.12'], [128, 512]),
        ('convnext_tiny', ['features.1', 'features.7'], [96, 768]),
        ('swin_t', ['features.1', 'features.3'], [96, 192]),  # (N, H, W, C) inside
    ],
)
def test_features_of_different_networks(name, nodes, channels, images):
    backbone = TorchvisionBackbone(name=name, out_nodes=nodes)
    assert backbone.out_channels == channels
    for feature, width, stride in zip(
        backbone(images), channels, backbone.strides, strict=True
    ):
        assert feature.shape[:2] == (2, width)
        # Networks without padding give a cell less.
        assert abs(feature.shape[3] - 96 / stride) <= 1


def test_pretrained_features_equal_torchvisions(weights_file, images):
    backbone = mobilenet(
        init_cfg={'type': 'Pretrained', 'checkpoint': str(weights_file)}
    )
    backbone.init_weights()
    reference = torchvision.models.mobilenet_v2()
    reference.load_state_dict(torch.load(weights_file))
    backbone.eval()
    reference.eval()
    assert backbone.strides == [4, 8, 16, 32]
    expected = images
    wanted = [int(node.split('.')[1]) for node in NODES]
    found = dict(zip(wanted, backbone(images), strict=True))
    for index, block in enumerate(reference.features):
        expected = block(expected)
        if index in found:
            torch.testing.assert_close(found[index], expected)


def test_names_are_torchvisions():
    names = set(mobilenet().state_dict())
    whole = torchvision.models.mobilenet_v2().state_dict()
    assert names == {name for name in whole if name.startswith('features.')}


def test_real_weights_load():
    if not WEIGHTS.is_file():
        pytest.skip(f'needs the real weights {WEIGHTS}')
    backbone = mobilenet(init_cfg={'type': 'Pretrained', 'checkpoint': str(WEIGHTS)})
    backbone.init_weights()
    stored = torch.load(WEIGHTS, weights_only=True)
    for name, value in backbone.state_dict().items():
        torch.testing.assert_close(value, stored[name])


def test_the_frozen_part_neither_learns_nor_updates_statistics(images):
    backbone = mobilenet(frozen_node='features.3', frozen_norm=False).train()
    before = copy.deepcopy(backbone.state_dict())
    optimizer = torch.optim.SGD(
        [p for p in backbone.parameters() if p.requires_grad], lr=0.1
    )
    sum(feature.mean() for feature in backbone(images)).backward()
    optimizer.step()
    for name, value in backbone.state_dict().items():
        block = int(name.split('.')[1])
        same = torch.equal(value, before[name])
        assert same if block <= 3 else not same, name


def test_frozen_norm_fixes_every_batch_norm(images):
    backbone = mobilenet(frozen_norm=True)
    backbone.eval()
    backbone.train()
    norms = [m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 52
    assert not any(norm.training or norm.weight.requires_grad for norm in norms)
    assert backbone.features.get_submodule('4').conv.get_submodule('2').training
    before = copy.deepcopy(backbone.state_dict())
    backbone(images)
    for name, value in backbone.state_dict().items():
        torch.testing.assert_close(value, before[name])


def test_a_frozen_residual_sum_freezes_all_it_depends_on():
    backbone = TorchvisionBackbone(
        name='resnet18', out_nodes=['layer4'], frozen_node='layer1', frozen_norm=False
    )
    trained = {
        name.split('.')[0] for name, p in backbone.named_parameters() if p.requires_grad
    }
    assert trained == {'layer2', 'layer3', 'layer4'}


def test_what_a_block_holds_itself_is_frozen_too():
    """ConvNeXt's scale of a block is a parameter of the block, not of a layer in it."""
    backbone = TorchvisionBackbone(
        name='convnext_tiny', out_nodes=['features.3'], frozen_node='features.1'
    )
    trained = {name[:10] for name, p in backbone.named_parameters() if p.requires_grad}
    assert trained == {'features.2', 'features.3'}


def test_dropout_of_the_training_graph_follows_the_mode(images):
    backbone = TorchvisionBackbone(name='efficientnet_b0', out_nodes=['features.7'])
    backbone.train()
    torch.manual_seed(0)
    assert not torch.equal(backbone(images)[0], backbone(images)[0])
    backbone.eval()
    assert torch.equal(backbone(images)[0], backbone(images)[0])


@pytest.mark.parametrize(
    'duplicate', [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))]
)
def test_copies_stand_alone(duplicate, images):
    backbone = mobilenet().eval()
    before = backbone(images)[-1]
    twin = duplicate(backbone)
    torch.testing.assert_close(twin(images)[-1], before)
    for parameter in twin.parameters():
        nn.init.zeros_(parameter)
    assert twin(images)[-1].abs().max() == 0
    torch.testing.assert_close(backbone(images)[-1], before)


def test_a_copy_keeps_the_frozen_norms(images):
    twin = copy.deepcopy(mobilenet().train())
    before = copy.deepcopy(twin.state_dict())
    twin(images)
    assert twin.training
    for name, value in twin.state_dict().items():
        torch.testing.assert_close(value, before[name])


def test_moves_between_types_as_a_whole(images):
    backbone = TorchvisionBackbone(name='convnext_tiny', out_nodes=['features.1'])
    assert backbone.double()(images.double())[0].dtype == torch.float64


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'name': 'mobilnet_v2'}, "Did you mean 'mobilenet_v2'?"),
        ({'out_nodes': ['feature.3']}, "no node 'feature.3'. Did you mean 'features"),
        ({'frozen_node': 'features.99'}, "no node 'features.99'"),
        ({'out_nodes': []}, 'out_nodes is empty'),
        ({'out_nodes': ['classifier']}, 'not a \\(N, C, H, W\\) feature map'),
        ({'weights': 'imagenet1k_v1'}, "Did you mean 'IMAGENET1K_V1'?"),
    ],
)
def test_mistakes_are_named(change, message):
    with pytest.raises(UserError, match=message):
        mobilenet(**change)


def test_a_file_of_another_network_is_refused(tmp_path):
    path = tmp_path / 'resnet.pth'
    torch.save(torchvision.models.resnet18().state_dict(), path)
    backbone = mobilenet(init_cfg={'type': 'Pretrained', 'checkpoint': str(path)})
    with pytest.raises(UserError) as caught:
        backbone.init_weights()
    message = str(caught.value)
    assert str(path) in message and "'conv1.weight'" in message
    assert "'features.0.0.weight'" in message


def test_a_missing_file_is_named():
    init = {'type': 'Pretrained', 'checkpoint': 'no/such.pth'}
    with pytest.raises(UserError, match=r'init_cfg\.checkpoint: no such file: no/such'):
        mobilenet(init_cfg=init).init_weights()


def test_a_neck_for_other_channels_is_refused():
    model = nn.Module()
    model.backbone = mobilenet()
    model.neck = MODELS.build(
        {'type': 'FPN', 'in_channels': [24, 32, 96, 320], 'out_channels': 8,
         'num_outs': 5}
    )  # fmt: skip
    with pytest.raises(UserError, match=r'is \[24, 32, 96, 320\], but .* 1280\]'):
        _check_channels(model)
    model.neck.in_channels = [24, 32, 96, 1280]
    _check_channels(model)


def test_weights_by_name_are_fetched_when_training_starts(tmp_path, monkeypatch):
    """Weights-only, from torch's cache; without a connection one clear message."""
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    monkeypatch.setattr(
        torch.hub, 'download_url_to_file', lambda *_, **__: _raise(URLError('offline'))
    )
    backbone = mobilenet(weights='IMAGENET1K_V1')  # nothing is fetched yet
    address = torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V1.url
    with pytest.raises(UserError, match='could not be downloaded') as refused:
        backbone.init_weights()
    assert address in str(refused.value)
    torch.manual_seed(1)
    stored = torchvision.models.mobilenet_v2().state_dict()
    torch.save(stored, tmp_path / 'checkpoints' / address.rpartition('/')[2])
    backbone.init_weights()
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, stored[name])


def _raise(error):
    raise error
