"""What a data set really holds: counts, and by name whatever is wrong with it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import TypeAlias

from mmengine.dist import all_gather_object, get_dist_info
from tqdm import tqdm

from mmfrcnn.data.checks.intact import (
    Fault,
    find_fault,
    has_16_bits,
    highest_values,
    way_to_check,
)
from mmfrcnn.data.checks.oddities import oddities
from mmfrcnn.data.formats.pictures import (
    NOT_A_NUMBER,
    OUTLINE,
    UNKNOWN_CLASS,
    Picture,
    why_left_out,
)
from mmfrcnn.data.formats.registry import Surveyed, format_of, read_anew
from mmfrcnn.errors import first_of

Deep: TypeAlias = tuple[int, int, str]
"""The highest value of an image as loaded and as stored, and its path."""

NOWHERE = (NOT_A_NUMBER, UNKNOWN_CLASS)
"""Reasons for which a box is left out everywhere, in mmdet's own parts as well."""
NUM_CLASSES = 20
"""Classes shown with their boxes, the most frequent first."""


@dataclass
class Survey:
    """One split of a data set, as its annotation file and its folder have it."""

    source: str
    classes: Sequence[str]
    categories: list[str]  # the names that the annotation file knows
    num_images: int = 0
    num_used: int = 0
    num_empty: int = 0  # images without a usable object
    num_ignored: int = 0  # crowd or difficult
    num_in_file: int = 0  # usable boxes
    num_boxes: Counter[str] = field(default_factory=Counter)  # that the data set holds
    left_out: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    unknown: Counter[str] = field(default_factory=Counter)
    num_seen: Counter[str] = field(default_factory=Counter)  # images looked at
    faults: list[Fault] = field(default_factory=list)
    deep: list[Deep] = field(default_factory=list)  # images of 16 bits
    num_outlines: int = 0  # whose bounding box was taken
    notes: list[str] = field(default_factory=list)

    def count(self, picture: Picture, min_side: float) -> None:
        """Add one image of the annotation file."""
        self.num_images += 1
        usable = 0
        for found in picture.objects:
            self.num_outlines += OUTLINE in found.extras
            reason = why_left_out(found, picture, self.classes, min_side)
            if reason == UNKNOWN_CLASS:
                self.unknown[found.class_name] += 1
            if reason:
                self.left_out[reason].append(found.title)
            elif found.ignored:
                self.num_ignored += 1
            else:
                usable += 1
        self.num_in_file += usable
        self.num_empty += usable == 0

    def hold(self, info: dict) -> None:
        """Count the boxes of one image as the loaded data set has them."""
        self.num_boxes.update(
            self.classes[instance['bbox_label']]
            for instance in info['instances']
            if not instance.get('ignore_flag')
        )

    def gather(self, shares: Sequence[Survey]) -> None:
        """Add what the processes found in their shares of the images."""
        for name in [one.name for one in fields(self)]:
            if isinstance(getattr(self, name), list | Counter):
                for share in shares:
                    setattr(self, name, getattr(self, name) + getattr(share, name))

    def screen(self, split: str, notes: str) -> str:
        """Return the report of one split, a few lines."""
        ranked = sorted(self.classes, key=lambda name: -self.num_boxes[name])
        boxes = ', '.join(f'{n} {self.num_boxes[n]}' for n in ranked[:NUM_CLASSES])
        more = len(self.classes) - NUM_CLASSES
        boxes += f', and {more} more classes' if more > 0 else ''
        dropped = self.num_images - self.num_used
        lines = [
            f'{split} data: {self.source}',
            f'  images   {self.num_images}, of them {self.num_empty} without objects'
            + (f'; {dropped} of all dropped by filter_cfg or indices' * (dropped > 0)),
            f'  boxes    {self.num_boxes.total()}: {boxes}',
        ]
        if self.num_ignored:
            lines.append(f'  ignored  {self.num_ignored} marked crowd or difficult')
        if self.num_outlines:
            lines.append(f'  outlines {self.num_outlines}, by their bounding boxes')
        if self.deep:
            named = [
                f'{p} ({high} becomes {low})' for low, high, p in sorted(self.deep)
            ]
            lines.append(
                f'  16 bits  {len(self.deep)} images, cut to 8 bits when they are '
                f'loaded, the darkest first, with their highest value of 65535 and '
                f'what of 255 it becomes: {first_of(named)}'
            )
        for reason, titles in sorted(self.left_out.items()):
            if reason == UNKNOWN_CLASS:
                titles = [f'{name} {n}' for name, n in self.unknown.most_common()]
            number = len(self.left_out[reason])
            where = '' if reason in NOWHERE else notes
            lines.append(f'  left out {number} {reason}{where}: {first_of(titles)}')
        if self.num_seen.total():
            seen = ', '.join(f'{n} {kind}' for kind, n in self.num_seen.most_common())
            lines.append(f'  checked  {seen}')
        held = self.num_boxes.total()
        if held < self.num_in_file:
            lines.append(
                f'  note     {self.num_in_file - held} of {self.num_in_file} usable '
                'boxes of the file are not in the data set'
            )
        lines += [f'  note     {note}' for note in self.notes]
        return '\n'.join(lines)


def survey(dataset: Surveyed) -> Survey:
    """Read a data set's annotation file anew and check the files of its images.

    Args:
        dataset (Surveyed): A data set that is loaded.

    Raises:
        UserError: If an annotation file is broken.
    """
    classes = dataset.metainfo['classes']
    notes: list[str] = []
    categories, pictures = read_anew(dataset, notes)
    kind = format_of(dataset)
    notes += oddities(categories, pictures, kind.beyond)
    source = dataset.ann_file or dataset.data_prefix.get('img') or dataset.data_root
    result = Survey(source, classes, categories, num_used=len(dataset), notes=notes)
    for picture in pictures:
        result.count(picture, kind.min_side)
    result.gather(all_gather_object(_look_at_share(dataset)))
    return result


def _look_at_share(dataset: Surveyed) -> Survey:
    """Look at every n-th image in each of n processes, so that none waits for long."""
    rank, processes = get_dist_info()
    share = Survey('', tuple(dataset.metainfo['classes']), [])
    indices = range(rank, len(dataset), processes)
    # None: on a terminal only.
    shown = {'desc': 'looking at images', 'disable': True if rank else None}
    for index in tqdm(indices, delay=2, unit='image', **shown):
        info = dataset.get_data_info(index)
        share.hold(info)
        if dataset.backend_args is None:  # else the images are not on a disk
            _check_image(info, share, dataset.pipeline)
    return share


def _check_image(info: dict, result: Survey, pipeline: object) -> None:
    """Note an image that is missing, broken or not of the size annotated."""
    path, title = info['img_path'], f'image id {info["img_id"]}'
    fault = find_fault(path, info['width'], info['height'], pipeline, title)
    if fault:
        result.faults.append(fault)
        return
    result.num_seen[way_to_check(path)] += 1
    if has_16_bits(path):
        highest, loaded = highest_values(path)
        result.deep.append((loaded, highest, path))
