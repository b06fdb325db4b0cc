"""mmdet's Faster R-CNN, less the copies that it makes of every image's ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmdet.models.detectors import FasterRCNN
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmengine.structures import InstanceData
from torch import Tensor

from mmfrcnn.modeling.cascade_roi_head import BatchedCascadeRoIHead
from mmfrcnn.modeling.data_preprocessor import BatchedDataPreprocessor
from mmfrcnn.modeling.roi_head import BatchedRoIHead
from mmfrcnn.modeling.rpn_head import RegionProposalHead
from mmfrcnn.structures.image_batch import DataSamples


@MODELS.register_module()
class BatchedFasterRCNN(FasterRCNN):
    """Faster R-CNN (Ren et al. 2015) whose work outside the heads is batched too.

    mmdet's detector copies each data sample, to give the RPN labels that are all zero:
    some thirty small operators an image, masks and all. :class:`RegionProposalHead`
    asks for no labels, so nothing is copied. Where both heads are ours, what they need
    of the data samples goes to the device in one piece, and mmdet's data preprocessor,
    which would move it tensor by tensor, is replaced by one that leaves it there.
    Arguments, parameter names and results are those of mmdet's ``FasterRCNN``.
    """

    data_preprocessor: Any

    def __init__(
        self,
        backbone: dict,
        rpn_head: dict | None,
        roi_head: dict,
        train_cfg: dict | None,
        test_cfg: dict,
        neck: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(
            backbone=backbone,
            rpn_head=rpn_head,
            roi_head=roi_head,
            train_cfg=train_cfg,
            test_cfg=test_cfg,
            neck=neck,
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
        )
        # A head of mmdet's expects to find the ground truth on the device.
        ours = isinstance(getattr(self, 'rpn_head', None), RegionProposalHead | None)
        if ours and isinstance(self.roi_head, BatchedRoIHead | BatchedCascadeRoIHead):
            self.data_preprocessor = BatchedDataPreprocessor.of(self.data_preprocessor)

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict:
        """Return the losses of both stages.

        Args:
            batch_inputs (Tensor): Normalised images, shape (N, 3, H, W).
            batch_data_samples (list[DetDataSample]): Ground truth of each image.

        Returns:
            dict: Losses by name, and the accuracy of the second stage.
        """
        if not isinstance(getattr(self, 'rpn_head', None), RegionProposalHead):
            return super().loss(batch_inputs, batch_data_samples)
        samples = DataSamples.of(batch_data_samples, batch_inputs.device, training=True)
        features = self.extract_feat(batch_inputs)
        losses, proposals = self.rpn_head.loss_and_predict(
            features,
            samples,
            proposal_cfg=self.train_cfg.get('rpn_proposal', self.test_cfg.rpn),
        )
        losses.update(self.roi_head.loss(features, proposals, samples))
        return losses

    def predict(
        self,
        batch_inputs: Tensor,
        batch_data_samples: SampleList,
        rescale: bool = True,
    ) -> SampleList:
        """Return the data samples with ``pred_instances``.

        Args:
            batch_inputs (Tensor): Normalised images, shape (N, 3, H, W).
            batch_data_samples (list[DetDataSample]): Meta information of each image.
            rescale (bool): Whether boxes are in pixels of the original images.
        """
        samples = DataSamples(batch_data_samples, batch_inputs.device, training=False)
        results = self.detect(batch_inputs, samples, rescale)
        return self.add_pred_to_datasample(samples, results)

    def detect(
        self, batch_inputs: Tensor, samples: DataSamples, rescale: bool
    ) -> Sequence[InstanceData]:
        """Return the detections of each image, of our heads in slots.

        Arguments are those of :meth:`predict`; ``samples`` may bring proposals along.
        """
        features = self.extract_feat(batch_inputs)
        if samples[0].get('proposals') is None:
            proposals = self.rpn_head.predict(features, samples, rescale=False)
        else:
            proposals = [sample.proposals for sample in samples]
        return self.roi_head.predict(features, proposals, samples, rescale=rescale)
