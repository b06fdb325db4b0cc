"""The timm backbone against timm's own feature models."""

from __future__ import annotations

import copy
import pickle
import sys

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.runner.checkpoint import load_state_dict
from mmfrcnn_benchmark.fake_device import DEVICE, fake_device
from torch import nn

from mmfrcnn.deploy.fold import fold_batch_norms
from mmfrcnn.errors import UserError
from mmfrcnn.modeling import TimmBackbone

timm = pytest.importorskip('timm', reason='the extra timm is not installed')

SWIN = 'swin_tiny_patch4_window7_224'
# A narrow one, of images of any size.
ANY_SIZE = dict(
    strict_img_size=False, depths=(1, 1, 1, 1), embed_dim=24, num_heads=(1, 2, 4, 8)
)
# Of each: levels, strides, options, and the norms that can be folded.
NETWORKS = {
    'resnet18d': ((1, 2, 3, 4), [4, 8, 16, 32], {}, 22),
    'mobilenetv3_small_050': ((1, 2, 3, 4), [4, 8, 16, 32], {}, 34),
    'tf_efficientnet_lite0': ((1, 2, 3, 4), [4, 8, 16, 32], {}, 48),
    'convnext_atto': ((0, 1, 2, 3), [4, 8, 16, 32], {}, 0),
    'regnetx_002': ((2, 4), [8, 32], {}, 44),
    SWIN: ((0, 1), [4, 8], ANY_SIZE, 0),  # (N, H, W, C) inside
    'densenet121': ((0, 1), [2, 4], {}, 7),  # norms before convolutions
}


def small(name='resnet18d', out_indices=(1, 2), **extra) -> TimmBackbone:
    config = dict(name=name, out_indices=out_indices, **extra)
    return MODELS.build(dict(type='TimmBackbone', **config))


def lived_in(model, seed=0):
    """Give norms the statistics and weights of a trained model."""
    generator = torch.Generator().manual_seed(seed)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_(0, 0.2, generator=generator)
            norm.running_var.uniform_(0.5, 2.0, generator=generator)
            norm.weight.data.uniform_(0.5, 1.5, generator=generator)
            norm.bias.data.normal_(0, 0.2, generator=generator)
    return model


def norms(model):
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


@pytest.fixture
def images():
    return torch.randn(2, 3, 72, 100, generator=torch.Generator().manual_seed(0))


def close(found, expected):
    """Compare, to float64's rounding or float32's."""
    for one, other in zip(found, expected, strict=True):
        small = 1e-9 if one.dtype == torch.float64 else 1e-5
        atol = small * float(other.detach().std())
        torch.testing.assert_close(one, other, rtol=small, atol=atol)


@pytest.mark.parametrize('name', NETWORKS)
@torch.no_grad()
def test_features_and_names_are_timms_folded_or_not(name, images):
    levels, strides, options, num_folded = NETWORKS[name]
    whole = lived_in(timm.create_model(name, **options)).double()
    state = {key: value.clone() for key, value in whole.state_dict().items()}
    # timm's own model of features, with the same weights.
    reference = timm.create_model(
        name,
        features_only=True,
        out_indices=levels,
        pretrained=True,
        pretrained_cfg_overlay=dict(state_dict=state),
        **options,
    )
    reference.double().eval()
    backbone = small(name, levels, options=options).double().eval()
    assert backbone.strides == strides
    assert backbone.out_channels == reference.feature_info.channels()
    own = backbone.state_dict()
    assert set(own) < set(state)  # the classifier is not there
    assert {key: value.shape for key, value in own.items()} == {
        key: state[key].shape for key in own
    }
    load_state_dict(backbone, state)
    images = images.double()
    expected = reference(images)
    if name == SWIN:
        expected = [feature.permute(0, 3, 1, 2) for feature in expected]
    assert min(feature.std() for feature in expected) > 0
    close(backbone(images), expected)
    if not num_folded:
        return
    folded = small(name, levels, options=options, fold_norms=True).double().eval()
    load_state_dict(folded, state)
    assert len(norms(backbone)) - len(norms(folded)) == num_folded
    close(folded(images), expected)
    # As the tools that test and predict do it, with what was not folded in training.
    assert fold_batch_norms(backbone) == num_folded
    close(backbone(images), expected)


