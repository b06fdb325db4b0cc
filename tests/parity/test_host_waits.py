"""What a step makes the host wait for, on a GPU that is not there.

The host is real, the device fake: see `mmfrcnn_benchmark.fake_device`, which looks into
our own operators too, in their plain form (a kernel is given to the device and left to
it). A step begins with a batch as the data loader gives it, images pinned and ground
truth not.
"""

from __future__ import annotations

import pytest
import torch
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmfrcnn_benchmark.counts import count_operators
from mmfrcnn_benchmark.fake_device import DEVICE, fake_device
from mmfrcnn_benchmark.observe import count_waits
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from mmfrcnn.ops.backend import using
from mmfrcnn.structures.image_batch import DataSamples
from tests.shallow import shorten_resnets

from .conftest import ROOT, make_sample

aten = torch.ops.aten
# What training waits for, and an inference: the lists of its results.
WAITS = {'loss': {}, 'predict': {'copy to the host': 1}}
MODELS_OF_CONFIGS = [
    'faster-rcnn_r50_fpn',
    'faster-rcnn_r50-caffe_c4',
    'faster-rcnn_r50-caffe_dc5',
    'faster-rcnn_vgg16',
    'mask-rcnn_r50_fpn',
    'cascade-rcnn_r50_fpn',
    'cascade-mask-rcnn_r50_fpn',
]
PRECISIONS = {'fp32': None, 'fp16': torch.float16, 'bf16': torch.bfloat16}
# Both half precisions take the same way: one of all heads is run in the other too.
CASES = [(name, kind) for kind in ('fp32', 'bf16') for name in MODELS_OF_CONFIGS]
CASES.append((MODELS_OF_CONFIGS[-1], 'fp16'))


def shorten(node):
    """Leave out what would be downloaded, and most proposals."""
    if isinstance(node, dict):
        node.update({key: None for key in ('weights', 'init_cfg') if key in node})
        if 'nms_pre' in node:
            node.update(nms_pre=200, max_per_img=100)
    if isinstance(node, dict | list | tuple):
        for child in node.values() if isinstance(node, dict) else node:
            shorten(child)


class NoDice(TorchDispatchMode):
    """Leaves weights as they are: a fake device forgets them."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function in (aten.uniform_.default, aten.normal_.default):
            return args[0]
        return function(*args, **(kwargs or {}))


def on_fake_device(config):
    """Build a detector as the tools do, and bring it over."""
    shorten(config)
    config.data_preprocessor.non_blocking = True
    with NoDice():
        detector = MODELS.build(config)
    with fake_device():
        return detector.to(DEVICE)


@pytest.fixture(scope='module', autouse=True)
def _short():
    with pytest.MonkeyPatch.context() as patch:
        shorten_resnets(patch)
        yield


@pytest.fixture(scope='module')
def detector(request):
    """Return a shipped model on the fake device."""
    init_default_scope('mmdet')
    path = ROOT / f'configs/_base_/models/{request.param}.py'
    config = Config.fromfile(path).model
    return on_fake_device(config)


def batch_of(sizes):
    """Return a batch as the data loader would: the ground truth is not pinned."""
    batch = [
        make_sample(height, width, count, seed, classes=20, masks=True)
        for seed, (height, width, count) in enumerate(sizes)
    ]
    return dict(
        inputs=[one['inputs'].pin_memory() for one in batch],
        data_samples=[one['data_samples'] for one in batch],
    )


def run(detector, mode, sizes, precision=None):
    """Run a step's forward on the fake device; the result and what was counted."""
    detector.train(mode == 'loss')
    with fake_device(precision) as counted, torch.set_grad_enabled(mode == 'loss'):
        data = detector.data_preprocessor(batch_of(sizes), mode == 'loss')
        counted.total = 0
        return detector(**data, mode=mode), counted


