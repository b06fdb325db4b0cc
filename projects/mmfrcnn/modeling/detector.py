"""mmdet's Faster R-CNN, less the copies that it makes of every image's ground truth."""

from __future__ import annotations

from mmdet.models.detectors import FasterRCNN
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from torch import Tensor

from mmfrcnn.modeling.rpn_head import RegionProposalHead


@MODELS.register_module()
class BatchedFasterRCNN(FasterRCNN):
    """Faster R-CNN (Ren et al. 2015) whose work outside the heads is batched too.

    mmdet's detector copies each data sample, to give the RPN labels that are all zero:
    some thirty small operators an image, masks and all. :class:`RegionProposalHead`
    asks for no labels, so nothing is copied. Arguments, parameter names and results are
    those of mmdet's ``FasterRCNN``.
    """

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
        features = self.extract_feat(batch_inputs)
        losses, proposals = self.rpn_head.loss_and_predict(
            features,
            batch_data_samples,
            proposal_cfg=self.train_cfg.get('rpn_proposal', self.test_cfg.rpn),
        )
        losses.update(self.roi_head.loss(features, proposals, batch_data_samples))
        return losses