@pytest.mark.parametrize('fold', [False, True])
def test_the_frozen_part_neither_learns_nor_updates_statistics(fold, images):
    backbone = small(
        'mobilenetv3_small_050',
        (1, 3),
        frozen_stages=1,
        frozen_norm=fold,
        fold_norms=fold,
    ).train()
    lived_in(backbone)
    before = copy.deepcopy(backbone.state_dict())
    trained = [p for p in backbone.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.1)
    sum(feature.square().mean() for feature in backbone(images)).backward()
    optimizer.step()
    for name, value in backbone.state_dict().items():
        frozen = name.startswith(('conv_stem', 'bn1', 'blocks.0.'))
        same = torch.equal(value, before[name])
        assert same if frozen else not same, name


@pytest.mark.parametrize(
    ('name', 'level', 'trained'),
    [
        ('resnet18d', 0, {'layer1', 'layer2'}),
        ('resnet18d', 1, {'layer2'}),
        ('convnext_atto', 0, {'stages.1', 'stages.2'}),  # gamma is a block's own
        ('convnext_atto', 2, set()),
    ],
)
def test_a_level_is_frozen_with_all_that_it_depends_on(name, level, trained):
    backbone = small(name, (1, 2), frozen_stages=level)
    found = {
        key.partition('.')[0] if key[0] == 'l' else key[:8]
        for key, parameter in backbone.named_parameters()
        if parameter.requires_grad
    }
    assert found == trained


def test_drop_path_is_off_in_the_frozen_part_alone(images):
    options = dict(drop_path_rate=0.9)
    backbone = small('convnext_atto', (1, 2), frozen_stages=1, options=options).train()
    torch.manual_seed(0)
    (fixed, one), (again, other) = backbone(images), backbone(images)
    assert torch.equal(fixed, again) and not torch.equal(one, other)
    backbone.eval()
    assert torch.equal(backbone(images)[1], backbone(images)[1])


def test_frozen_norm_fixes_every_batch_norm(images):
    backbone = small(frozen_norm=True).eval().train()
    assert not any(one.training or one.weight.requires_grad for one in norms(backbone))
    before = copy.deepcopy(backbone.state_dict())
    backbone(images)
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(norm.training for norm in norms(small(frozen_norm=False)))


@pytest.mark.parametrize(
    'duplicate', [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))]
)
def test_copies_stand_alone(duplicate, images):
    backbone = small(fold_norms=True, frozen_stages=1).eval()
    before = backbone(images)[-1]
    twin = duplicate(backbone)
    assert torch.equal(twin(images)[-1], before)
    for parameter in twin.parameters():
        nn.init.zeros_(parameter)
    assert twin(images)[-1].abs().max() == 0
    assert torch.equal(backbone(images)[-1], before)


def test_a_detector_loads_folded_and_unfolded_checkpoints(images):
    """Of a detector trained with norms, of one trained without; and strictly."""

    def detector(**extra):
        return nn.ModuleDict(dict(backbone=small(**extra))).eval()

    trained = lived_in(detector())
    state = trained.state_dict()
    one, other = detector(fold_norms=True), detector(fold_norms=True)
    one.load_state_dict(state, strict=True)
    assert 'backbone.bn1.running_mean' in state  # what was given is left alone
    load_state_dict(other, one.state_dict(), strict=True)
    assert not [key for key in one.state_dict() if 'running_mean' in key]
    with pytest.raises(
        UserError, match=r'have backbone.conv1.*bias.*fold_norms=True. Set'
    ):
        load_state_dict(trained, one.state_dict())
    assert torch.equal(one.backbone(images)[-1], other.backbone(images)[-1])
    close(one.backbone(images), trained.backbone(images))


