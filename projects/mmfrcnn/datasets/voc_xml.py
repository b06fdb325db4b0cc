"""Pascal VOC XML with classes of one's own, without silent losses."""

from __future__ import annotations

from pathlib import Path

from mmdet.datasets import XMLDataset
from mmdet.registry import DATASETS

from mmfrcnn.datasets.annotations import Object, read_names, read_voc, why_left_out
from mmfrcnn.errors import UserError

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.JPG', '.JPEG', '.PNG', '.bmp')


@DATASETS.register_module()
class VocXmlDataset(XMLDataset):
    """Images and Pascal VOC XML files, listed by name in ``ann_file``.

    As mmdet's `XMLDataset`, and: boxes that cannot be used (no area, outside the image,
    an unknown class) are left out and kept by name in ``left_out``, in training and
    evaluation alike; coordinates keep their fractions; a broken file is named.

    Args:
        kwargs: `XMLDataset`'s arguments; ``metainfo=dict(classes=...)`` is required.

    Attributes:
        left_out (list[tuple[Object, str]]): The boxes left out, and why.
    """

    def __init__(self, **kwargs) -> None:
        self.left_out: list[tuple[Object, str]] = []
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict]:
        """Read the list of names and the XML file of each."""
        if not self._metainfo.get('classes'):
            raise UserError(f'{type(self).__name__}: set metainfo=dict(classes=(...))')
        self.cat2label = {
            name: label for label, name in enumerate(self._metainfo['classes'])
        }
        root = Path(self.sub_data_root)
        return [self._read(root, name) for name in read_names(self.ann_file)]

    def _read(self, root: Path, name: str) -> dict:
        xml_path = root / self.ann_subdir / f'{name}.xml'
        picture = read_voc(xml_path)
        instances = []
        for found in picture.objects:
            reason = why_left_out(found, picture, list(self.cat2label))
            if reason:
                self.left_out.append((found, reason))
                continue
            instances.append(
                {
                    'bbox': list(found.box),
                    'bbox_label': self.cat2label[found.class_name],
                    'ignore_flag': int(found.ignored),
                }
            )
        return {
            'img_id': name,
            'img_path': str(_image_path(root / self.img_subdir, name)),
            'xml_path': str(xml_path),
            'width': picture.width,
            'height': picture.height,
            'instances': instances,
        }


def _image_path(folder: Path, name: str) -> Path:
    """Return the image of a name; where there is none, the name it should have."""
    candidates = [folder / f'{name}{suffix}' for suffix in IMAGE_SUFFIXES]
    return next((path for path in candidates if path.is_file()), candidates[0])
