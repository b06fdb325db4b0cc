"""Lists of instances as one padded batch."""

from __future__ import annotations

import torch
from mmengine.structures import InstanceData

from mmfrcnn.structures.padded_instances import pad_instances

CPU = torch.device('cpu')


def instances(boxes, labels=None):
    boxes = torch.tensor(boxes, dtype=torch.float32).view(-1, 4)
    one = InstanceData(bboxes=boxes)
    if labels is not None:
        one.labels = torch.tensor(labels, dtype=torch.int64)
    return one


def test_each_image_keeps_its_boxes_in_order():
    generator = torch.Generator().manual_seed(0)

    def random_boxes(count):
        corners = torch.rand(count, 2, 2, generator=generator)
        return corners.sort(dim=1).values.reshape(count, 4)

    counts = [3, 0, 7, 1]
    batch = [
        InstanceData(
            bboxes=random_boxes(count),
            labels=torch.arange(count) + 10 * image,
        )
        for image, count in enumerate(counts)
    ]
    padded = pad_instances(batch, CPU)
    assert padded.boxes.shape == (4, 7, 4)  # as many slots as the fullest image needs
    assert padded.mask.sum(1).tolist() == counts
    for image, one in enumerate(batch):
        count = counts[image]
        assert torch.equal(padded.boxes[image, :count], one.bboxes)
        assert torch.equal(padded.labels[image, :count], one.labels)
        assert not padded.boxes[image, count:].any()
        assert not padded.labels[image, count:].any()
        assert padded.mask[image, :count].all()


def test_a_batch_without_boxes_has_one_empty_slot():
    padded = pad_instances([instances([], []), instances([], [])], CPU)
    assert padded.boxes.shape == (2, 1, 4)
    assert not padded.mask.any()
    assert padded.labels.shape == (2, 1)


def test_boxes_without_area_are_masked_out():
    boxes = [[0, 0, 5, 5], [3, 3, 3, 9], [4, 4, 9, 4], [7, 7, 5, 9], [1, 1, 2, 2]]
    padded = pad_instances([instances(boxes, [1, 2, 3, 4, 5])], CPU)
    assert padded.mask.tolist() == [[True, False, False, False, True]]


def test_labels_are_optional():
    padded = pad_instances([instances([[0, 0, 1, 1]]), instances([])], CPU)
    assert padded.labels is None


def test_float64_and_int_boxes_become_float32():
    one = InstanceData(
        bboxes=torch.tensor([[0, 0, 5, 5]]), labels=torch.tensor([1], dtype=torch.int32)
    )
    padded = pad_instances([one], CPU)
    assert padded.boxes.dtype == torch.float32
    assert padded.labels.dtype == torch.int64
