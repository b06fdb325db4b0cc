from __future__ import annotations

import functools

import pytest
import torch
from mmdet.registry import TASK_UTILS
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

from mmfrcnn.errors import UserError
from mmfrcnn.weights.mapping import Weights
from mmfrcnn.weights.torchvision import COCO_UNUSED, from_torchvision, to_torchvision

from . import ours, published

NAMES = pytest.mark.parametrize('name', published.ARCHITECTURES)
USED = torch.tensor([row for row in range(1, 91) if row not in COCO_UNUSED])
SIZE = dict(min_size=128, max_size=160)  # the picture is wider than 160 / 128
PROPOSALS = 60


@pytest.fixture(scope='module')
def weights_of(picture):
    @functools.cache
    def draw(name):
        return published.random_weights(
            name, picture, rpn_post_nms_top_n_test=PROPOSALS, **SIZE
        )

    return draw


def same(one: dict, other: dict) -> bool:
    return list(one) == list(other) and all(
        one[key].dtype == other[key].dtype and torch.equal(one[key], other[key])
        for key in one
    )


@NAMES
def test_equals_torchvision_from_file_to_boxes(name, weights_of, picture):
    weights = weights_of(name)
    options = dict(rpn_post_nms_top_n_test=PROPOSALS, box_detections_per_img=2000)
    theirs = published.build(name, weights, **SIZE, **options)
    with torch.no_grad():
        expected = theirs([published.read(picture)])[0]
    named = torch.isin(expected['labels'], USED)
    assert not named.all()  # the unused rows matter: they have probability
    expected = {key: value[named] for key, value in expected.items()}
    assert 30 < len(expected['labels']) < 2000
    assert len(expected['labels'].unique()) > 10
    assert expected['scores'].std() > 0.03

    config = ours.load(f'torchvision/{published.ARCHITECTURES[name]}')
    config.model.test_cfg.rpn.max_per_img = PROPOSALS
    config.model.test_cfg.rcnn.max_per_img = 2000
    model = ours.build(config, from_torchvision(weights, 'file').tensors)
    found = ours.detect(model, config, picture, (160, 128))
    assert torch.equal(USED[found.labels], expected['labels'])
    assert (found.bboxes - expected['boxes']).abs().max() < 0.05
    assert (found.scores - expected['scores']).abs().max() < 1e-3


@NAMES
def test_goes_there_and_back(name, weights_of):
    weights = weights_of(name)
    assert same(to_torchvision(from_torchvision(weights, 'file'), 'ours'), weights)
    with_counters = {}
    for key, tensor in weights.items():
        with_counters[key] = tensor
        if key.endswith('running_var'):
            counter = key.replace('running_var', 'num_batches_tracked')
            with_counters[counter] = torch.tensor(7)
    back = to_torchvision(from_torchvision(with_counters, 'file'), 'ours')
    assert back.keys() == with_counters.keys()
    assert all(torch.equal(back[key], with_counters[key]) for key in back)


def test_older_names_are_todays(weights_of):
    weights = weights_of('fasterrcnn_resnet50_fpn')
    older = {
        key.replace('rpn.head.conv.0.0', 'rpn.head.conv')
        if 'rpn' in key
        else key.replace('.0.weight', '.weight').replace('.0.bias', '.bias')
        if '_blocks' in key
        else key: tensor
        for key, tensor in weights.items()
    }
    assert len(older.keys() - weights.keys()) == 18
    converted = from_torchvision(older, 'file').tensors
    assert same(converted, from_torchvision(weights, 'file').tensors)


def small_head(weights: dict, classes: int) -> dict:
    """Cut the classifier to a detector of few classes."""
    rows = {'cls_score': classes + 1, 'bbox_pred': 4 * (classes + 1)}
    return {
        key: tensor[: rows[key.split('.')[2]]] if 'box_predictor' in key else tensor
        for key, tensor in weights.items()
    }


def test_own_classes(weights_of):
    """Any other number of rows: the background comes last, all else stays in order."""
    weights = small_head(weights_of('fasterrcnn_resnet50_fpn'), 3)
    converted = from_torchvision(weights, 'file')
    bias = weights['roi_heads.box_predictor.cls_score.bias']
    head = {k[19:]: v for k, v in converted.tensors.items() if 'bbox_head' in k}
    assert torch.equal(head['fc_cls.bias'], bias[[1, 2, 3, 0]])
    boxes = weights['roi_heads.box_predictor.bbox_pred.weight']
    assert torch.equal(head['fc_reg.weight'], boxes[4:])
    trained_here = to_torchvision(Weights(converted.tensors), 'ours')
    boxes_back = trained_here['roi_heads.box_predictor.bbox_pred.weight']
    assert torch.equal(boxes_back[4:], boxes[4:])
    assert (boxes_back[:4] == 0).all()


def test_a_tensor_too_few_too_many_or_misshapen_is_named(weights_of):
    weights = weights_of('fasterrcnn_resnet50_fpn')
    key = 'backbone.body.layer2.1.conv2.weight'
    without = {k: v for k, v in weights.items() if k != key}
    with pytest.raises(UserError, match=f'1 missing: {key}'):
        from_torchvision(without, 'file')
    with pytest.raises(UserError, match=r'1 not of it: mask\.weight'):
        from_torchvision({**weights, 'mask.weight': torch.zeros(1)}, 'file')
    with pytest.raises(UserError, match=rf'{key} \(3,\) instead of \(128, 128, 3, 3\)'):
        from_torchvision({**weights, key: torch.zeros(3)}, 'file')
    with pytest.raises(UserError, match="none of torchvision's Faster R-CNNs"):
        from_torchvision({'fc.weight': torch.zeros(1)}, 'file')
    mine = from_torchvision(weights, 'file')
    del mine.tensors['neck.fpn_convs.0.conv.weight']
    with pytest.raises(UserError, match=r'1 missing: neck\.fpn_convs\.0\.conv\.weight'):
        to_torchvision(mine, 'ours')
    with pytest.raises(UserError, match='no model of configs/torchvision'):
        to_torchvision(Weights({'a': torch.zeros(1)}), 'ours')


@pytest.mark.parametrize('height, width', [(800, 1344), (32, 64), (224, 96)])
def test_anchors_equal_torchvisions(height, width):
    sizes = [(height // 4, width // 4)]
    for _ in range(4):
        sizes.append(tuple((side + 1) // 2 for side in sizes[-1]))
    theirs = AnchorGenerator(
        tuple((32 * 2**i,) for i in range(5)), ((0.5, 1.0, 2.0),) * 5
    )
    images = ImageList(torch.zeros(1, 3, height, width), [(height, width)])
    expected = theirs(images, [torch.zeros(1, 1, *size) for size in sizes])[0]
    config = ours.load('torchvision/faster-rcnn_r50_fpn_coco')
    generator = TASK_UTILS.build(config.model.rpn_head.anchor_generator)
    anchors = torch.cat(generator.grid_priors(sizes, device='cpu'))
    assert torch.equal(anchors, expected)
