"""The ledger as columns, and as a file that no reader has to trust.

The file is an ``.npz`` of plain arrays: ``numpy.load`` reads it as it is by default,
and nothing in it is executed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from mmfrcnn.errors import UserError, reason_of
from mmfrcnn.evaluation.ledger.fates import FATES
from mmfrcnn.evaluation.ledger.layout import check_layout
from mmfrcnn.evaluation.ledger.matching import THRESHOLDS
from mmfrcnn.evaluation.ledger.mistakes import NAMES
from mmfrcnn.evaluation.ledger.page import Page, about_all, joined, places_of_all

GROUPS = ('size', 'aspect', 'crowding', 'position', 'level')


@dataclass(frozen=True, eq=False)
class Columns:
    """A row an image, a row an object that counts and a row a detection.

    Of I images, G objects, D detections and T thresholds of IoU:

    Attributes:
        image_id (np.ndarray): Texts, (I,).
        image_path (np.ndarray): Texts, (I,).
        image_size (np.ndarray): (width, height) in pixels, int64, (I, 2).
        image_scale (np.ndarray): What width and height were scaled by for the network,
            float64, (I, 2).
        object_image (np.ndarray): Place among the images, int64, (G,).
        object_label (np.ndarray): Place among the classes, int64, (G,).
        object_fate (np.ndarray): Place among the fates, int64, (G,).
        object_box (np.ndarray): xyxy in pixels of the image, float64, (G, 4).
        object_anchor_iou (np.ndarray): Of the nearest anchor, NaN without anchors,
            float64, (G,).
        object_anchor_box (np.ndarray): That anchor, xyxy in pixels of the image, NaN
            without, float64, (G, 4).
        object_proposal_iou (np.ndarray): Of the nearest proposal, NaN without
            proposals, float64, (G,).
        object_proposal_box (np.ndarray): That proposal, as the anchor, (G, 4).
        object_detection_iou (np.ndarray): Of the nearest detection, of whatever class,
            NaN without detections, float64, (G,).
        object_detection (np.ndarray): Place of it among the detections, -1 if there is
            none, int64, (G,).
        object_rank (np.ndarray): Of the first proposal that finds it at IoU .5,
            infinite if none does, float64, (G,).
        object_size (np.ndarray): Its group by size, a text, (G,).
        object_aspect (np.ndarray): By aspect, (G,).
        object_crowding (np.ndarray): By what is near, (G,).
        object_position (np.ndarray): By where it lies, (G,).
        object_level (np.ndarray): By the level of its nearest anchor, '' without, (G,).
        detection_image (np.ndarray): Place among the images, int64, (D,).
        detection_label (np.ndarray): Place among the classes, int64, (D,).
        detection_kind (np.ndarray): Place among the kinds, int64, (D,).
        detection_object (np.ndarray): Place among the objects that it finds, or would
            without its mistake, -1 if there is none, int64, (D,).
        detection_box (np.ndarray): xyxy in pixels of the image, float32, (D, 4).
        detection_score (np.ndarray): float32, (D,).
        detection_hits (np.ndarray): Whether it finds an object at each of the
            thresholds: 1, 0, or -1 for one that counts for nobody, int8, (T, D).
        thresholds (np.ndarray): COCO's IoUs, float64, (T,).
        classes (np.ndarray): Names, texts.
        fates (np.ndarray): Names, texts.
        kinds (np.ndarray): Names, texts.
    """

    image_id: np.ndarray
    image_path: np.ndarray
    image_size: np.ndarray
    image_scale: np.ndarray
    object_image: np.ndarray
    object_label: np.ndarray
    object_fate: np.ndarray
    object_box: np.ndarray
    object_anchor_iou: np.ndarray
    object_anchor_box: np.ndarray
    object_proposal_iou: np.ndarray
    object_proposal_box: np.ndarray
    object_detection_iou: np.ndarray
    object_detection: np.ndarray
    object_rank: np.ndarray
    object_size: np.ndarray
    object_aspect: np.ndarray
    object_crowding: np.ndarray
    object_position: np.ndarray
    object_level: np.ndarray
    detection_image: np.ndarray
    detection_label: np.ndarray
    detection_kind: np.ndarray
    detection_object: np.ndarray
    detection_box: np.ndarray
    detection_score: np.ndarray
    detection_hits: np.ndarray
    thresholds: np.ndarray
    classes: np.ndarray
    fates: np.ndarray
    kinds: np.ndarray

    @classmethod
    def of(cls, pages: Sequence[Page], classes: Sequence[str]) -> Columns:
        """Put the accounts of images together.

        Args:
            pages (Sequence[Page]): The account of each image.
            classes (Sequence[str]): Names of the classes.
        """
        objects = [len(page.labels) for page in pages]
        detections = [len(page.scores) for page in pages]
        fates = list(FATES)
        lost = [[fates.index(fate) for fate in page.fates] for page in pages]
        nearest = [page.nearest for page in pages]
        numbers = np.arange(len(pages))
        sizes = [page.shape[1::-1] for page in pages]
        scales = [page.scale for page in pages]
        hits = [np.zeros((len(THRESHOLDS), 0)), *(page.hits for page in pages)]
        groups = {
            f'object_{kind}': np.array(
                [
                    name
                    for page in pages
                    for name in page.groups.get(kind) or [''] * len(page.labels)
                ],
                str,
            )
            for kind in GROUPS
        }
        return cls(
            image_id=np.array([str(page.image_id) for page in pages], str),
            image_path=np.array([page.path for page in pages], str),
            image_size=np.array(sizes, np.int64).reshape(-1, 2),
            image_scale=np.array(scales, np.float64).reshape(-1, 2),
            object_image=np.repeat(numbers, objects),
            object_label=joined([page.labels for page in pages], np.int64),
            object_fate=joined(lost, np.int64),
            object_box=joined([page.boxes for page in pages], np.float64, (0, 4)),
            object_anchor_iou=joined([one.anchor_iou for one in nearest], np.float64),
            object_anchor_box=joined(
                [one.anchor_box for one in nearest], np.float64, (0, 4)
            ),
            object_proposal_iou=joined(
                [one.proposal_iou for one in nearest], np.float64
            ),
            object_proposal_box=joined(
                [one.proposal_box for one in nearest], np.float64, (0, 4)
            ),
            object_detection_iou=joined(
                [one.detection_iou for one in nearest], np.float64
            ),
            object_detection=places_of_all(
                [one.detection for one in nearest], detections
            ),
            object_rank=joined([page.ranks[0] for page in pages], np.float64),
            **groups,
            detection_image=np.repeat(numbers, detections),
            detection_label=joined([page.found_labels for page in pages], np.int64),
            detection_kind=joined([page.kinds for page in pages], np.int64),
            detection_object=about_all(pages),
            detection_box=joined([page.found for page in pages], np.float32, (0, 4)),
            detection_score=joined([page.scores for page in pages], np.float32),
            detection_hits=np.concatenate(hits, 1).astype(np.int8),
            thresholds=THRESHOLDS,
            classes=np.array(classes, str),
            fates=np.array(fates, str),
            kinds=np.array(NAMES, str),
        )

    def write(self, path: Path) -> None:
        """Write the ``.npz`` file."""
        np.savez_compressed(path, **asdict(self))

    @classmethod
    def read(cls, path: Path) -> Columns:
        """Read what :meth:`write` has written.

        Raises:
            UserError: If the file is something else.
        """
        try:
            if not path.is_file():
                raise ValueError('it is no file')
            with np.load(path) as file:
                arrays = {one.name: file[one.name] for one in fields(cls)}
            check_layout(arrays)
        except Exception as error:  # numpy and zipfile raise any, of a damaged file
            raise UserError(
                f'{path} is not a ledger that this version wrote '
                f'({reason_of(error)}). Test again'
            ) from error
        return cls(**arrays)