def test_pretrained_files_are_folded_and_those_of_others_refused(tmp_path, images):
    path, wrong = tmp_path / 'resnet18d.pth', tmp_path / 'regnet.pth'
    whole = lived_in(timm.create_model('resnet18d'))
    torch.save(whole.state_dict(), path)
    torch.save(timm.create_model('regnetx_002').state_dict(), wrong)
    init = dict(type='Pretrained', checkpoint=str(path))
    found = []
    for fold in (False, True):
        backbone = small(fold_norms=fold, init_cfg=init)
        backbone.init_weights()
        found.append(backbone.eval()(images))
    close(*found)
    # The same as a part of a detector's.
    state = {f'backbone.{key}': value for key, value in whole.state_dict().items()}
    torch.save(state, path)
    backbone = small(fold_norms=True, init_cfg=dict(init, prefix='backbone'))
    backbone.init_weights()
    close(backbone.eval()(images), found[1])
    whole.eval()
    expected = whole.forward_intermediates(images, indices=[1, 2])[1]
    close(found[0], expected)
    with pytest.raises(UserError, match='is not of resnet18d: it has 0 of'):
        small(init_cfg=dict(init, checkpoint=str(wrong))).init_weights()


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(name='resnet18dd'), "has no network 'resnet18dd'. Did you mean 'resnet"),
        (dict(name='hf-hub:someone/else'), "has no network 'hf-hub:someone/else'"),
        (dict(name='local-dir:/etc'), "has no network 'local-dir:/etc'"),
        (dict(name=''), "has no network ''"),
        (dict(name=None), 'has no network None'),
        (dict(out_indices=()), 'should be levels in rising order; it has 0 to 4'),
        (dict(out_indices=(1, 5)), 'it has 0 to 4'),
        (dict(out_indices=4), 'out_indices=4, which should be'),
        (dict(out_indices=('1',)), 'it has 0 to 4'),
        (dict(out_indices=(2, 1)), 'in rising order'),
        (dict(out_indices=(-1,)), 'in rising order'),
        (dict(frozen_stages=3), 'should be -1 \\(none\\) or a level up to 2'),
        (dict(frozen_stages='1'), "frozen_stages='1'"),
        (dict(options=dict(checkpoint_path='x.pth')), 'may not name checkpoint_path'),
        (dict(options=dict(drop_pat=1)), "refuses options.*unexpected.*'drop_pat'"),
        (dict(name='vit_tiny_patch16_224'), "any size: Input height \\(128\\) doesn't"),
        (dict(name='mixer_s32_224'), 'gives no feature maps'),
        (dict(name='crossvit_9_240'), 'of any size: it gives .* not'),
        (dict(name='convnext_atto', fold_norms=True), 'no batch norm is seen'),
        (dict(name=SWIN, options=ANY_SIZE, fold_norms=True), 'no batch norm is seen'),
        (dict(fold_norms=True, frozen_norm=False), 'needs frozen_norm=True'),
        (
            dict(
                init_cfg=dict(type='Pretrained', checkpoint='timm://resnet18.a1_in1k')
            ),
            "timm://resnet18.a1_in1k is not of resnet18d. Set name='resnet18'",
        ),
        (
            dict(
                name='efficientnet_lite0',  # the same tensors, another padding
                init_cfg=dict(checkpoint='pip://tf_efficientnet_lite0'),
            ),
            'is not of efficientnet_lite0',
        ),
    ],
)
def test_mistakes_are_named_in_one_line(change, message):
    with pytest.raises(UserError, match=message) as caught:
        small(**change)
    assert '\n' not in str(caught.value)


def test_what_cannot_be_traced_is_not_folded():
    options = dict(strict_img_size=False)  # its windows are shifted and masked
    with pytest.raises(UserError, match='no batch norm is seen'):
        small(SWIN, options=options, fold_norms=True)
    assert fold_batch_norms(small(SWIN, options=options)) == 0


def test_a_network_without_levels_is_refused(monkeypatch):
    monkeypatch.setattr(timm, 'create_model', lambda *_, **__: nn.Linear(1, 1))
    with pytest.raises(UserError, match='resnet18d gives no feature maps in timm'):
        small()


def test_without_timm_the_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'timm', None)
    with pytest.raises(
        UserError, match=r'timm, .* not installed: pip install "mmfrcnn'
    ):
        small()


def test_children_are_initialised_without_pretrained_weights():
    small(init_cfg=None).init_weights()
    small(SWIN, options=ANY_SIZE).init_weights()


@pytest.mark.parametrize('training', [False, True])
def test_a_device_is_never_waited_for(training):
    """TensorFlow's padding is computed from shapes, which the host knows."""
    backbone = small('tf_efficientnet_lite0', (1, 4), fold_norms=True)
    with fake_device():
        backbone.to(DEVICE).train(training)
    with fake_device(torch.bfloat16) as counted, torch.set_grad_enabled(training):
        images = torch.rand(2, 3, 96, 130).pin_memory().to(DEVICE, non_blocking=True)
        maps = backbone(images)
    assert counted.total > 50 and not counted.waits
    assert {feature.dtype for feature in maps} == {torch.bfloat16}


def test_compiles_as_one_graph(images):
    backbone = small('tf_efficientnet_lite0', (1, 2), fold_norms=True).eval()
    compiled = torch.compile(backbone, backend='eager', fullgraph=True)
    with torch.no_grad():
        close(compiled(images), backbone(images))
