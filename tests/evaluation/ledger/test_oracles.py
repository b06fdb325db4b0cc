"""What one perfect step would give, found again by other means.

Perfect proposals are given to the detector's own second stage, and the rest is computed
candidate by candidate in plain loops; the figures are pycocotools'.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.structures.bbox import bbox2roi
from mmengine.structures import InstanceData
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torchvision.ops import box_iou

from mmfrcnn.evaluation.ledger import LedgerHook
from mmfrcnn.evaluation.ledger.fates import Rules
from mmfrcnn.evaluation.ledger.oracles import DETECTOR, ORACLES, oracles_of
from mmfrcnn.evaluation.ledger.regained import oracle_gains
from mmfrcnn.evaluation.ledger.table import table
from mmfrcnn.evaluation.ledger.trace import ImageTrace, SecondStage, Tracer
from mmfrcnn.evaluation.ledger.truth import Truth
from mmfrcnn.modeling.box_coder import DeltaBoxCoder
from mmfrcnn.modeling.roi_head import BatchedRoIHead
from mmfrcnn.structures.proposals import Proposals

from .test_hook import runner_of

LARGER = {'test_dataloader.dataset.pipeline.1.scale': (160, 120)}  # by 1.25
NAMES = (
    *('ours', "mmdet's", 'one box for all classes', 'sigmoids'),
    *('cascade', "mmdet's cascade"),
)
GIVEN = ('anchors', 'missing proposals', 'proposals')


@pytest.fixture(scope='module')
def kept(folder, tmp_path_factory):
    """Test a detector with a ledger: its runner, hook, sums and metrics."""

    @functools.cache
    def run(name: str, nms: str = 'nms'):
        runner = runner_of(folder, name, tmp_path_factory.mktemp('run'), **LARGER)
        runner.model.roi_head.test_cfg.nms.type = nms
        hook = LedgerHook()
        runner.register_hook(hook)
        metrics = runner.test()
        summary = json.loads((Path(runner.log_dir) / 'ledger.json').read_text())
        return runner, hook, summary, metrics

    return run


def coco_ap(annotations: Path, found: dict) -> dict[str, float]:
    """Return the AP of (boxes, scores, labels) by image, at IoU .5 and COCO's mean."""
    results = [
        dict(
            image_id=image,
            category_id=label + 1,
            bbox=[box[0], box[1], box[2] - box[0], box[3] - box[1]],
            score=score,
        )
        for image, parts in found.items()
        for box, score, label in zip(*(one.tolist() for one in parts), strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(annotations)
        evaluator = COCOeval(coco, coco.loadRes(results), 'bbox')
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return {'AP': evaluator.stats[1], 'mean_AP': evaluator.stats[0]}


def batches(runner):
    """Each image as the network is fed it, with its objects that count."""
    model, dataset = runner.model.eval(), runner.test_dataloader.dataset
    for index in range(len(dataset)):
        item = dataset[index]
        batch = dict(inputs=[item['inputs']], data_samples=[item['data_samples']])
        data = model.data_preprocessor(batch, False)
        sample = item['data_samples']
        assert sample.scale_factor == (1.25, 1.25)
        with torch.no_grad():
            maps = model.extract_feat(data['inputs'])
            (one,) = model.rpn_head.predict(maps, data['data_samples'], rescale=False)
        own = [
            one
            for one in dataset.get_data_info(index)['instances']
            if not one['ignore_flag']
        ]
        boxes = torch.tensor([one['bbox'] for one in own]).view(-1, 4)
        labels = [one['bbox_label'] for one in own]
        yield SimpleNamespace(
            id=sample.img_id,
            maps=maps,
            samples=data['data_samples'],
            proposals=one.bboxes,
            boxes=boxes,
            labels=labels,
            near=box_iou(one.bboxes, boxes * 1.25),
        )


def expect(summary, annotations, name, found):
    """Compare what an oracle adds with what pycocotools makes of its detections."""
    base, got = summary['oracles'][DETECTOR], summary['oracles']['gains'][name]
    expected = coco_ap(annotations, found)
    for kind, value in expected.items():
        assert got[kind] == pytest.approx(value - base[kind], abs=1e-6), (name, kind)


@pytest.mark.parametrize('name', NAMES)
def test_proposals_are_the_second_stages_own_answer(name, folder, kept):
    runner, hook, summary, metrics = kept(name)
    base = summary['oracles'][DETECTOR]
    assert list(summary['oracles']['gains']) == list(ORACLES)
    # The metric writes three digits.
    assert base['AP'] == pytest.approx(metrics['coco/bbox_mAP_50'], abs=6e-4)
    assert base['mean_AP'] == pytest.approx(metrics['coco/bbox_mAP'], abs=6e-4)
    assert base['AP'] == pytest.approx(summary['regained']['AP'], abs=1e-9)

    fates = {page.image_id: np.array(page.fates) for page in hook._pages}
    found = {one: {} for one in GIVEN}
    for image in batches(runner):
        objects = image.boxes * 1.25
        missing = ~(image.near >= 0.5).any(0)
        no_anchor = torch.from_numpy(fates[image.id] == 'no_anchor')
        for given, boxes in (
            ('anchors', torch.cat([image.proposals, objects[no_anchor]])),
            ('missing proposals', torch.cat([image.proposals, objects[missing]])),
            ('proposals', objects),
        ):
            proposals = InstanceData(bboxes=boxes, scores=torch.ones(len(boxes)))
            with torch.no_grad():
                (one,) = runner.model.roi_head.predict(
                    image.maps, [proposals], image.samples, rescale=True
                )
            found[given][image.id] = one.bboxes, one.scores, one.labels
    for given in GIVEN:
        expect(summary, folder / 'data/train.json', given, found[given])


def nms(candidates: list, threshold: float, most: int | None) -> list:
    """Greedy, best first, of (box, score, label)."""
    kept = []
    for one in sorted(candidates, key=lambda one: -one[1]):
        same = [other[0] for other in kept if other[2] == one[2]]
        if not same or box_iou(one[0][None], torch.stack(same)).max() <= threshold:
            kept.append(one)
    return kept[:most]


def loops(image, boxes, scores, threshold: float, most: int) -> dict[str, list]:
    """The perfect class, box and NMS, by their definitions.

    Args:
        image (SimpleNamespace): Its proposals and objects.
        boxes (Tensor): Of each class, in pixels of the image, (P, C or 1, 4).
        scores (Tensor): Probabilities, (P, C + 1).
    """
    found = {'class': [], 'box': []}
    plain = []
    for place, near in enumerate(image.near.tolist()):
        reached = [g for g, iou in enumerate(near) if iou >= 0.5]
        if reached:
            label = image.labels[max(reached, key=lambda g: near[g])]
            box = boxes[place, min(label, boxes.shape[1] - 1)]
            found['class'].append((box, 1 + scores[place, label], label))
        for label in range(scores.shape[1] - 1):
            box, score = boxes[place, min(label, boxes.shape[1] - 1)], scores[place]
            plain.append((box, score[label], label))
            of_class = [g for g in reached if image.labels[g] == label]
            if of_class:
                box = image.boxes[max(of_class, key=lambda g: near[g])]
            found['box'].append((box, score[label], label))
    found = {name: nms(one, threshold, most) for name, one in found.items()}

    def reaching(one) -> list[tuple[float, int]]:
        overlap = box_iou(one[0][None].double(), image.boxes.double())[0].tolist()
        return [
            (iou, g)
            for g, iou in enumerate(overlap)
            if iou >= 0.5 and image.labels[g] == one[2]
        ]

    taken, best = set(), []
    for one in sorted(plain, key=lambda one: -one[1]):
        free = [(iou, g) for iou, g in reaching(one) if g not in taken]
        if free:
            taken.add(max(free)[1])
            best.append(one)
    best += [one for one in nms(plain, threshold, None) if not reaching(one)]
    found['NMS'] = sorted(best, key=lambda one: -one[1])[:most]
    return found


@pytest.mark.parametrize('name', ['ours', "mmdet's", 'one box for all classes'])
def test_class_box_and_nms_are_plain_loops(name, folder, kept):
    runner, _, summary, _ = kept(name)
    head, cfg = runner.model.roi_head, runner.model.roi_head.test_cfg
    found = {one: {} for one in ('class', 'box', 'NMS')}
    for image in batches(runner):
        rois = bbox2roi([image.proposals])
        with torch.no_grad():
            result = head._bbox_forward(image.maps, rois)
            (raw,) = head.bbox_head.predict_by_feat(
                [rois],
                [result['cls_score']],
                [result['bbox_pred']],
                [image.samples[0].metainfo],
                rescale=True,
            )
        boxes = raw.bboxes.unflatten(1, (-1, 4))
        threshold, most = cfg.nms.iou_threshold, cfg.max_per_img
        answers = loops(image, boxes, raw.scores, threshold, most)
        for oracle, answer in answers.items():
            found[oracle][image.id] = (
                torch.stack([*(one[0] for one in answer), torch.zeros(4)])[:-1],
                torch.tensor([float(one[1]) for one in answer]),
                torch.tensor([one[2] for one in answer]),
            )
    gains = summary['oracles']['gains']
    assert any(abs(gains[one]['mean_AP']) > 1e-3 for one in found), gains
    for oracle, answers in found.items():
        expect(summary, folder / 'data/train.json', oracle, answers)


def test_an_nms_of_another_kind_is_the_detectors(folder, kept):
    """Soft-NMS changes scores, too."""
    _, _, summary, metrics = kept('ours', 'soft_nms')
    base = summary['oracles'][DETECTOR]
    assert base['AP'] == pytest.approx(metrics['coco/bbox_mAP_50'], abs=6e-4)
    assert base['AP'] == pytest.approx(summary['regained']['AP'], abs=1e-9)
    assert len(summary['oracles']['gains']) == len(ORACLES)


def test_a_second_stage_that_refuses_objects_has_the_other_oracles(
    folder, kept, monkeypatch
):
    decide = BatchedRoIHead.predict

    def choosy(self, x, proposals, *args, **kwargs):
        if not isinstance(proposals, Proposals):
            raise TypeError('only slots')
        return decide(self, x, proposals, *args, **kwargs)

    monkeypatch.setattr(BatchedRoIHead, 'predict', choosy)
    _, _, summary, _ = kept.__wrapped__('ours')
    assert list(summary['oracles']['gains']) == ['class', 'box', 'NMS']
    assert 'perfect proposals' not in table(summary)


def test_proposals_in_lists_of_any_length(folder, tmp_path):
    """Our head fills slots from them; the rows of each image are its own."""
    runner = runner_of(folder, 'ours', tmp_path / 'run')
    model, dataset = runner.model.eval(), runner.test_dataloader.dataset
    items = [dataset[0], dataset[1], dataset[2]]
    batch = {name: [item[name] for item in items] for name in items[0]}
    data = model.data_preprocessor(batch, False)
    own = [
        torch.tensor([[4.0, 4, 40, 40 + i]]).repeat(n, 1)
        for i, n in enumerate([3, 0, 2])
    ]
    tracer = Tracer(model, lambda sample: torch.zeros(0, 4))
    with torch.no_grad():
        maps = model.extract_feat(data['inputs'])
        given = [InstanceData(bboxes=one) for one in own]
        model.roi_head.predict(maps, given, data['data_samples'], rescale=True)
    traces = tracer.images()
    tracer.close()
    for trace, boxes in zip(traces, own, strict=True):
        assert torch.equal(trace.proposals, boxes)
        assert torch.equal(trace.second.regions, boxes)
        assert trace.second.scores.shape == (len(boxes), 3)
        assert len(trace.objects.regions) == 0


SIZE = dict(img_shape=(100, 120), scale_factor=(1.0, 1.0))
LEFT, RIGHT = [10.0, 10.0, 50.0, 50.0], [20.0, 10.0, 60.0, 50.0]  # IoU .6
FLAT = [10.0, 10.0, 50.0, 10.0]


def traced(regions, scores, objects=()) -> ImageTrace:
    """Two classes; no box is moved."""
    head = SimpleNamespace(num_classes=2, bbox_coder=DeltaBoxCoder())

    def second(boxes, chances):
        boxes = torch.tensor(boxes).view(-1, 4)
        chances = torch.tensor(chances).view(-1, 3)
        return SecondStage(head, boxes, chances, torch.zeros(len(boxes), 8))

    own = second(regions, scores)
    shown = second(objects, [(0.7, 0.1, 0.2)] * len(objects))
    return ImageTrace(None, own.regions, own.scores[:, 0], own, shown)


def answers(trace, objects, labels, ignored=None, **changed):
    truth = Truth(
        np.array(objects, float).reshape(-1, 4),
        np.array(labels, np.int64),
        np.zeros(len(labels), bool) if ignored is None else np.array(ignored),
        '',
    )
    numbers = dict(score_thr=0.3, max_per_img=5, min_bbox_size=0) | changed
    rules = Rules(0.5, 0.3, None, **numbers, nms=dict(type='nms', iou_threshold=0.5))
    fates = ['not_given'] * int((~truth.ignored).sum())
    return oracles_of(trace, truth, fates, SIZE, rules, 100)


def test_neighbours_that_the_nms_mixes_up():
    """Of two near objects the NMS keeps one, and what is a second box of either."""
    regions = [LEFT, LEFT, RIGHT]
    trace = traced(regions, [(0.9, 0, 0.1), (0.8, 0, 0.2), (0.7, 0, 0.3)])
    found = answers(trace, [LEFT, RIGHT], [0, 0])
    assert found[DETECTOR].hits[0].tolist() == [1]
    assert found['NMS'].scores.tolist() == pytest.approx([0.9, 0.8])
    # By its score the second takes what is left for it: RIGHT, at .6.
    assert found['NMS'].hits[0].tolist() == [1, 1]
    assert found['NMS'].hits[-1].tolist() == [1, 0]


def test_a_class_is_certain_and_keeps_its_rank():
    trace = traced([LEFT, RIGHT], [(0.1, 0.2, 0.7), (0.2, 0.1, 0.7)])
    found = answers(trace, [LEFT], [0])
    assert len(found[DETECTOR].scores) == 0  # background both, of no other class
    # RIGHT reaches LEFT at .6, scores higher and suppresses it.
    assert found['class'].scores.tolist() == pytest.approx([1.2])
    assert found['class'].hits[0].tolist() == [1]
    assert found['class'].hits[-1].tolist() == [0]
    assert len(answers(trace, [LEFT], [0], score_thr=0.15)['class'].scores) == 1


def test_a_box_of_another_class_stays():
    trace = traced([RIGHT], [(0.5, 0.4, 0.1)])
    found = answers(trace, [LEFT], [0])
    assert found[DETECTOR].hits[[0, -1]].tolist() == [[1, 0], [0, 0]]
    assert found['box'].hits[[0, -1]].tolist() == [[1, 0], [1, 0]]
    # With an object of each class, each candidate has the box of its own.
    found = answers(trace, [LEFT, RIGHT], [0, 1])
    assert found[DETECTOR].hits[[0, -1]].tolist() == [[1, 1], [0, 1]]
    assert found['box'].hits[[0, -1]].tolist() == [[1, 1], [1, 1]]


def test_what_counts_for_nobody_is_no_ones_oracle():
    """A crowd is not proposed, called or kept; what is found of it is left out."""
    trace = traced([LEFT], [(0.9, 0.0, 0.1)])
    for found in answers(trace, [LEFT], [0], [True]).values():
        assert set(found.hits.ravel().tolist()) <= {-1}
    assert len(answers(trace, [LEFT], [0], [True])['proposals'].scores) == 0


def test_nothing_at_all():
    found = answers(traced([], []), [], [])
    assert set(found) == {DETECTOR, *ORACLES}
    assert all(one.hits.shape == (11, 0) for one in found.values())
    found = answers(traced([], [], [LEFT, FLAT]), [LEFT, FLAT], [0, 0])
    # One without area is no proposal.
    assert found['missing proposals'].hits[0].tolist() == [1]
    assert found['proposals'].hits[0].tolist() == [1]
    assert len(found['anchors'].scores) == 0
    assert oracle_gains([], 2) == {DETECTOR: {}, 'gains': {}}
