"""The head of VGG's fc6 and fc7 against torchvision's own network."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
import torchvision
from mmdet.registry import MODELS

from mmfrcnn.errors import UserError
from mmfrcnn.modeling import vgg_head


def head(**options):
    return MODELS.build(dict(type='VGGBBoxHead', num_classes=3, **options))


@pytest.fixture
def narrow(monkeypatch):
    """Make fc6 and fc7 small enough for a test."""
    monkeypatch.setattr(vgg_head, 'CHANNELS', 2)
    monkeypatch.setattr(vgg_head, 'WIDTH', 8)


@pytest.fixture
def file(tmp_path):
    """Weights of such a network, in torchvision's keys."""
    generator = torch.Generator().manual_seed(0)
    shapes = {
        'features.0.weight': (64, 3, 3, 3),
        'classifier.0.weight': (8, 2 * 7 * 7),
        'classifier.0.bias': (8,),
        'classifier.3.weight': (8, 8),
        'classifier.3.bias': (8,),
        'classifier.6.weight': (1000, 8),
        'classifier.6.bias': (1000,),
    }
    state = {
        key: torch.randn(shape, generator=generator) for key, shape in shapes.items()
    }
    torch.save(state, tmp_path / 'vgg.pth')
    return tmp_path / 'vgg.pth'


def pretrained(path):
    return dict(init_cfg=dict(type='Pretrained', checkpoint=str(path)))


def test_names_and_shapes_are_torchvisions():
    with torch.device('meta'):
        ours = head().classifier.state_dict()
        whole = torchvision.models.vgg16().state_dict()
    for name, value in ours.items():
        assert whole[f'classifier.{name}'].shape == value.shape
    assert set(ours) == {'0.weight', '0.bias', '3.weight', '3.bias'}


def test_fc6_and_fc7_load_from_a_file(narrow, file):
    model = head(**pretrained(file))
    model.init_weights()
    stored = torch.load(file)
    regions = torch.randn(5, 2, 7, 7, generator=torch.Generator().manual_seed(1))
    hidden = regions.flatten(1)
    for layer in ('classifier.0', 'classifier.3'):
        hidden = F.linear(hidden, stored[f'{layer}.weight'], stored[f'{layer}.bias'])
        hidden = hidden.relu()
    model.eval()
    scores, deltas = model(regions)
    torch.testing.assert_close(scores, F.linear(hidden, model.fc_cls.weight))
    assert scores.shape == (5, 4) and deltas.shape == (5, 12)
    # What is new begins small, as in the paper.
    assert 0.005 < model.fc_cls.weight.std() < 0.02


def test_dropout_while_training_alone(narrow):
    model = head()
    regions = torch.randn(5, 2, 7, 7)
    assert not torch.equal(model.train()(regions)[0], model(regions)[0])
    assert torch.equal(model.eval()(regions)[0], model(regions)[0])


def test_another_networks_file_is_refused(narrow, tmp_path):
    torch.save(torchvision.models.squeezenet1_1().state_dict(), tmp_path / 'other.pth')
    with pytest.raises(UserError, match=r'bbox_head\.init_cfg.*is not of vgg16'):
        head(**pretrained(tmp_path / 'other.pth')).init_weights()


def test_a_classifier_that_was_never_trained_is_refused(narrow, file):
    """torchvision's IMAGENET1K_FEATURES has NaN for fc6 and fc7."""
    state = torch.load(file)
    state['classifier.3.weight'].fill_(float('nan'))
    torch.save(state, file)
    with pytest.raises(UserError, match=r'classifier\.3\.weight is not finite'):
        head(**pretrained(file)).init_weights()


def test_weights_by_name_are_an_address_until_training(narrow):
    model = head(weights='IMAGENET1K_V1')
    address = torchvision.models.VGG16_Weights.IMAGENET1K_V1.url
    assert model.classifier.init_cfg['checkpoint'] == address
    with pytest.raises(UserError, match="Did you mean 'IMAGENET1K_V1'"):
        head(weights='IMAGENET_V1')
    with pytest.raises(UserError, match='not both'):
        head(weights='IMAGENET1K_V1', **pretrained('vgg.pth'))
