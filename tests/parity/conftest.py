"""Small detectors of our parts and of mmdet's, and batches to run them on."""

from __future__ import annotations

import mmfrcnn  # before mmdet, which it makes importable

# isort: split
import copy
import json
from pathlib import Path

import cv2
import mmdet
import pytest
import torch
from mmdet.models.task_modules.samplers import RandomSampler
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

ROOT = Path(__file__).resolve().parents[2]
OURS = ROOT / 'configs/_base_/models/faster-rcnn_r50_fpn.py'
STOCK = Path(mmdet.__file__).parent / '.mim/configs/_base_/models'
COCO = ROOT.parent / 'shared/data/coco_tiny50'

# What stands in for what: key of the config, mmdet's type, ours.
REPLACEMENTS = {
    'detector': ('FasterRCNN', 'BatchedFasterRCNN'),
    'rpn_head': ('RPNHead', 'RegionProposalHead'),
    'roi_head': ('StandardRoIHead', 'BatchedRoIHead'),
    'cascade': ('CascadeRoIHead', 'BatchedCascadeRoIHead'),
    'extractor': ('SingleRoIExtractor', 'PyramidRoIExtractor'),
    'assigner': ('MaxIoUAssigner', 'AnchorAssigner'),
    'sampler': ('RandomSampler', 'BalancedSampler'),
}


@pytest.fixture(autouse=True)
def _mmdet_scope():
    init_default_scope('mmdet')


def shrink(model, channels=8, neck=16):
    """Make a detector of an R50-FPN config small enough for a CPU."""
    model.backbone.update(
        depth=18, base_channels=channels, init_cfg=None, frozen_stages=-1
    )
    widths = [channels * 2**stage for stage in range(4)]
    model.neck.update(in_channels=widths, out_channels=neck)
    model.rpn_head.update(in_channels=neck, feat_channels=neck)
    roi_head = model.roi_head
    for key in ('bbox_roi_extractor', 'mask_roi_extractor'):
        if key in roi_head:
            roi_head[key].out_channels = neck
    heads = roi_head.bbox_head
    for head in heads if isinstance(heads, list) else [heads]:
        head.update(in_channels=neck, fc_out_channels=32)
    if 'mask_head' in roi_head:
        roi_head.mask_head.update(in_channels=neck, conv_out_channels=neck, num_convs=1)
    return model


@pytest.fixture
def our_config():
    """Return the shipped config of our parts, small."""
    return shrink(Config.fromfile(OURS).model)


@pytest.fixture
def stock_config():
    """Return a maker of mmdet's base config of some algorithm, small."""

    def make(name='faster-rcnn'):
        return shrink(Config.fromfile(STOCK / f'{name}_r50_fpn.py').model)

    return make


@pytest.fixture
def replace_types():
    """Return a function that puts our parts, or some of them, for mmdet's."""

    def replace(config, parts=tuple(REPLACEMENTS), *, back=False):
        pairs = dict(REPLACEMENTS[part][:: -1 if back else 1] for part in parts)

        def walk(node):
            if isinstance(node, dict):
                if node.get('type') in pairs:
                    node['type'] = pairs[node['type']]
                for value in node.values():
                    walk(value)
            elif isinstance(node, (list, tuple)):
                for value in node:
                    walk(value)

        config = copy.deepcopy(config)
        walk(config)
        return config

    return replace


# Standard deviation of what each layer gives, so that scores and boxes vary as those of
# a trained detector and none is saturated.
SPREAD = dict(rpn_cls=0.2, rpn_reg=0.1, fc_cls=2.0, fc_reg=0.5)


def give_weights(model, seed=0):
    """Make random weights that give many, varied proposals and detections."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.normal_(0, 0.1, generator=generator)
    hooks = []
    for name, module in model.named_modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            if module.bias is not None:
                module.bias.data.zero_()
            spread = SPREAD.get(name.rsplit('.', 1)[-1], 1.0)
            hooks.append(module.register_forward_hook(_rescale(spread)))
    sample = make_sample(192, 256, 0, seed)
    data = dict(inputs=[sample['inputs']], data_samples=[sample['data_samples']])
    with torch.no_grad():
        model.eval()(**model.data_preprocessor(data), mode='predict')
    for hook in hooks:
        hook.remove()
    return model


def _rescale(spread):
    """Scale a layer's weight once, at its first use."""
    done = []

    def hook(module, inputs, output):
        if done or output.numel() < 2:
            return output
        done.append(True)
        factor = spread / output.std()
        module.weight.data.mul_(factor)
        return output * factor

    return hook


@pytest.fixture
def build():
    """Return a builder of a detector with random weights."""

    def make(config, seed=0):
        return give_weights(MODELS.build(copy.deepcopy(config)), seed)

    return make


@pytest.fixture
def build_pair(our_config, stock_config, build):
    """Return a builder of (our detector, mmdet's) with equal weights."""

    def make(change=lambda model: None):
        mine, theirs = our_config, stock_config()
        for config in (mine, theirs):
            change(config)
        ours, stock = build(mine), build(theirs)
        stock.load_state_dict(ours.state_dict(), strict=True)
        return ours, stock

    return make


