"""A shipped config on small pictures: all of its parts, fewer and smaller boxes."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path

import torch
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config, ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper

from .pictures import coco_leaf

LONGEST = 128  # pixels of the longer side of a picture
PROPOSALS, SAMPLES, DETECTIONS = 60, 16, 5
SPLITS = ('train', 'val', 'test')
FIRST_RATE = 0.001  # of the learning rate: where schedules begin


def shrink(config: Config) -> Config:
    """Return the config with small pictures, few proposals, and nothing to download."""
    config = copy.deepcopy(config)
    _visit(config.model, _without_download)
    _visit(config.model, _with_few_boxes)
    for split in ('train', 'test'):
        _visit(config[f'{split}_dataloader'].dataset, _with_small_pipeline)
    _visit(config.get('tta_pipeline', []), _with_small_pictures)
    return config


def shallow(config: Config) -> Config:
    """Let ResNet-101s have the blocks of a ResNet-50, and box heads less to do."""
    _visit(config.model, _with_fewer_layers)
    return config


def narrow(config: Config) -> Config:
    """Make a quarter-width backbone of a ResNet-18, and a narrow box head."""
    if config.model.backbone.type == 'ResNet':
        config.model.backbone.base_channels = 16
        config.model.neck.in_channels = [16, 32, 64, 128]
    config.model.roi_head.bbox_head.fc_out_channels = 32
    return config


def _visit(node, change) -> None:
    """Apply a change to every dict below a config node."""
    if isinstance(node, dict):
        change(node)
    for child in node.values() if isinstance(node, dict) else node:
        if isinstance(child, dict | list | tuple):
            _visit(child, change)


def _without_download(node: dict) -> None:
    if isinstance(node.get('weights'), str):
        node['weights'] = None
    init = node.get('init_cfg')
    if isinstance(init, dict) and init.get('type') == 'Pretrained':
        node['init_cfg'] = None


def _with_few_boxes(node: dict) -> None:
    if 'nms_pre' in node:
        node.update(nms_pre=4 * PROPOSALS, max_per_img=PROPOSALS)
    elif 'score_thr' in node:  # so that an untrained head detects something
        node.update(score_thr=0.0, max_per_img=DETECTIONS)
    if 'strides' in node and 'scales' in node:  # anchors, like the pictures
        node['scales'] = [scale / 4 for scale in node['scales']]
    if 'num' in node.get('sampler', {}) and 'allowed_border' not in node:
        node['sampler']['num'] = SAMPLES


def _with_fewer_layers(node: dict) -> None:
    if node.get('depth') == 101:
        node['depth'] = 50
    if 'fc_out_channels' in node:
        node['fc_out_channels'] = 64
    if 'nms_pre' in node:
        node['max_per_img'] = PROPOSALS // 3


def _with_small_pipeline(node: dict) -> None:
    _visit(node.get('pipeline', []), _with_small_pictures)


def _with_small_pictures(node: dict) -> None:
    for key, value in node.items():
        if 'scale' in key or 'size' in key:
            node[key] = _smaller(value)
        elif key == 'border':  # of a mosaic: minus half a picture's side
            node[key] = (-LONGEST // 2, -LONGEST // 2)


def _smaller(value):
    """Scale pixels, but not flags, factors and such, so that they fit ``LONGEST``."""
    if isinstance(value, list | tuple):
        if value and isinstance(value[0], list | tuple):
            return [_smaller(inner) for inner in value]
        numbers = [v for v in value if isinstance(v, int | float)]
        if numbers and max(numbers) > LONGEST:
            return tuple(round(v * LONGEST / max(numbers)) for v in numbers)
    elif isinstance(value, int) and value > LONGEST:
        return LONGEST
    return value


def leaves(dataset: dict) -> list[ConfigDict]:
    """List the data sets inside any wrappers."""
    inner = [*dataset.get('datasets', ()), dataset.get('dataset')]
    inner = [one for one in inner if one]
    return [leaf for one in inner for leaf in leaves(one)] if inner else [dataset]


def wants_proposals(config: Config) -> bool:
    """Whether the training data has proposals stored beforehand."""
    inside = leaves(config.train_dataloader.dataset)
    steps = [step['type'] for leaf in inside for step in leaf.get('pipeline', ())]
    return 'LoadStoredProposals' in steps


def num_classes(config: Config) -> int:
    """Return the number of classes of a detector's config, at most COCO's 80."""
    found = [80]
    _visit(config.model, lambda node: found.append(node.get('num_classes', 80)))
    return min(n for n in found if n > 1)


def on_pictures(config: Config, source: Path) -> None:
    """Put a folder of COCO's form in place of every data set, inside its wrappers."""
    loaders = {split: config[f'{split}_dataloader'] for split in SPLITS}
    for split in filter(loaders.get, SPLITS):
        for leaf in leaves(loaders[split].dataset):
            pipeline = leaf.pipeline
            leaf.clear()
            leaf.update(coco_leaf(source, pipeline, num_classes(config)))
            leaf.test_mode = split != 'train'


def load(config: Config, split: str, source: Path, count: int = 2) -> list[dict]:
    """Run ``count`` pictures with objects through a split's pipeline."""
    config = copy.deepcopy(config)
    on_pictures(config, source)
    dataset = DATASETS.build(config[f'{split}_dataloader'].dataset)
    items = (dataset[index] for index in range(len(dataset)))
    with_objects = (item for item in items if len(item['data_samples'].gt_instances))
    return list(itertools.islice(with_objects, count))


def build(model: ConfigDict) -> torch.nn.Module:
    """Build a detector with the random weights that training would begin with."""
    torch.manual_seed(0)
    MMLogger.get_current_instance().setLevel('WARNING')  # not a line a parameter
    detector = MODELS.build(copy.deepcopy(model))
    detector.init_weights()
    return detector


def train_step(detector: torch.nn.Module, config: Config, items: list[dict]) -> dict:
    """Do one step with the config's optimizer; return the losses.

    The gradients are left for whoever looks at them.
    """
    optimizer = copy.deepcopy(config.optim_wrapper)
    optimizer.optimizer.lr *= FIRST_RATE
    wrapper = build_optim_wrapper(detector, optimizer)
    detector.train()
    data = detector.data_preprocessor(pseudo_collate(items), True)
    losses = detector(**data, mode='loss')
    total, _ = detector.parse_losses(losses)
    detector.zero_grad()
    wrapper.backward(total)
    wrapper.step()
    return {
        name: sum(loss) if isinstance(loss, list | tuple) else loss
        for name, loss in losses.items()
    }


@torch.no_grad()
def predict(detector: torch.nn.Module, items: list[dict]) -> list:
    """Return the data samples of pictures, with predictions."""
    detector.eval()
    return detector.test_step(pseudo_collate(items))
