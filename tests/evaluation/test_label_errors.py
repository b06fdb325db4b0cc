"""Errors planted among drawn labels are found, and healthy labels are left alone."""

from __future__ import annotations

import contextlib
import io
import json
import time
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from mmfrcnn.evaluation.label_errors import (
    KINDS,
    LabelError,
    label_errors,
    write_label_errors,
)
from mmfrcnn.evaluation.label_errors.excess import excess
from mmfrcnn.evaluation.label_errors.opinions import Opinions, pair
from mmfrcnn.evaluation.label_errors.rules import overlapping
from mmfrcnn.evaluation.label_errors.trust import isotonic, trust
from mmfrcnn.evaluation.ledger.columns import Columns
from mmfrcnn.evaluation.ledger.mistakes import judge
from mmfrcnn.evaluation.ledger.page import Page
from mmfrcnn.evaluation.ledger.truth import Truth
from tests.evaluation.ledger.nearest import nearest_to

CLASSES = ('cat', 'dog', 'hen')
NONE = np.zeros((0, 4)), np.zeros(0, np.int64)


def page(
    truth: Truth, boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray
) -> Page:
    """Account for an image of 640 x 480 of whose detector nothing else is known."""
    order = np.argsort(-scores, kind='stable')
    boxes, scores, labels = boxes[order], scores[order], labels[order]
    counts = ~truth.ignored
    kinds, about, hits = judge(boxes, labels, truth, 0.5)
    return Page(
        truth.path,
        truth.path,
        truth.boxes[counts],
        truth.labels[counts],
        {},
        ['detected'] * counts.sum(),
        nearest_to(truth.boxes[counts], boxes),
        np.zeros((10, counts.sum())),
        boxes,
        scores,
        labels,
        kinds,
        about,
        hits,
        (480, 640),
        (1.0, 1.0),
    )


def columns_of(
    truths: list[tuple[np.ndarray, np.ndarray]],
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]],
    ignored: tuple[int, ...] = (),
    classes: tuple[str, ...] = CLASSES,
) -> Columns:
    """Put drawn images together; the objects ``ignored`` of each count for nobody."""
    pages = []
    for number, ((boxes, labels), detections) in enumerate(
        zip(truths, found, strict=True)
    ):
        nobody = np.isin(np.arange(len(labels)), ignored)
        truth = Truth(boxes, labels, nobody, f'/data/{number % 2}/{number}.jpg')
        pages.append(page(truth, *detections))
    return Columns.of(pages, classes)


def draw_truth(rng: np.random.Generator, classes: int = 3) -> list[tuple]:
    """Draw 60 images of 12 objects, each in its own cell of a grid."""
    corners = np.stack(np.meshgrid(range(4), range(3)), -1).reshape(-1, 2) * 150.0
    truths = []
    for _ in range(60):
        low = corners + rng.uniform(5, 25, (12, 2))
        size = rng.uniform(60, 115, (12, 2))
        boxes = np.concatenate([low, low + size], 1).round()
        truths.append((boxes, rng.integers(classes, size=12)))
    return truths


def detect(rng: np.random.Generator, truths: list[tuple], classes: int = 3) -> list:
    """Draw a good detector: all objects, boxes a little off, and weak false ones."""
    found = []
    for boxes, labels in truths:
        own = boxes + rng.normal(0, 2, boxes.shape)
        corner = rng.uniform(0, 400, (5, 2))
        false = np.concatenate([corner, corner + rng.uniform(20, 90, (5, 2))], 1)
        scores = [rng.uniform(0.6, 1, len(own)), rng.uniform(0.05, 0.4, 5)]
        found.append(
            (
                np.concatenate([own, false]),
                np.concatenate(scores),
                np.append(labels, rng.integers(classes, size=5)),
            )
        )
    return found


