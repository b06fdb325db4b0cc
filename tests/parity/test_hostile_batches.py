"""Batches that break detectors: nothing in them, or far too much, or nonsense."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from mmengine.structures import InstanceData

SIZES = ((96, 128, 3), (128, 100, 2))


def instances(boxes):
    boxes = torch.tensor(boxes, dtype=torch.float32).view(-1, 4)
    return InstanceData(bboxes=boxes, labels=torch.arange(len(boxes)) % 80)


def without_objects(batch):
    for one in batch:
        one['data_samples'].gt_instances = instances([])


def one_image_without_objects(batch):
    batch[0]['data_samples'].gt_instances = instances([])


def only_crowds(batch):
    for one in batch:
        sample = one['data_samples']
        sample.ignored_instances = sample.gt_instances
        sample.gt_instances = instances([])


def everything_ignored(batch):
    for one in batch:
        one['data_samples'].ignored_instances = instances([[0, 0, 500, 500]])


def one_pixel_boxes(batch):
    for one in batch:
        one['data_samples'].gt_instances = instances(
            [[5, 5, 6, 6], [50, 60, 51, 61], [0, 0, 1, 1]]
        )


def boxes_without_area(batch):
    for one in batch:
        one['data_samples'].gt_instances = instances(
            [[5, 5, 5, 5], [10, 10, 40, 10], [30, 70, 20, 60], [20, 20, 60, 70]]
        )


def only_boxes_without_area(batch):
    for one in batch:
        one['data_samples'].gt_instances = instances([[5, 5, 5, 5], [9, 9, 9, 30]])


def thousands_of_boxes(batch):
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(3000, 2, generator=generator) * 90
    size = torch.rand(3000, 2, generator=generator) * 20 + 1
    boxes = torch.cat([corner, corner + size], 1)
    batch[0]['data_samples'].gt_instances = InstanceData(
        bboxes=boxes, labels=torch.arange(3000) % 80
    )


def the_same_box_often(batch):
    for one in batch:
        one['data_samples'].gt_instances = instances([[20, 20, 70, 80]] * 200)


def boxes_outside(batch):
    for one in batch:
        one['data_samples'].gt_instances = instances(
            [[-50, -50, -10, -10], [300, 300, 400, 400], [-1e4, -1e4, 1e4, 1e4]]
        )


HOSTILE = [
    without_objects,
    one_image_without_objects,
    only_crowds,
    everything_ignored,
    one_pixel_boxes,
    boxes_without_area,
    only_boxes_without_area,
    thousands_of_boxes,
    the_same_box_often,
    boxes_outside,
]


def giou(config):
    for head in (config.rpn_head, config.roi_head.bbox_head):
        head.reg_decoded_bbox = True
        head.loss_bbox = dict(type='GIoULoss')


@pytest.mark.parametrize('change', [None, giou], ids=['l1', 'giou'])
@pytest.mark.parametrize('hostile', HOSTILE)
def test_trains_with_finite_losses(
    our_config, build, train_step, predict, fabricated, hostile, change
):
    our_config.train_cfg.rpn.assigner.ignore_iof_thr = 0.5
    our_config.train_cfg.rcnn.assigner.ignore_iof_thr = 0.5
    if change:
        change(our_config)
    model, batch = build(our_config), fabricated(SIZES)
    hostile(batch)
    losses = train_step(model, batch)
    assert all(torch.isfinite(loss).all() for loss in losses.values())
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    if hostile in (without_objects, only_crowds, only_boxes_without_area):
        assert losses['loss_rpn_bbox'] == losses['loss_bbox'] == 0
        assert losses['loss_cls'] > 0
    assert len(predict(model, batch)) == len(batch)


def test_images_without_objects_change_nothing_of_the_others(
    our_config, build, train_step, fabricated, first_ones
):
    """The losses of a batch are means over its samples: known, so comparable."""
    model = build(our_config)
    batch = fabricated(((96, 128, 3), (96, 128, 0)))
    both = train_step(model, batch)
    alone = [train_step(model, [one]) for one in batch]
    # Every image fills its 256 slots.
    for name in ('loss_rpn_cls', 'loss_rpn_bbox'):
        mean = (alone[0][name] + alone[1][name]) / 2
        torch.testing.assert_close(both[name], mean, rtol=2e-2, atol=1e-4)


def test_no_proposal_survives(our_config, build, train_step, predict, fabricated):
    model, batch = build(our_config), fabricated(SIZES)
    model.train_cfg.rpn_proposal.min_bbox_size = 1e6
    model.rpn_head.test_cfg.min_bbox_size = 1e6
    losses = train_step(model, batch)
    assert all(torch.isfinite(loss).all() for loss in losses.values())
    assert [len(one) for one in predict(model, batch)] == [0, 0]
    without_objects(batch)
    losses = train_step(model, batch)
    assert losses['loss_cls'] == losses['loss_bbox'] == 0
    assert all(torch.isfinite(loss).all() for loss in losses.values())


@pytest.mark.parametrize('layer', ['rpn_cls', 'rpn_reg'])
def test_broken_weights_do_not_crash_prediction(
    our_config, build, predict, fabricated, layer
):
    model, batch = build(our_config), fabricated(SIZES)
    getattr(model.rpn_head, layer).weight.data.fill_(float('nan'))
    assert [len(one) for one in predict(model, batch)] == [0, 0]


def test_broken_weights_show_in_the_losses(our_config, build, train_step, fabricated):
    """A NaN is not hidden: it reaches the loss, where the user can see it."""
    model, batch = build(our_config), fabricated(SIZES)
    model.rpn_head.rpn_cls.weight.data.fill_(float('nan'))
    assert torch.isnan(train_step(model, batch)['loss_rpn_cls'])


@pytest.mark.parametrize('size', [(1, 1), (3, 200), (32, 32)])
def test_tiny_images(our_config, build, train_step, predict, fabricated, size):
    model = build(our_config)
    batch = fabricated(((*size, 0), (*size, 0)))
    for one in batch:
        height, width = size
        one['data_samples'].gt_instances = instances([[0, 0, width, height]])
    losses = train_step(model, batch)
    assert all(torch.isfinite(loss).all() for loss in losses.values())
    for one, sample in zip(predict(model, batch), batch, strict=True):
        height, width = sample['data_samples'].ori_shape
        assert (one.bboxes[:, 0::2] <= max(width, size[1] / 2)).all()
        assert (one.bboxes[:, 1::2] <= max(height, size[0] / 2)).all()


def test_ground_truth_is_left_alone(our_config, build, train_step, fabricated):
    model, batch = build(our_config), fabricated(SIZES)
    before = [one['data_samples'].gt_instances.bboxes.clone() for one in batch]
    train_step(model, batch)
    for one, boxes in zip(batch, before, strict=True):
        assert torch.equal(one['data_samples'].gt_instances.bboxes, boxes)


def test_half_precision(our_config, build, train_step, predict, fabricated):
    """Convolutions in bfloat16, boxes and losses in float32, as with `--amp`."""
    our_config.train_cfg.rpn.sampler.seed = our_config.train_cfg.rcnn.sampler.seed = 0
    model, batch = build(our_config), fabricated(SIZES)
    full = train_step(model, batch)
    with torch.autocast('cpu', torch.bfloat16):
        half = train_step(model, batch)
        results = predict(model, batch)
    for name in ('loss_rpn_cls', 'loss_rpn_bbox', 'loss_cls', 'loss_bbox'):
        assert half[name].dtype == torch.float32
        # Other draws and other proposals: near, not equal.
        assert abs(half[name] - full[name]) < 0.3 * full[name] + 0.02
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    assert all(one.bboxes.dtype == torch.float32 for one in results)


def test_a_trained_detector_can_be_copied_and_pickled(
    our_config, build, train_step, predict, fabricated
):
    model, batch = build(our_config), fabricated(SIZES)
    train_step(model, batch)
    first = predict(model, batch)
    copies = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
    for other in copies:
        for mine, theirs in zip(first, predict(other, batch), strict=True):
            assert torch.equal(mine.bboxes, theirs.bboxes)
    assert not [key for key in model.state_dict() if 'anchor' in key]
