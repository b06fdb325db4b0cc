"""What is known of a batch, in slots, in one copy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from mmfrcnn_benchmark.fake_device import DEVICE, fake_device

from mmfrcnn.structures.image_batch import DataSamples, ImageBatch, images_of
from mmfrcnn.structures.padded_instances import bucket, pad_instances
from mmfrcnn.structures.transfer import to_device

CPU = torch.device('cpu')
COUNTS = (3, 0, 9, 1)


def samples(counts=COUNTS, ignored=(0, 2, 0, 1)):
    """Data samples with some boxes each, numbered on."""
    batch = []
    for place, (count, crowd) in enumerate(zip(counts, ignored, strict=True)):
        corner = torch.arange(count * 2.0).view(-1, 2) + place
        one = DetDataSample(
            metainfo=dict(
                img_id=place,
                img_shape=(20 + place, 30),
                pad_shape=(32, 32),
                scale_factor=(2.0, 1.5 + place),
            ),
            gt_instances=InstanceData(
                bboxes=torch.cat([corner, corner + 5], 1),
                labels=torch.arange(count) + 10 * place,
            ),
        )
        if crowd:
            one.ignored_instances = InstanceData(bboxes=torch.ones(crowd, 4) * 7)
        batch.append(one)
    return batch


@pytest.mark.parametrize(
    'count, slots', [(0, 8), (1, 8), (8, 8), (9, 16), (16, 16), (17, 32), (1000, 1024)]
)
def test_buckets(count, slots):
    assert bucket(count) == slots


def test_what_data_samples_say():
    images = DataSamples(samples(), CPU, training=True).images
    assert images.sizes.tolist() == [[20, 30], [21, 30], [22, 30], [23, 30]]
    assert images.padded_sizes.tolist() == [[32, 32]] * 4
    assert images.scale_factors.tolist()[1] == [[2.0, 2.5, 2.0, 2.5]]
    assert images.sizes.dtype == images.scale_factors.dtype == torch.float32
    assert images.keys.dtype == torch.int64 and len(images.keys.unique()) == 4
    assert [meta['img_id'] for meta in images] == [0, 1, 2, 3] and len(images) == 4
    assert images.gt.boxes.shape == (4, 16, 4) and images.ignored.boxes.shape[1] == 8
    assert images.gt.mask.sum(1).tolist() == list(COUNTS)
    for place, one in enumerate(samples()):
        count = COUNTS[place]
        assert torch.equal(images.gt.boxes[place, :count], one.gt_instances.bboxes)
        assert torch.equal(images.gt.labels[place, :count], one.gt_instances.labels)
        assert not images.gt.boxes[place, count:].any()
        assert not images.gt.labels[place, count:].any()
    assert images.ignored.labels is None and not images.ignored.mask.any()


def test_what_an_image_does_not_tell_is_none():
    images = ImageBatch([dict(img_shape=(5, 6, 3)), dict(img_shape=(7, 8))], CPU)
    assert images.sizes.tolist() == [[5, 6], [7, 8]]
    assert images.padded_sizes is images.scale_factors is images.gt is None
    some = ImageBatch([dict(img_shape=(5, 6), pad_shape=(8, 8)), dict()], CPU)
    assert some.sizes is some.padded_sizes is None


def test_both_heads_get_the_same():
    batch = DataSamples(samples(), CPU, training=True)
    assert images_of(batch, CPU, training=True) is batch.images
    alone = images_of(list(batch), CPU, training=False)
    assert alone.gt is None
    assert torch.equal(alone.keys, batch.images.keys)
    assert ImageBatch.of(alone, CPU) is alone


def test_padding_on_a_device_equals_padding_on_the_host(monkeypatch):
    batch = [one.gt_instances for one in samples()]
    here = pad_instances(batch, CPU, 16)
    # Also where the boxes are on a device already, as mmdet's preprocessor leaves them.
    monkeypatch.setattr(
        'mmfrcnn.structures.padded_instances.on_host', lambda instances: False
    )
    there = pad_instances(batch, CPU, 16)
    for name in ('boxes', 'labels', 'mask'):
        mine, other = getattr(here, name), getattr(there, name)
        assert mine.dtype == other.dtype and torch.equal(mine, other)
    for one in batch:
        del one.labels
    assert pad_instances(batch, CPU, 16).labels is None


def test_arrays_go_over_together_as_they_are():
    arrays = {
        'bools': np.array([True, False, True]),
        'floats': np.arange(6, dtype=np.float32).reshape(2, 3),
        'turned': np.arange(6, dtype=np.int64).reshape(2, 3).T,
        'nothing': np.zeros((0, 4), np.float32),
        'halves': np.ones(3, np.float16),
        'number': np.array(7, np.int32),
    }
    there = to_device(arrays, CPU)
    assert there.keys() == arrays.keys()
    for name, array in arrays.items():
        assert there[name].dtype == torch.as_tensor(array).dtype, name
        assert np.array_equal(there[name].numpy(), array), name
    assert len({one.untyped_storage().data_ptr() for one in there.values()}) == 1
    assert to_device({'nothing': np.zeros((0, 2))}, CPU)['nothing'].shape == (0, 2)


@pytest.mark.parametrize('training', [True, False])
def test_one_copy_that_nobody_waits_for(training):
    batch = samples()
    with fake_device() as counted:
        images = DataSamples(batch, DEVICE, training).images
    assert not counted.waits
    assert counted.copies == 1
    for name in ('sizes', 'padded_sizes', 'scale_factors', 'keys'):
        assert getattr(images, name).device == DEVICE
    assert not training or images.gt.boxes.device == images.gt.mask.device == DEVICE
