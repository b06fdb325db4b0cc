"""Faster R-CNN of which some parts are trained and the others stay as they are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from torch import Tensor

from mmfrcnn.modeling.detector import BatchedFasterRCNN


@MODELS.register_module()
class AlternatingFasterRCNN(BatchedFasterRCNN):
    """Faster R-CNN for alternating training (Ren et al. 2015, section 3.2).

    :meth:`train_only` says which parts learn; :class:`AlternatingTrainLoop` calls it at
    the start of each step. Until then, in joint training and in prediction, it is
    ``BatchedFasterRCNN``: arguments, parameter names, checkpoints and results.

    Attributes:
        trained_parts (tuple[str, ...] | None): The parts that learn; None: all.
    """

    trained_parts: tuple[str, ...] | None = None
    _trainable: frozenset[str] | None = None

    def train_only(self, parts: Sequence[str]) -> None:
        """Train some parts, and keep the others bit by bit as they are.

        The others get no gradients and stay in evaluation mode: batch norm keeps its
        statistics, dropout is off. What the config freezes within a part stays frozen.

        Args:
            parts (Sequence[str]): Among ``backbone``, ``neck``, ``rpn_head`` and
                ``roi_head``. With ``rpn_head``, the loss is the RPN's alone; with
                ``roi_head``, it is Fast R-CNN's on the proposals in the data samples;
                with both, that of joint training.
        """
        if self._trainable is None:
            self._trainable = frozenset(
                name for name, value in self.named_parameters() if value.requires_grad
            )
        self.trained_parts = tuple(parts)
        for name, value in self.named_parameters():
            value.requires_grad_(
                name in self._trainable and name.partition('.')[0] in parts
            )
        self.train(self.training)

    def train(self, mode: bool = True) -> AlternatingFasterRCNN:
        """Switch to training, all but the parts that are not trained."""
        super().train(mode)
        for name, child in self.named_children():
            if self.trained_parts is not None and name not in self.trained_parts:
                child.eval()
        return self

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict:
        """Return the losses of the parts that are trained.

        Args:
            batch_inputs (Tensor): Normalised images, shape (N, 3, H, W).
            batch_data_samples (list[DetDataSample]): Ground truth and, where
                ``roi_head`` alone is trained, ``proposals`` of each image.

        Returns:
            dict: Losses by name.
        """
        heads = {'rpn_head', 'roi_head'}
        if self.trained_parts is None or heads <= set(self.trained_parts):
            return super().loss(batch_inputs, batch_data_samples)
        features = self.extract_feat(batch_inputs)
        if 'roi_head' in self.trained_parts:
            proposals = [sample.proposals for sample in batch_data_samples]
            return self.roi_head.loss(features, proposals, batch_data_samples)
        for sample in batch_data_samples:  # mmdet's RPNHead expects the one class 0
            gt = sample.gt_instances
            gt.labels = torch.zeros_like(gt.labels)
        return self.rpn_head.loss(features, batch_data_samples)