@pytest.fixture
def first_ones(monkeypatch):
    """Make both samplers take the first candidates, positives and negatives."""
    monkeypatch.setattr(
        RandomSampler, 'random_choice', lambda self, gallery, num: gallery[:num]
    )

    def falling(match_labels, draw, images, ids):
        keys = torch.arange(len(ids) - 1, -1, -1, device=ids.device)
        return torch.stack([torch.where(match_labels == n, keys, -1) for n in (1, 0)])

    monkeypatch.setattr(mmfrcnn.modeling.sampler, 'random_keys', falling)


def make_sample(height, width, count, seed, *, classes=80, masks=False, image=None):
    """One image with ``count`` random objects, as the pipeline would pack it."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, 2, generator=generator).sort(dim=1).values
    boxes = (corners * torch.tensor([width - 9.0, height - 9.0])).view(count, 4)
    boxes[:, 2:] += 8
    labels = torch.randint(0, classes, (count,), generator=generator)
    sample = DetDataSample(
        gt_instances=InstanceData(bboxes=boxes, labels=labels),
        metainfo=dict(
            img_id=seed,
            img_shape=(height, width),
            ori_shape=(height // 2, width // 2),
            scale_factor=(2.0, 2.0),
        ),
    )
    sample.ignored_instances = InstanceData(
        bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.int64)
    )
    if masks:
        filled = torch.zeros(count, height, width, dtype=torch.uint8)
        for mask, (x1, y1, x2, y2) in zip(filled, boxes.int().tolist(), strict=True):
            mask[y1:y2, x1:x2] = 1
        sample.gt_instances.masks = BitmapMasks(filled.numpy(), height, width)
    if image is None:
        image = torch.rand(3, height, width, generator=generator) * 255
    return dict(inputs=image.byte(), data_samples=sample)


@pytest.fixture
def fabricated():
    """Return a maker of a batch of noise images of different sizes."""

    def make(
        sizes=((150, 200, 5), (192, 130, 2), (170, 170, 0), (90, 220, 1)), **kwargs
    ):
        return [
            make_sample(height, width, count, seed, **kwargs)
            for seed, (height, width, count) in enumerate(sizes)
        ]

    return make


@pytest.fixture(scope='session')
def coco_images():
    """Six real images of COCO, at most 256 px long, with their boxes and crowds."""
    folder = COCO / 'val2017'
    if not folder.is_dir():
        pytest.skip(f'needs the real images in {folder}')
    content = json.loads((COCO / 'annotations/instances_val2017.json').read_text())
    categories = {one['id']: k for k, one in enumerate(content['categories'])}
    batch = []
    for entry in content['images'][:6]:
        image = cv2.imread(str(folder / entry['file_name']))
        scale = 256 / max(image.shape[:2])
        image = cv2.resize(image, None, fx=scale, fy=scale)
        height, width = image.shape[:2]
        factor = (width / entry['width'], height / entry['height'])
        real, crowd = ([], []), ([], [])
        for one in content['annotations']:
            if one['image_id'] == entry['id']:
                x, y, w, h = one['bbox']
                side = crowd if one['iscrowd'] else real
                side[0].append([x, y, x + w, y + h])
                side[1].append(categories[one['category_id']])
        instances = [
            InstanceData(
                bboxes=torch.tensor(boxes).view(-1, 4) * torch.tensor(factor * 2),
                labels=torch.tensor(labels, dtype=torch.int64),
            )
            for boxes, labels in (real, crowd)
        ]
        sample = DetDataSample(
            gt_instances=instances[0],
            metainfo=dict(
                img_id=entry['id'],
                img_shape=(height, width),
                ori_shape=(entry['height'], entry['width']),
                scale_factor=factor,
            ),
        )
        sample.ignored_instances = instances[1]
        inputs = torch.from_numpy(image).permute(2, 0, 1).contiguous()
        batch.append(dict(inputs=inputs, data_samples=sample))
    return batch


@pytest.fixture
def collate():
    """Return a function that prepares a batch for a detector, leaving it as it was."""

    def prepare(model, batch, training=False):
        data = dict(
            inputs=[one['inputs'] for one in batch],
            data_samples=[one['data_samples'].clone() for one in batch],
        )
        return model.data_preprocessor(data, training)

    return prepare


@pytest.fixture
def train_step(collate):
    """Return a function: losses of one step, after the backward pass.

    And the accuracy, as mmdet's heads give it; not our figures for the log.
    """

    def step(model, batch):
        model.train()
        model.zero_grad()
        losses = model(**collate(model, batch, True), mode='loss')
        total, _ = model.parse_losses(losses)
        total.backward()
        return {
            name: sum(loss) if isinstance(loss, (list, tuple)) else loss
            for name, loss in losses.items()
            if 'loss' in name or 'acc' in name
        }

    return step


@pytest.fixture
def predict(collate):
    """Return a function: predictions of a batch in original image pixels."""

    @torch.no_grad()
    def run(model, batch):
        model.eval()
        results = model(**collate(model, batch), mode='predict')
        return [one.pred_instances for one in results]

    return run
