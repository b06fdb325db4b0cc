"""A page of a simulated run, whose images exist."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from mmfrcnn.evaluation.figures import figures_of
from mmfrcnn.evaluation.label_errors import label_errors
from mmfrcnn.report.advice import advice_for
from mmfrcnn.report.facts import Facts
from mmfrcnn.report.page import render
from mmfrcnn.report.report import Origin, Report
from tests.report.simulated import HEIGHT, WIDTH, Fed, facts_of, pages_of, split_of

HOSTILE = '</script><script>document.title = "taken"</script><img src=x onerror=a()>'


def run_with_images(folder: Path, seed: int = 0) -> Facts:
    """Return the facts of a run of 12 images, one of which cannot be read."""
    draws = np.random.default_rng(seed)
    paths = []
    for image in range(12):
        paths.append(str(folder / f'{image} <b>.png'))
        pixels = draws.integers(90, 130, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        if image:
            cv2.imwrite(paths[-1], pixels)
    lost = {'called_background': 0.3, 'suppressed_by_nms': 0.1}
    split = split_of(pages_of(seed, images=12, lost=lost, unlabelled=0.1, paths=paths))
    return Facts(
        split,
        split,
        Fed(split.input_sides, split.columns.object_anchor_iou, (32.0, 512.0)),
        [40, 40, 40],
    )


def origin_of(**changed) -> Origin:
    given = dict(
        title='pets: report',
        source='work_dirs/pets/best.pth, evaluated on val.json',
        command='mmfrcnn report work_dirs/pets',
        config='model = dict(type="FasterRCNN")',
        environment={'torch': '2.14'},
        curves={'losses': {'loss': ([1, 2, 3], [3.0, 2.0, 1.5])}, 'metrics': {}},
        labels_file='report/label_errors.json',
        sentences=['12 images.'],
    )
    return Origin(**(given | changed))


def page_of(facts: Facts, origin: Origin | None = None) -> str:
    return render(report_of(facts, origin))


def report_of(facts: Facts, origin: Origin | None = None) -> Report:
    columns = facts.held_out.columns
    return Report(
        facts,
        figures_of(columns),
        advice_for(facts),
        label_errors(columns),
        origin or origin_of(),
    )


def a_page(folder: Path) -> str:
    return page_of(run_with_images(folder))


__all__ = ['HOSTILE', 'a_page', 'facts_of', 'origin_of', 'page_of', 'run_with_images']
