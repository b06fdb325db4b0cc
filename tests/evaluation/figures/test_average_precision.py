"""Average precision and recall against pycocotools, of repeated images too."""

from __future__ import annotations

import random

import numpy as np
import pytest

from mmfrcnn.evaluation.figures.average_precision import AveragePrecision
from tests.evaluation.figures.oracle import cocos, columns_of, drawn

EXACT = dict(rtol=0, atol=1e-12)


def repeated(
    truth: dict, found: list[dict], weights: np.ndarray
) -> tuple[dict, list[dict]]:
    """Copy each image, with all that is in it, as often as its weight says."""
    images, annotations, copies = [], [], []
    for image, weight in zip(truth['images'], weights, strict=True):
        for _ in range(weight):
            number = len(images) + 1
            images.append(image | {'id': number})
            for one in truth['annotations']:
                if one['image_id'] == image['id']:
                    own = len(annotations) + 1
                    annotations.append(one | {'image_id': number, 'id': own})
            copies += [
                one | {'image_id': number}
                for one in found
                if one['image_id'] == image['id']
            ]
    return truth | {'images': images, 'annotations': annotations}, copies


@pytest.mark.parametrize('ties', [False, True])
@pytest.mark.parametrize('seed', range(4))
def test_classes_have_cocos_figures(seed, ties):
    truth, found = drawn(seed, ties=ties)
    precision, recall = cocos(truth, found)
    random.Random(seed).shuffle(truth['images'])  # the order of the test, not of ids
    columns = columns_of(truth, found)
    assert (columns.detection_hits == -1).any()
    ours = AveragePrecision(columns)
    expected = [
        precision.mean((0, 1)),
        precision[0].mean(0),
        precision[5].mean(0),
        recall.mean(0),
    ]
    np.testing.assert_allclose(ours.of_classes(), expected, **EXACT)
    means = ours.means(np.ones(ours.images, np.int64))
    np.testing.assert_allclose(means, np.mean(expected, 1), **EXACT)


@pytest.mark.parametrize('seed', range(4))
def test_an_image_that_counts_twice_is_there_twice(seed):
    truth, found = drawn(seed, images=12, ties=False)
    weights = np.bincount(np.random.default_rng(seed).integers(12, size=12), None, 12)
    assert weights.min() == 0 and weights.max() > 1
    precision, recall = cocos(*repeated(truth, found, weights))
    ours = AveragePrecision(columns_of(truth, found))(weights)
    known = recall[0] >= 0
    np.testing.assert_allclose(ours[0][:, known], precision.mean(1)[:, known], **EXACT)
    np.testing.assert_allclose(ours[1][:, known], recall[:, known], **EXACT)
    assert np.isnan(ours[0][:, ~known]).all()


def test_a_class_without_objects_is_left_out():
    truth, found = drawn(0)
    truth['annotations'] = [
        one for one in truth['annotations'] if one['category_id'] != 2
    ]
    ours = AveragePrecision(columns_of(truth, found))
    assert np.isnan(ours.of_classes()[:, 1]).all()
    precision, recall = cocos(truth, found)
    assert (precision[:, :, 1] == -1).all()
    means = ours.means(np.ones(ours.images, np.int64))
    expected = precision[:, :, [0, 2]].mean(), recall[:, [0, 2]].mean()
    np.testing.assert_allclose(means[[0, 3]], expected, **EXACT)
