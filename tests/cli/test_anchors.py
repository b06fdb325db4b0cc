"""``mmfrcnn anchors``: beside mmdet's own grid and assigner, and what it proposes."""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path

import mmfrcnn  # noqa: F401  (before mmdet)

# isort: split
import cv2
import numpy as np
import pytest
import torch
from mmdet.models.task_modules import AnchorGenerator, MaxIoUAssigner
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from torchvision.ops import box_iou

from mmfrcnn.cli import run_command
from mmfrcnn.cli.anchor_fit.coverage import anchor_iou, cover
from mmfrcnn.cli.anchor_fit.levels import fewest, possible_levels, strides_of
from mmfrcnn.cli.anchor_fit.objects import Objects
from mmfrcnn.cli.anchor_fit.page import table
from mmfrcnn.cli.anchor_fit.search import ENOUGH, RATIOS, SCALES, Anchors, choose
from mmfrcnn.structures.image_batch import ImageBatch

SIZES = ((96, 160), (128, 64), (70, 100))  # height, width of padded images
STRIDES = [4, 8, 16, 32]
PLAIN = dict(
    type='AnchorGenerator', strides=STRIDES, scales=[4], ratios=[0.5, 1.0, 2.0]
)
THRESHOLDS = (0.3, 0.5, 0.6, 0.7)


@pytest.fixture(autouse=True)
def _scope():
    """Find mmdet's parts, whatever ran before: the command itself sees to it."""
    init_default_scope('mmdet')


def image(boxes, size, ignored=()) -> ImageBatch:
    """Make an image as the data preprocessor leaves it, without padding."""
    meta = dict(img_id=str(size), img_shape=size, pad_shape=size)
    own = torch.as_tensor(np.array(boxes), dtype=torch.float32).view(-1, 4)
    labels = torch.zeros(len(own), dtype=torch.int64)
    crowd = torch.tensor(ignored, dtype=torch.float32).view(-1, 4)
    return ImageBatch(
        [meta],
        torch.device('cpu'),
        [InstanceData(bboxes=own, labels=labels)],
        [InstanceData(bboxes=crowd, labels=labels.new_zeros(len(crowd)))],
    )


def random_objects(seed: int = 0, count: int = 40) -> Objects:
    """Draw boxes of all sizes, some at the border, one beyond it, in three images."""
    random = np.random.default_rng(seed)
    images = []
    for size in SIZES:
        height, width = size
        centre = random.uniform(0, 1, (count, 2)) * (width, height)
        half = 2 ** random.uniform(0, 5.5, (count, 2))
        boxes = np.concatenate([centre - half, centre + half], 1)
        boxes = boxes.clip(0, [width, height, width, height])
        boxes[0] = [width + 20, 3, width + 60, 20]
        images.append(image(boxes, size, [[0, 0, width / 2, height / 3]]))
    return Objects.of(images)


