"""What was found in one image, in the forms that people go on with."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from PIL import Image

from mmfrcnn.deploy.inputs import Given
from mmfrcnn.errors import UserError
from mmfrcnn.evaluation.coco_results import coco_results
from mmfrcnn.visualization.painter import Painter


@dataclass(frozen=True, eq=False, repr=False)
class Found:
    """The D objects found in an image, best first, as numpy arrays.

    Attributes:
        boxes (np.ndarray): xyxy in pixels of the image, after its EXIF rotation,
            float32, shape (D, 4).
        scores (np.ndarray): In [0, 1], float32, shape (D,).
        labels (np.ndarray): Index in ``classes``, int64, shape (D,).
        masks (np.ndarray | None): bool, shape (D, height, width); None of a model
            without masks.
        image_size (tuple[int, int]): (width, height) of the image, in pixels.
        classes (tuple[str, ...]): Names of all classes that the detector knows.
        given (Given): The image; ``draw`` reads it.
        palette (Any): Colours of the classes.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    masks: np.ndarray | None
    image_size: tuple[int, int]
    classes: tuple[str, ...]
    given: Given
    palette: Any = field(default='random')

    @classmethod
    def of(
        cls, sample: DetDataSample, given: Given, classes: tuple[str, ...], palette: Any
    ) -> Found:
        """Return what a detector of mmdet's found in an image."""
        found = sample.pred_instances.cpu()
        height, width = sample.ori_shape
        return cls(
            found.bboxes.numpy(),
            found.scores.numpy(),
            found.labels.numpy(),
            found.masks.numpy() if 'masks' in found else None,
            (width, height),
            classes,
            given,
            palette,
        )

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        counts = Counter(self.names).most_common()
        what = ', '.join(f'{count} {name}' for name, count in counts) or 'nothing'
        where = f' in {self.path}' if self.path else ''
        width, height = self.image_size
        return f'Found({what}{where}, {width}x{height})'

    @property
    def names(self) -> list[str]:
        """Class name of each object."""
        return [self.classes[label] for label in self.labels]

    @property
    def path(self) -> str | None:
        """The file of the image, if it was given as one."""
        return self.given.path

    def filter(self, score: float) -> Found:
        """Return the objects of this score and better."""
        kept = self.scores >= score
        return replace(
            self,
            boxes=self.boxes[kept],
            scores=self.scores[kept],
            labels=self.labels[kept],
            masks=None if self.masks is None else self.masks[kept],
        )

    def draw(self, score: float = 0.3) -> Image.Image:
        """Return the image, RGB, with the objects of this score and better on it.

        The image is read anew if it was given as a path.

        Raises:
            UserError: If it can't be read any more, or has another size now.
        """
        picture = self.given.read()[..., ::-1]
        if picture.shape[1::-1] != self.image_size:
            raise UserError(
                f'{self.path or self.given.name} is another image now: it was of '
                f'{self.image_size[0]}x{self.image_size[1]} pixels'
            )
        shown = self.filter(score)
        objects = InstanceData(
            bboxes=torch.from_numpy(shown.boxes),
            scores=torch.from_numpy(shown.scores),
            labels=torch.from_numpy(shown.labels),
        )
        if shown.masks is not None:
            objects.masks = torch.from_numpy(shown.masks)
        painter = Painter(self.classes, self.palette)
        return Image.fromarray(painter.draw(np.ascontiguousarray(picture), objects))

    def to_coco(
        self, image_id: int = 1, category_ids: Sequence[int] | None = None
    ) -> list[dict[str, Any]]:
        """Return the objects in COCO's results format, masks as its run lengths.

        Args:
            image_id (int): Of the image.
            category_ids (Sequence[int] | None): Category of each label; None:
                label + 1.

        Returns:
            list[dict]: ``image_id``, ``category_id``, ``bbox`` as (x, y, width,
            height), ``score`` and, with masks, ``segmentation`` of each object.
        """
        return coco_results(
            image_id,
            torch.from_numpy(self.boxes),
            torch.from_numpy(self.scores),
            torch.from_numpy(self.labels),
            None if self.masks is None else torch.from_numpy(self.masks),
            category_ids,
        )

    def to_dataframe(self) -> Any:
        """Return a ``pandas.DataFrame``: x1, y1, x2, y2, score, label, name.

        Raises:
            UserError: If pandas is not installed.
        """
        pandas = _package('pandas', 'to_dataframe()')
        columns = dict(zip(('x1', 'y1', 'x2', 'y2'), self.boxes.T, strict=True))
        rest = {'score': self.scores, 'label': self.labels, 'name': self.names}
        return pandas.DataFrame({**columns, **rest})

    def to_supervision(self) -> Any:
        """Return ``supervision.Detections``, class names in ``data['class_name']``.

        Raises:
            UserError: If supervision is not installed.
        """
        supervision = _package('supervision', 'to_supervision()')
        return supervision.Detections(
            xyxy=self.boxes,
            confidence=self.scores,
            class_id=self.labels,
            mask=self.masks,
            data={'class_name': np.array(self.names, dtype=str)},
        )


def _package(name: str, wanted_by: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise UserError(
            f'{wanted_by} needs {name}, which is not installed: pip install {name}'
        ) from None
