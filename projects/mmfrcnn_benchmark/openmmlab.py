"""Two contenders that are mmdet configs: our parts, and mmdet's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import mmdet
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from torch import Tensor, nn

import mmfrcnn
from mmfrcnn.deploy.cuda_graphs import RecordedDetection
from mmfrcnn.deploy.prepare import prepare_for_inference
from mmfrcnn.errors import UserError
from mmfrcnn.training.cuda_graphs import RecordedLoss
from mmfrcnn.training.recording import CudaGraphs
from mmfrcnn.training.regions import common_regions, our_regions
from mmfrcnn.training.stages import Region
from mmfrcnn_benchmark.contenders import (
    PROPOSALS,
    PROPOSALS_BEFORE_NMS,
    SCORE_THRESHOLD,
    Contender,
)
from mmfrcnn_benchmark.weights import shared_weights
from mmfrcnn_benchmark.workload import Scene

OUR_CONFIG = (
    Path(__file__).resolve().parents[2] / 'configs/_base_/models/faster-rcnn_r50_fpn.py'
)
# As `tools/test.py --precision` names them.
PRECISIONS = {'float32': 'fp32', 'bfloat16': 'bf16', 'float16': 'fp16'}
STOCK_CONFIG = '.mim/configs/_base_/models/faster-rcnn_r50_fpn.py'


class _OpenMMLab(Contender):
    config_file: ClassVar[Path]
    truth_on_host: ClassVar[bool] = False

    def build(self) -> nn.Module:
        model = build_detector(self.config_file, self.work.classes)
        model.load_state_dict(shared_weights(self.work.classes))
        return model

    def prepare(self, scenes: list[Scene]) -> dict:
        device = self.work.device
        truth_device = 'cpu' if self.truth_on_host else device
        samples = []
        for number, scene in enumerate(scenes):
            height, width = scene.image.shape[1:]
            sample = DetDataSample(
                gt_instances=InstanceData(
                    bboxes=scene.boxes.to(truth_device),
                    labels=scene.labels.to(truth_device),
                ),
                ignored_instances=InstanceData(
                    bboxes=scene.boxes[:0].to(truth_device),
                    labels=scene.labels[:0].to(truth_device),
                ),
                metainfo=dict(
                    img_id=number,
                    img_shape=(height, width),
                    ori_shape=(height, width),
                    scale_factor=(1.0, 1.0),
                ),
            )
            samples.append(sample)
        # BGR, as mmdet's loading gives it.
        inputs = [scene.image.flip(0).to(device) for scene in scenes]
        return dict(inputs=inputs, data_samples=samples)

    def losses(self, batch: dict) -> Tensor:
        data = self.model.data_preprocessor(batch, True)
        return self.model.parse_losses(self.model(**data, mode='loss'))[0]

    def detect(self, batch: dict) -> list[tuple[Tensor, Tensor, Tensor]]:
        data = self.model.data_preprocessor(batch, False)
        found = [one.pred_instances for one in self.model(**data, mode='predict')]
        return [(one.bboxes, one.scores, one.labels) for one in found]

    def without_preprocessing(self, batch: dict) -> Callable[[], object]:
        data = self.model.data_preprocessor(batch, self.training)
        mode = 'loss' if self.training else 'predict'
        return lambda: self.model(**data, mode=mode)

    def up_to_neck(self) -> list[nn.Module]:
        return [self.model.backbone, self.model.neck]

    def neck_output(self, maps: list[Tensor]) -> tuple[Tensor, ...]:
        return tuple(maps)


class Ours(_OpenMMLab):
    """This package's parts in the shipped R50-FPN config."""

    name = 'mmfrcnn'
    config_file = OUR_CONFIG
    truth_on_host = True  # from where the heads take it, as part of the step

    def build(self) -> nn.Module:
        """Build it as our tools do: rearranged for inference where it only infers."""
        model = super().build()
        if self.training:
            return model
        model.to(self.work.device)  # which decides what suits it
        return prepare_for_inference(model, precision=PRECISIONS[self.work.precision])

    @classmethod
    def version(cls) -> str:
        """Return the version of this package."""
        return mmfrcnn.__version__

    def regions(self) -> list[Region]:
        """Say which functions are which stage."""
        return [*common_regions(self.model), *our_regions(self.model)]


class Recorded(Ours):
    """The same, recorded as CUDA graphs with the first batch."""

    name = 'mmfrcnn, recorded'

    def build(self) -> nn.Module:
        """Record loss or detection, and again after each change of their memory."""
        model = super().build()
        if self.training:
            model.loss = RecordedLoss(model, CudaGraphs(), print)
        else:
            model.detect = RecordedDetection(model, CudaGraphs(), print)
        return model


class StockMMDet(_OpenMMLab):
    """mmdet's own Faster R-CNN, from the config in its wheel."""

    name = 'mmdet'
    config_file = Path(mmdet.__file__).parent / STOCK_CONFIG

    @classmethod
    def version(cls) -> str:
        """Return mmdet's version."""
        return mmdet.__version__

    def regions(self) -> list[Region]:
        """Say which functions are which stage."""
        rpn_head, roi_head = self.model.rpn_head, self.model.roi_head
        matching = 'anchors, assignment, sampling'
        return [
            *common_regions(self.model),
            Region(rpn_head, 'get_anchors', matching),
            Region(rpn_head, 'get_targets', matching),
            Region(roi_head, 'bbox_loss', 'RoI features'),
            Region(roi_head.bbox_head, 'loss_and_target', 'head losses'),
        ]


def build_detector(config_file: Path, classes: int) -> Any:
    """Build an R50-FPN config of mmdet's for a number of classes, at random weights."""
    if not config_file.is_file():
        raise UserError(
            f'{config_file} is missing: the benchmark runs in a checkout of the '
            'repository, with the mmdet wheel'
        )
    init_default_scope('mmdet')
    config = Config.fromfile(config_file).model
    config.backbone.init_cfg = None
    config.roi_head.bbox_head.num_classes = classes
    config.train_cfg.rpn_proposal.update(
        nms_pre=PROPOSALS_BEFORE_NMS[True], max_per_img=PROPOSALS
    )
    config.test_cfg.rpn.update(
        nms_pre=PROPOSALS_BEFORE_NMS[False], max_per_img=PROPOSALS
    )
    config.test_cfg.rcnn.score_thr = SCORE_THRESHOLD
    return MODELS.build(config)