def grid(generator: AnchorGenerator, size: tuple[int, int]) -> list[torch.Tensor]:
    """Return all anchors of an image, level by level, from mmdet's generator."""
    shapes = [(-(-size[0] // y), -(-size[1] // x)) for x, y in generator.strides]
    return generator.grid_priors(shapes, device='cpu')


@pytest.mark.parametrize(
    'change',
    [
        dict(),
        dict(scales=[1, 6], ratios=[0.2, 3.0]),
        dict(scales=None, octave_base_scale=3, scales_per_octave=3),
        dict(center_offset=0.5),
        dict(centers=[(3, 0), (4, 4), (0, 9), (1, 1)], base_sizes=[5, 9, 20, 40]),
        dict(strides=[(4, 8), (8, 4), (16, 32), (32, 16)]),
    ],
)
def test_iou_equals_that_of_the_whole_grid(change):
    made = {**PLAIN, **change}
    generator = AnchorGenerator(**{k: v for k, v in made.items() if k != 'type'})
    objects = random_objects()
    expected = []
    for one in objects.images:
        boxes = one.gt.boxes[one.gt.mask]
        levels = grid(generator, one[0]['pad_shape'])
        expected.append(torch.stack([box_iou(boxes, a).amax(1) for a in levels], 1))
    found = anchor_iou(objects, generator).max(2)
    np.testing.assert_allclose(found, torch.cat(expected), atol=2e-6)
    assert found.shape == (len(objects.boxes), 4) and (found[:, 0] > 0.3).any()


@pytest.mark.parametrize('border', [-1, 0])
@pytest.mark.parametrize('low_quality', [True, False])
def test_positives_are_those_of_mmdet(border, low_quality):
    rules = dict(
        pos_iou_thr=0.6,
        neg_iou_thr=0.3,
        min_pos_iou=0.3,
        match_low_quality=low_quality,
        ignore_iof_thr=0.5,
    )
    sampler = dict(type='BalancedSampler', pos_fraction=1.0, add_gt_as_proposals=False)
    train_cfg = dict(
        assigner=dict(type='AnchorAssigner', **rules),
        sampler=dict(**sampler, num=100000),
        allowed_border=border,
    )
    generator = AnchorGenerator([4, 8, 16, 32], [0.5, 1.0, 2.0], scales=[2])
    objects = random_objects(1, 12)
    expected, of_image = [], []
    for one in objects.images:
        height, width = one[0]['pad_shape']
        priors = torch.cat(grid(generator, (height, width)))
        if border == 0:
            limit = torch.tensor([width, height])
            inside = (priors[:, :2] >= 0).all(1) & (priors[:, 2:] < limit).all(1)
            priors = priors[inside]
        boxes = one.gt.boxes[one.gt.mask]
        assigned = MaxIoUAssigner(**rules).assign(
            InstanceData(priors=priors),
            InstanceData(bboxes=boxes, labels=torch.zeros(len(boxes)).long()),
            InstanceData(bboxes=one.ignored.boxes[one.ignored.mask]),
        )
        inds = assigned.gt_inds
        expected += [(inds == k + 1).sum().item() for k in range(len(boxes))]
        of_image.append((inds > 0).sum().item())
    found = cover(objects, generator, train_cfg)
    assert found.positives.tolist() == expected and sum(expected) > 3
    assert found.sampled.tolist() == expected
    few = {**train_cfg, 'sampler': dict(**sampler, num=3)}
    drawn = cover(objects, generator, few).sampled
    assert drawn.sum() == sum(min(count, 3) for count in of_image)
    assert (drawn <= found.positives).all()


def flat(count: int = 150) -> Objects:
    """Draw tiny flat boxes, 5:1."""
    random = np.random.default_rng(3)
    corner = random.uniform(0, 80, (count, 2))
    sides = random.uniform(6, 9, (count, 1)) * (5, 1)
    return Objects.of([image(np.concatenate([corner, corner + sides], 1), (128, 128))])


def generator_of(anchors: Anchors) -> AnchorGenerator:
    return AnchorGenerator(STRIDES, list(anchors.ratios), list(anchors.scales))


def best_iou(objects: Objects, anchors: Anchors) -> np.ndarray:
    return anchor_iou(objects, generator_of(anchors)).max((1, 2))


def recall_of(objects: Objects, anchors: Anchors) -> float:
    best = best_iou(objects, anchors)
    return float(np.mean([(best >= one).mean() for one in THRESHOLDS]))


def test_flat_boxes_get_flat_anchors():
    objects, present = flat(), Anchors((4.0,), (0.5, 1.0, 2.0))
    chosen = choose(objects, PLAIN, present, THRESHOLDS, 3)
    before, after = (best_iou(objects, one) for one in (present, chosen))
    assert chosen.number <= 3 and max(chosen.ratios) < 0.5
    assert (before >= 0.5).mean() < 0.2 < 0.95 < (after >= 0.5).mean()


@pytest.mark.parametrize(
    'objects',
    [
        *(flat(60), random_objects(5, 20)),
        Objects.of([image([[8, 8, 784, 784]], (800, 800))]),
    ],
    ids=['flat', 'any', 'large'],
)
def test_the_search_finds_what_trying_all_finds(objects):
    """Trying all is to look at each pair of anchors of one scale or one ratio."""
    chosen = choose(objects, PLAIN, Anchors((4.0,), (1.0,)), THRESHOLDS, 2)
    reached = {}
    for scale in SCALES:
        iou = anchor_iou(objects, generator_of(Anchors((scale,), RATIOS))).max(1)
        counts = sum(iou >= one for one in THRESHOLDS)
        reached |= {
            (scale, ratio): counts[:, k].astype(np.int8)
            for k, ratio in enumerate(RATIOS)
        }
    best = max(
        np.maximum(reached[first], reached[second]).mean()
        for first, second in itertools.combinations(reached, 2)
        if first[0] == second[0] or first[1] == second[1]
    )
    assert recall_of(objects, chosen) >= best / len(THRESHOLDS) - ENOUGH


def test_more_anchors_are_not_worse_and_useless_ones_are_left_out():
    objects, present = random_objects(7, 30), Anchors((4.0,), (1.0,))
    recalls = [
        recall_of(objects, choose(objects, PLAIN, present, THRESHOLDS, number))
        for number in (1, 2, 4, 9)
    ]
    assert all(b >= a - ENOUGH for a, b in itertools.pairwise(recalls))
    same = Objects.of([image([[32, 32, 64, 64]] * 9, (128, 128))])
    assert choose(same, PLAIN, present, THRESHOLDS, 9).number == 1


PYRAMID = Config(
    dict(
        neck=dict(type='FPN', in_channels=[8, 8, 8], num_outs=4),
        rpn_head=dict(anchor_generator=PLAIN),
        roi_head=dict(bbox_roi_extractor=dict(featmap_strides=[4, 8])),
    )
)


@pytest.mark.parametrize(
    ('change', 'levels'),
    [
        (dict(), [3, 4, 5]),
        (dict(neck=dict(start_level=1)), [2, 3, 4, 5]),
        (dict(neck=dict(end_level=2)), [3, 4, 5]),
        # An end before the backbone's last level allows no level more.
        (dict(neck=dict(end_level=1)), [4]),
        (dict(neck=dict(type='PAFPN')), [4]),
        (dict(neck=dict(num_outs=5)), [4]),
        (dict(rpn_head=dict(anchor_generator=dict(base_sizes=[4, 8, 16, 32]))), [4]),
        (
            dict(roi_head=dict(bbox_roi_extractor=dict(featmap_strides=STRIDES))),
            [4, 5],
        ),
    ],
)
def test_a_pyramid_has_levels_that_mmdet_builds(change, levels):
    model = Config(PYRAMID.to_dict())
    model.merge_from_dict(change)
    settings = {k: v for k, v in PLAIN.items() if k != 'type'}
    assert possible_levels(model, AnchorGenerator(**settings)) == levels
    if len(levels) > 1:
        least = len(model.neck.in_channels) - model.neck.get('start_level', 0)
        neck = {**model.neck, 'out_channels': 8}
        MODELS.build({**neck, 'num_outs': least})
        with pytest.raises(AssertionError):
            MODELS.build({**neck, 'num_outs': least - 1})


def test_strides_go_on_by_halving_the_last_level():
    generator = AnchorGenerator([(4, 4), (8, 6)], [1.0], [4])
    assert strides_of(generator, 1) == [4]
    assert strides_of(generator, 3) == [4, (8, 6), (16, 12)]


def test_no_more_levels_than_the_objects_need():
    assert fewest({3: 0.6, 4: 0.8 - ENOUGH / 2, 5: 0.8}) == 4
    assert fewest({2: 0.0}) == 2


def test_the_table_counts_each_group():
    boxes = [[0, 0, 40, 10], [0, 0, 31, 31], [0, 0, 50, 50], [5, 5, 25, 115]]
    objects = Objects.of([image(boxes, (128, 128))])
    train_cfg = dict(
        assigner=dict(type='AnchorAssigner', pos_iou_thr=0.7, neg_iou_thr=0.3),
        sampler=dict(type='BalancedSampler', num=64, pos_fraction=0.5),
    )
    train_cfg['sampler']['add_gt_as_proposals'] = False
    generator = AnchorGenerator(STRIDES, [1.0], [4])
    lines = table(
        objects, cover(objects, generator, train_cfg), generator.strides, [0.5]
    ).splitlines()
    counts = {line[2:12].strip(): int(line[12:20]) for line in lines[1:]}
    assert counts['all'] == 4
    assert (counts['small'], counts['medium'], counts['large']) == (2, 2, 0)
    assert (counts['tall'], counts['regular'], counts['wide']) == (1, 2, 1)
    assert sum(counts[f'stride {stride}'] for stride in STRIDES) == 4


# -- The command

CONFIG = """
_base_ = 'mmfrcnn::shapes/faster-rcnn_r18_fpn_shapes.py'
train_dataloader = dict(dataset=dict(
    _delete_=True, type='CocoDataset', data_root='', ann_file='boxes.json',
    data_prefix=dict(img=''), metainfo=dict(classes=('a', 'b', 'c', 'd', 'e', 'f')),
    pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='Resize', scale=(200, 200), keep_ratio=True),
        dict(type='PackDetInputs'),
    ]))
val_dataloader = val_cfg = val_evaluator = None
test_dataloader = test_cfg = test_evaluator = None
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Make three images, 100x100, of flat boxes, fed at twice their size."""
    monkeypatch.chdir(tmp_path)
    cv2.imwrite('a.png', np.zeros((100, 100, 3), np.uint8))
    write_boxes([[x, 3 * x, 10, 2] for x in range(5, 30)])
    Path('mine.py').write_text(CONFIG)
    return tmp_path


def write_boxes(boxes, file: str = 'boxes.json') -> None:
    content = dict(
        images=[
            dict(id=i, file_name='a.png', width=100, height=100) for i in (1, 2, 3)
        ],
        categories=[dict(id=i + 1, name=name) for i, name in enumerate('abcdef')],
        annotations=[
            dict(
                **dict(id=number, image_id=number % 3 + 1, category_id=1, iscrowd=0),
                **dict(bbox=box, area=box[2] * box[3]),
            )
            for number, box in enumerate(boxes, 1)
        ],
    )
    Path(file).write_text(json.dumps(content))


def anchors(config: str = 'mine.py', *options: str, **given) -> int:
    defaults = dict(images=500, per_cell=None, seed=0, cfg_options=list(options))
    args = argparse.Namespace(config=config, **{**defaults, **given})
    return run_command('anchors', args)


def test_what_is_proposed_can_be_copied_and_is_then_as_good(folder, capsys):
    before = {path: path.stat().st_mtime_ns for path in folder.rglob('*')}
    assert anchors() == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob('*')} == before
    out = capsys.readouterr().out
    assert '25 objects in 3 of 3 images' in out
    assert 'No object has its nearest anchor at stride 8, 16, 32.' in out
    start, end = out.index('model = dict('), out.index('\n)\n') + 3
    lines = out[start:end]
    Path('mine.py').write_text(CONFIG + lines)
    assert anchors() == 0
    assert 'The present anchors are as good' in capsys.readouterr().out
    # A bound below what the config has asks for fewer anchors, good as they may be.
    more = "model['rpn_head']['anchor_generator']['ratios'].append(16.0)"
    Path('mine.py').write_text(f'{CONFIG}{lines}{more}')
    assert anchors() == 0
    assert 'To copy into the config' not in capsys.readouterr().out
    assert anchors(per_cell=1) == 0
    out = capsys.readouterr().out
    assert 'under a bound of 1 is 1 anchor a cell' in out
    assert 'To copy into the config' in out


def test_levels_that_no_object_uses_are_proposed_away(folder, capsys):
    assert anchors() == 0
    out = capsys.readouterr().out
    assert ', on 3 levels:' in out
    assert 'neck=dict(num_outs=3)' in out and 'strides=[4, 8, 16]' in out
    # Larger than all anchors that the search looks at on the present levels.
    write_boxes([[1, 1, 97, 97]] * 9)
    large = 'train_dataloader.dataset.pipeline.2.scale=(1500, 1500)'
    assert anchors('mine.py', large, per_cell=1) == 0
    out = capsys.readouterr().out
    assert 'neck=dict(num_outs=5)' in out and 'strides=[4, 8, 16, 32, 64]' in out
    assert 'IoU 0.5: 0.0% -> 100.0%' in out


def test_of_many_objects_some_are_looked_at(folder, capsys, monkeypatch):
    """All in the tables, which take a part at a time; some where anchors are tried."""
    tried = []

    def counted(objects, generator):
        tried.append(len(objects.boxes))
        return anchor_iou(objects, generator)

    monkeypatch.setattr('mmfrcnn.cli.anchors.LOOKED_AT', 10)
    monkeypatch.setattr('mmfrcnn.cli.anchors.anchor_iou', counted)
    monkeypatch.setattr('mmfrcnn.cli.anchor_fit.search.anchor_iou', counted)
    assert anchors() == 0
    assert '25 objects in 3 of 3 images' in capsys.readouterr().out
    assert set(tried) == {10}


def test_fewer_images_are_spread_evenly(folder, capsys):
    assert anchors(images=2) == 0
    assert '17 objects in 2 of 3 images' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('text', 'says'),
    [
        ("model = dict(_delete_=True, type='RPN')", 'model has no rpn_head'),
        (
            'model = dict(rpn_head=dict(anchor_generator=dict(_delete_=True, '
            "type='YOLOAnchorGenerator', strides=[4], base_sizes=[[(9, 9)]])))",
            'model.rpn_head.anchor_generator is not one of scales',
        ),
        (
            'model = dict(rpn_head=dict(anchor_generator=dict(_delete_=True, '
            "type='MlvlPointGenerator', strides=[4])))",
            'model.rpn_head.anchor_generator is not one of scales',
        ),
        ('model = dict(rpn_head=dict(anchor_generator=None))', 'is not one of scales'),
        (
            'model = dict(rpn_head=dict(anchor_generator=dict(octave_base_scale=4, '
            'scales_per_octave=2)))',
            'model.rpn_head.anchor_generator cannot be built',
        ),
        (
            'model = dict(rpn_head=dict(anchor_generator=dict(ratios=[-1.0])))',
            'scales, ratios and strides must be larger than 0',
        ),
        ('model = dict(train_cfg=dict(rpn=None))', 'train_cfg.rpn has no assigner'),
        ('train_dataloader = None', 'mine.py has no train_dataloader'),
        (
            "train_dataloader = dict(dataset=dict(ann_file='no.json'))",
            'no such file: no.json',
        ),
        (
            "train_dataloader = dict(dataset=dict(data_prefix=dict(img='no')))",
            'no/a.png: the image cannot be loaded: there is no such file',
        ),
        (
            "train_dataloader = dict(dataset=dict(ann_file='nothing.json'))",
            'train_dataloader.dataset has no image, or none that its filter_cfg leaves',
        ),
        (
            "train_dataloader = dict(dataset=dict(ann_file='empty.json', "
            'filter_cfg=dict(filter_empty_gt=True)))',
            'train_dataloader.dataset has no image, or none that its filter_cfg leaves',
        ),
        (
            "train_dataloader = dict(dataset=dict(ann_file='empty.json'))",
            'train_dataloader.dataset gives no box to train on in 3 of its 3 images',
        ),
    ],
)
def test_what_cannot_be_looked_at_is_said_in_a_line(folder, capsys, text, says):
    write_boxes([], 'empty.json')
    content = json.loads(Path('empty.json').read_text())
    Path('nothing.json').write_text(json.dumps({**content, 'images': []}))
    Path('base.py').write_text(CONFIG)
    Path('mine.py').write_text(f"_base_ = './base.py'\n{text}\n")
    assert anchors() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('error: ') and says in line


@pytest.mark.parametrize(
    ('given', 'says'),
    [
        (dict(images=0), '--images must be at least 1, not 0'),
        (dict(per_cell=-1), '--per-cell must be at least 1, not -1'),
        (dict(config='no.py'), 'no such config file: no.py'),
    ],
)
def test_mistaken_arguments(folder, capsys, given, says):
    assert anchors(**given) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