@pytest.mark.parametrize('mode', WAITS)
@pytest.mark.parametrize('detector, precision', sorted(CASES), indirect=['detector'])
def test_a_step_waits_for_nothing_and_an_inference_once(
    detector, precision, mode, monkeypatch
):
    """Nor does any operator's shape depend on data, or a tensor lie elsewhere."""
    # What mmdet does with the masks of each image, once they and the lists are there.
    monkeypatch.setattr(
        FCNMaskHead, 'predict_by_feat', lambda self, masks, results, *_, **__: results
    )
    seen, precision = set(), PRECISIONS[precision]
    with detector.backbone.register_forward_hook(
        lambda _, __, maps: seen.update(one.dtype for one in maps)
    ):
        sizes = [(224, 288, 3), (256, 200, 0)]
        result, counted = run(detector, mode, sizes, precision)
    assert seen == {precision or torch.float32}
    assert counted.waits == WAITS[mode]
    if mode == 'loss':
        for name, loss in result.items():
            losses = loss if isinstance(loss, list) else [loss]
            assert {one.device for one in losses} == {DEVICE}, name
            assert {one.dtype for one in losses} == {torch.float32}, name
    else:
        for one in result:
            assert one.pred_instances.bboxes.shape == (1, 4)  # as the device is fake
            assert one.pred_instances.bboxes.device == DEVICE


@pytest.mark.parametrize('name', MODELS_OF_CONFIGS)
def test_the_backward_pass_needs_no_value(name):
    """Nor a shape that depends on one: its tensors have none, and lie on the host.

    For autograd asks for the device that its tensors say they are on.
    """
    config = Config.fromfile(ROOT / f'configs/_base_/models/{name}.py').model
    shorten(config)
    with NoDice():
        detector = MODELS.build(config).train()
    samples = []
    for seed, (height, width, count) in enumerate([(224, 288, 3), (256, 200, 0)]):
        one = make_sample(height, width, count, seed, classes=20, masks=True)
        samples.append(one['data_samples'])
        size = (256, 288)
        samples[-1].set_metainfo(dict(pad_shape=size, batch_input_shape=size))
    samples = DataSamples(samples, torch.device('cpu'), training=True)
    trained = [p for p in detector.parameters() if p.requires_grad]
    with FakeTensorMode(allow_non_fake_inputs=True), using('reference'):
        losses = detector.loss(torch.rand(2, 3, 256, 288), samples)
        total, _ = detector.parse_losses(losses)
        gradients = torch.autograd.grad(total, trained)
    for gradient, weight in zip(gradients, trained, strict=True):
        assert gradient.shape == weight.shape


@pytest.mark.parametrize('mode', WAITS)
def test_nothing_depends_on_the_size_of_the_batch(our_config, mode):
    model = on_fake_device(our_config)
    totals, waits, copies = [], [], []
    for size in (2, 16):
        # As many objects in the largest image of each batch; some images have none.
        sizes = [(96, 128, 5 if i % 4 == 0 else i % 4 - 1) for i in range(size)]
        run(model, mode, sizes)  # anchors are made once a shape
        _, counted = run(model, mode, sizes)
        totals.append(counted.total)
        waits.append(counted.waits)
        copies.append(counted.copies - size)  # each image is one
        print(f'{mode} batch {size}: {counted.total} operators,', dict(counted.waits))
    assert waits == [WAITS[mode]] * 2
    assert copies == [1 + sum(WAITS[mode].values())] * 2
    # Only detections are packed image by image.
    assert mode == 'predict' or totals[0] == totals[1]
    assert totals[0] < 2672 / 2  # torchvision's, training at batch 8


def test_mmdets_parts_wait_image_by_image(stock_config, build, collate, fabricated):
    """As the benchmark counts them, on a CPU: they need values on their way."""
    model = build(stock_config()).train()
    waits = []
    for size in (1, 3):
        data = collate(model, fabricated([(96, 128, 3)] * size), True)
        counted = count_operators(lambda data=data: model(**data, mode='loss'))
        waits.append(sum(counted.waits.values()))
    assert waits[0] > 20
    assert waits[1] > 2 * waits[0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
@pytest.mark.parametrize('mode', WAITS)
@pytest.mark.parametrize('size', [2, 8])
def test_cuda_waits_as_rarely(our_config, build, collate, fabricated, mode, size):
    """CUDA's own count of what makes the host wait."""
    model = build(our_config).cuda()
    model.train(mode == 'loss')
    data = collate(model, fabricated([(96, 128, 5)] * size), mode == 'loss')
    with torch.set_grad_enabled(mode == 'loss'):
        model(**data, mode=mode)
        waits = count_waits(lambda: model(**data, mode=mode))
    assert waits <= sum(WAITS[mode].values())