def plant(truths: list[tuple]) -> tuple[list[tuple], set[tuple[str, int, int | None]]]:
    """Plant an error of each kind in the first 30 images; name kind, image and row."""
    planted, expected = [], set()
    for image, (boxes, labels) in enumerate(truths):
        boxes, labels = boxes.copy(), labels.copy()
        if image < 30:
            kind, row = KINDS[image % 4], image % 11
            expected.add((kind, image, None if kind == 'missing' else row))
            if kind == 'missing':
                boxes, labels = np.delete(boxes, row, 0), np.delete(labels, row)
            elif kind == 'wrong class':
                labels[row] = (labels[row] + 1) % 3
            elif kind == 'badly drawn':
                width, height = boxes[row, 2:] - boxes[row, :2]
                boxes[row, 2:] -= np.array([width, height]) * 0.28  # IoU of .52
            else:  # the surplus one fits worse, and every other is of another class
                twin = boxes[row] + [-6, -6, 6, 6]
                label = (labels[row] + image // 4 % 2) % 3
                boxes = np.insert(boxes, row, twin, 0)
                labels = np.insert(labels, row, label)
        planted.append((boxes, labels))
    return planted, expected


def named(columns: Columns, error: LabelError) -> tuple[str, int, int | None]:
    if error.object is None:
        return error.kind, error.image, None
    start = np.searchsorted(columns.object_image, error.image)
    return error.kind, error.image, error.object - int(start)


@pytest.mark.parametrize('seed', range(3))
def test_planted_errors_are_found(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truths = draw_truth(rng)
    planted, expected = plant(truths)
    columns = columns_of(planted, detect(rng, truths))
    errors = label_errors(columns)
    certainties = [error.certainty for error in errors]
    assert certainties == sorted(certainties, reverse=True)
    sure = [error for error in errors if error.certainty >= 0.5]
    found = {named(columns, error) for error in sure}
    assert found <= expected
    # What scores least of all is not told from what lies below.
    assert len(sure) == len(found) >= len(expected) - 1
    for error in sure:
        boxes, labels = truths[error.image]
        assert error.path == columns.image_path[error.image]
        if error.kind == 'missing':
            assert error.label is None
            assert error.box == error.suggested_box
        else:
            assert error.box == tuple(columns.object_box[error.object])
            label = columns.object_label[error.object]
            assert error.label == CLASSES[label]
        if error.kind == 'duplicate':
            assert error.suggested_label is None
            assert error.suggested_box is None
            continue
        # It says what there was before the error was planted.
        off = np.abs(boxes - error.suggested_box).max(1)
        assert off.min() < 10
        assert error.suggested_label == CLASSES[labels[off.argmin()]]


@pytest.mark.parametrize('seed', range(3))
def test_healthy_labels_are_left_alone(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truths = draw_truth(rng)
    errors = label_errors(columns_of(truths, detect(rng, truths)))
    assert not [error for error in errors if error.certainty >= 0.5]


def test_a_true_crowd_is_no_heap_of_duplicates() -> None:
    rng = np.random.default_rng(0)
    truths = []
    for _ in range(50):  # overlaps of all sizes, the large ones not rarer
        low = np.array([100, 100]) + rng.uniform(0, 40, (12, 1)) * [1, 0]
        truths.append((np.concatenate([low, low + 90], 1), np.zeros(12, np.int64)))
    errors = label_errors(columns_of(truths, detect(rng, truths)))
    assert not [
        one for one in errors if one.kind == 'duplicate' and one.certainty >= 0.5
    ]


def test_what_counts_for_nobody_is_no_error() -> None:
    rng = np.random.default_rng(0)
    truths = draw_truth(rng)
    found = detect(rng, truths)
    rows = tuple(range(12))
    assert any(
        one.kind == 'missing' and one.certainty > 0.5
        for one in label_errors(columns_of([NONE, *truths[1:]], found))
    )
    columns = columns_of(truths[:1], [tuple(part[:12] for part in found[0])], rows)
    assert len(columns.detection_score) == 12
    assert not len(Opinions.of(columns).detection)
    assert not label_errors(columns)


@pytest.mark.parametrize('objects', [True, False])
@pytest.mark.parametrize('detections', [True, False])
@pytest.mark.parametrize('images', [0, 1, 2])
def test_empty(images: int, objects: bool, detections: bool, tmp_path: Path) -> None:
    box, label = np.array([[10.0, 10, 60, 60]]), np.array([1])
    truths = [(box, label) if objects else NONE] * images
    none = np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64)
    found = [(box, np.array([0.9]), label) if detections else none] * images
    columns = columns_of(truths, found)
    errors = label_errors(columns)
    # Something is seen where nothing is; nothing else of the same speaks for it.
    assert not [error for error in errors if error.certainty >= 0.5]
    write_label_errors(tmp_path / 'errors.json', errors, columns)
    content = json.loads((tmp_path / 'errors.json').read_text('utf-8'))
    assert len(content['annotations']) == len(errors)


def test_ten_thousand_classes_take_no_longer() -> None:
    rng = np.random.default_rng(0)
    truths = draw_truth(rng, 10_000)
    names = tuple(f'class {number}' for number in range(10_000))
    columns = columns_of(truths, detect(rng, truths, 10_000), (), names)
    start = time.perf_counter()
    errors = label_errors(columns)
    assert time.perf_counter() - start < 5
    assert not [error for error in errors if error.certainty >= 0.5]


def test_coco_file_is_exact(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    truths = draw_truth(rng)
    columns = columns_of(plant(truths)[0], detect(rng, truths))
    errors = label_errors(columns)
    assert {error.kind for error in errors} == set(KINDS)
    write_label_errors(tmp_path / 'errors.json', errors, columns)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(tmp_path / 'errors.json'))
    assert [one['name'] for one in coco.loadCats(coco.getCatIds())] == list(CLASSES)
    assert {one['file_name'] for one in coco.dataset['images']} == {
        error.path.removeprefix('/data/') for error in errors
    }
    assert len(coco.anns) == len(errors)
    for error, one in zip(errors, coco.dataset['annotations'], strict=True):
        image = coco.imgs[one['image_id']]
        assert error.path == f'/data/{image["file_name"]}'
        assert (image['width'], image['height']) == (640, 480)
        x, y, width, height = one['bbox']
        box = error.suggested_box or error.box
        assert (x, y) == box[:2]
        assert np.abs(np.array([x + width, y + height]) - box[2:]).max() < 1e-9
        assert one['area'] == pytest.approx(width * height)
        assert one['iscrowd'] == 0
        label = error.suggested_label or error.label
        assert coco.cats[one['category_id']]['name'] == label
        assert one['attributes'] == {
            'kind': error.kind,
            'certainty': error.certainty,
            'given': error.label or '',
        }


def test_what_the_page_on_diagnosis_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = Path(__file__).resolve().parents[2] / 'docs/diagnose.md'
    blocks = page.read_text('utf-8').split('```python\n')[1:]
    (block,) = [one.split('```')[0] for one in blocks if 'label_errors(' in one]
    rng = np.random.default_rng(0)
    truths = draw_truth(rng)
    columns = columns_of(plant(truths)[0], detect(rng, truths))
    monkeypatch.chdir(tmp_path)
    columns.write(Path('ledger.npz'))
    exec(block, {})
    assert len(capsys.readouterr().out.splitlines()) == 20
    content = json.loads(Path('label_errors.json').read_text('utf-8'))
    assert len(content['annotations']) == min(200, len(label_errors(columns)))


def test_isotonic_is_the_best_that_never_falls() -> None:
    rng = np.random.default_rng(0)
    for number in (1, 2, 30):
        scores = rng.integers(0, 12, number) / 12  # with ties
        right = rng.random(number) < scores
        fitted, counts = isotonic(scores, right)
        for place, score in enumerate(scores):
            # The formula of maxima of minima of means.
            assert fitted[place] == pytest.approx(
                max(
                    min(
                        right[(scores >= low) & (scores <= high)].mean()
                        for high in scores[scores >= score]
                    )
                    for low in scores[scores <= score]
                )
            )
            assert counts[place] == np.isclose(fitted, fitted[place]).sum()
    assert isotonic(np.zeros(0), np.zeros(0, bool))[0].shape == (0,)


def test_trust_of_few_leans_on_all() -> None:
    scores, labels = np.ones(31), np.array([0] * 30 + [1])
    right = np.array([True] * 30 + [False])
    assert trust(scores, labels, right)[-1] == pytest.approx((30 / 31) * 10 / 11)


def test_excess_is_what_the_tail_does_not_explain() -> None:
    rng = np.random.default_rng(0)
    tail = rng.exponential(1 / np.log(4), 4000)  # a quarter as many with each step of 1
    assert excess(tail, 1, 1)[tail > 3].max() < 0.6
    heap = np.append(tail, np.full(200, 5.0))
    # 4000 / 4 ** 5 are expected from 5 on.
    assert excess(heap, 1, 1)[-1] == pytest.approx(1 - 4 / 204, abs=0.01)
    assert not excess(heap, 1, 1)[heap < 3].any()
    assert excess(np.zeros(0), 1, 1).shape == (0,)


def test_pairs_are_greedy_and_one_to_one() -> None:
    value = np.array([[0.9, 0.8, 0], [0.85, 0.2, 0], [0, 0, 0]])
    assert pair(value).tolist() == [0, 1, -1]
    assert pair(np.zeros((2, 0))).tolist() == [-1, -1]


def test_overlapping_objects_by_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    truths = [
        (np.sort(rng.uniform(0, 99, (9, 2, 2)), 1).reshape(-1, 4), np.zeros(9, int))
        for _ in range(5)
    ]
    none = np.zeros((0, 4)), np.zeros(0), np.zeros(0, int)
    columns = columns_of(truths, [none] * 5)
    monkeypatch.setattr('mmfrcnn.evaluation.label_errors.rules.AT_ONCE', 20)
    found = {
        (first, second): iou
        for first, second, iou in zip(*overlapping(columns), strict=True)
    }
    expected = {}
    for first in range(45):
        for second in range(first + 1, 45):
            a, b = columns.object_box[first], columns.object_box[second]
            sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
            if first // 9 == second // 9 and (sides > 0).all():
                both = np.prod(sides)
                areas = np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])
                expected[first, second] = both / (areas - both)
    assert found == pytest.approx(expected)
