"""Inference up to the detections in slots as CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from mmfrcnn.errors import UserError
from mmfrcnn.modeling.nms_config import plain_nms_threshold
from mmfrcnn.structures.detections import Detections
from mmfrcnn.structures.image_batch import DataSamples
from mmfrcnn.training.cuda_graphs import check_heads
from mmfrcnn.training.recording import Record, Recorder

# Of :class:`Detections`.
FIELDS = ('boxes', 'scores', 'labels', 'mask')


class RecordedDetection:
    """Stands for a detector's ``detect``; its results are the same.

    Args:
        detector (BatchedFasterRCNN): With our heads and plain NMS.
        record (Callable): Records a module.
        report (Callable): Told what was recorded.

    Raises:
        UserError: If the detector has a part whose work depends on data.
    """

    def __init__(
        self, detector: Any, record: Record, report: Callable[[str], None]
    ) -> None:
        check_heads(detector)
        if detector.roi_head.with_mask:
            raise UserError(
                '--cuda-graphs: masks are drawn into each image by mmdet, which waits '
                'several times. Go without it for models with a mask head.'
            )
        nms = detector.roi_head.test_cfg['nms']
        if plain_nms_threshold(nms) is None:
            raise UserError(
                f"--cuda-graphs: NMS of the type '{nms.get('type')}' is mmdet's, which "
                'waits for each image. Go without it.'
            )
        self.recorders = {
            rescale: Recorder(detector, self._work(rescale), record, report)
            for rescale in (False, True)
        }
        self.detect = detector.detect

    def _work(self, rescale: bool) -> Callable[[Tensor, DataSamples], dict]:
        def detect(batch_inputs: Tensor, samples: DataSamples) -> dict[str, Tensor]:
            found = self.detect(batch_inputs, samples, rescale)
            return {name: getattr(found, name) for name in FIELDS}

        return detect

    def __call__(
        self, batch_inputs: Tensor, samples: DataSamples, rescale: bool
    ) -> Detections:
        """Return the detections of a batch, as ``detector.detect`` does."""
        step = self.recorders[rescale].step(batch_inputs, samples)
        found = step(batch_inputs, samples)
        # The next replay writes over what this one has found.
        return Detections(**{name: tensor.clone() for name, tensor in found.items()})
