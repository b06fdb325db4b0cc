"""What data sets of one picture after another share, without silent losses."""

from __future__ import annotations

from mmdet.datasets import BaseDetDataset

from mmfrcnn.data.formats.annotations import Object, Picture, why_left_out


class PictureDataset(BaseDetDataset):
    """A data set whose annotations are read into `Picture` objects by `read`.

    Boxes that cannot be used (no area, outside the image, an unknown class) are left
    out and kept by name in ``left_out``, in training and evaluation alike. Without
    ``metainfo=dict(classes=...)`` the classes are those of the annotations.

    Args:
        kwargs: `BaseDetDataset`'s arguments. In ``filter_cfg``, ``filter_empty_gt``
            drops images without objects from training, which are kept otherwise, and
            ``min_size`` those with a shorter side.

    Attributes:
        left_out (list[tuple[Object, str]]): The boxes left out, and why.
        notes (list[str]): What `read` found that is worth a line in the report.
        lists_classes (bool): Whether the annotations list all classes, and not only
            those that occur.
    """

    lists_classes = False

    def __init__(self, **kwargs) -> None:
        self.left_out: list[tuple[Object, str]] = []
        self.notes: list[str] = []
        super().__init__(**kwargs)

    def read(self) -> tuple[list[str], list[Picture]]:
        """Read the annotations anew: the names of the classes, and the images.

        Raises:
            UserError: If a file is missing or broken, by name.
        """
        raise NotImplementedError

    def load_data_list(self) -> list[dict]:
        """Read the annotations as mmdet wants them, boxes xyxy in pixels."""
        names, pictures = self.read()
        if not self._metainfo.get('classes'):
            self._metainfo['classes'] = tuple(names)
        labels = {name: i for i, name in enumerate(self._metainfo['classes'])}
        return [self._info(picture, labels) for picture in pictures]

    def filter_data(self) -> list[dict]:
        """Drop the images that ``filter_cfg`` asks to drop, in training."""
        wanted = self.filter_cfg or {}
        if self.test_mode:
            return self.data_list
        return [
            info
            for info in self.data_list
            if (info['instances'] or not wanted.get('filter_empty_gt'))
            and min(info['width'], info['height']) >= wanted.get('min_size', 0)
        ]

    def _info(self, picture: Picture, labels: dict[str, int]) -> dict:
        instances = []
        for found in picture.objects:
            reason = why_left_out(found, picture, list(labels))
            if reason:
                self.left_out.append((found, reason))
                continue
            instances.append(
                {
                    'bbox': list(found.box),
                    'bbox_label': labels[found.class_name],
                    'ignore_flag': int(found.ignored),
                }
            )
        return {
            'img_id': picture.title,
            'img_path': str(picture.image),
            'width': picture.width,
            'height': picture.height,
            'instances': instances,
        }
