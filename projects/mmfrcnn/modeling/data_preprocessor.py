"""Images to the device, normalised and padded; what is known of them stays behind.

Shapes: N images, (H, W) the padded size.
"""

from __future__ import annotations

from typing import Any

import torch
from mmdet.models import DetDataPreprocessor
from mmdet.models.utils.misc import samplelist_boxtype2tensor
from torch import Tensor


class BatchedDataPreprocessor(DetDataPreprocessor):
    """mmdet's preprocessor without the copies that make the host wait.

    mmdet's moves four tensors of ground truth an image, and reorders channels by a list
    of indices that is copied to the device for each image. Here the ground truth stays
    on the host, from where our heads bring it over in slots
    (:class:`~mmfrcnn.structures.image_batch.ImageBatch`). Images come out equal to the
    bit.
    """

    @classmethod
    def of(cls, preprocessor: Any) -> Any:
        """Return this class's in place of mmdet's, and any other as it is."""
        if type(preprocessor) is not DetDataPreprocessor:
            return preprocessor
        batched = cls.__new__(cls)
        batched.__dict__.update(preprocessor.__dict__)
        return batched

    def forward(self, data: dict, training: bool = False) -> dict:
        """Move and normalise the images of a batch.

        Args:
            data (dict): ``inputs``, N images (3, h, w), uint8, or one tensor of all;
                ``data_samples``, N data samples or None.
            training (bool): Whether to augment, and to pad masks.

        Returns:
            dict: ``inputs`` (N, 3, H, W), float32; ``data_samples``, of which only meta
            information and masks change.
        """
        padded = self._get_pad_shape(data)
        inputs = self._batch(self.cast_data(data['inputs']), padded)
        samples = data.get('data_samples')
        if samples is not None:
            samples = [sample.detach() for sample in samples]  # the caller's stay
            for sample, shape in zip(samples, padded, strict=True):
                sample.set_metainfo(
                    dict(batch_input_shape=tuple(inputs.shape[-2:]), pad_shape=shape)
                )
            if self.boxtype2tensor:
                samplelist_boxtype2tensor(samples)
            if self.pad_mask and training:
                self.pad_gt_masks(samples)
            if self.pad_seg and training:
                self.pad_gt_sem_seg(samples)
        if training and self.batch_augments is not None:
            for augment in self.batch_augments:
                inputs, samples = augment(inputs, samples)
        return dict(inputs=inputs, data_samples=samples)

    def _batch(self, images: Any, padded: list[tuple[int, int]]) -> Tensor:
        """Normalise N images (3, h, w), each in its corner of (N, 3, H, W)."""
        size = [max(side) for side in zip(*padded, strict=True)]
        shape = len(images), len(images[0]), *size
        batch = images[0].new_full(shape, self.pad_value, dtype=torch.float32)
        for image, place in zip(images, batch, strict=True):
            place = place[:, : image.shape[1], : image.shape[2]]
            if self._channel_conversion:
                image = image.flip(0)
            if self._enable_normalize:
                torch.div(image.float() - self.mean, self.std, out=place)
            else:
                place.copy_(image)
        return batch
