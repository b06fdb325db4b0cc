"""Our detectors from the shipped configs, from a file to its boxes."""

from __future__ import annotations

from pathlib import Path

import torch
from mmcv.transforms import Compose
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from torch import Tensor, nn

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


def load(name: str) -> Config:
    """Read a shipped config; nothing is to be downloaded."""
    config = Config.fromfile(CONFIGS / f'{name}.py')
    init_default_scope('mmdet')
    return without_download(config)


def without_download(config: Config) -> Config:
    parts = [config.model.backbone, config.model.roi_head.get('shared_head')]
    for part in filter(None, parts):
        part.init_cfg = None
        if 'weights' in part:
            part.weights = None
    return config


def build(config: Config, weights: dict[str, Tensor] | None = None) -> nn.Module:
    model = MODELS.build(config.model).eval()
    if weights is not None:
        model.load_state_dict(weights, strict=True)
    return model


@torch.no_grad()
def detect(model: nn.Module, config: Config, picture: Path, scale: tuple[int, int]):
    """Run the config's test pipeline at another scale, and the model."""
    pipeline = [
        dict(step, scale=scale) if 'scale' in step else step
        for step in config.test_dataloader.dataset.pipeline
        if step['type'] != 'LoadAnnotations'
    ]
    data = Compose(pipeline)(dict(img_path=str(picture), img_id=0))
    found: InstanceData = model.test_step(pseudo_collate([data]))[0].pred_instances
    return found
