"""The ledger of whole test runs, of our detectors and of mmdet's own, counted again."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner, load_checkpoint
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torchvision.ops import box_iou

import mmfrcnn  # noqa: F401
from mmfrcnn.evaluation.ledger import LedgerHook
from mmfrcnn.evaluation.ledger.fates import FATES, NOT_PROPOSED
from mmfrcnn.evaluation.ledger.mistakes import NAMES
from tests.evaluation.ledger.nearest import nearest_to

CASCADE = dict(
    type='BatchedCascadeRoIHead',
    num_stages=2,
    stage_loss_weights=[1, 0.5],
)
STOCK = {
    'model.type': 'FasterRCNN',
    'model.rpn_head.type': 'RPNHead',
    'model.roi_head.type': 'StandardRoIHead',
    'model.roi_head.bbox_roi_extractor.type': 'SingleRoIExtractor',
}
DETECTORS = {
    'ours': {},
    "mmdet's": STOCK,
    'one box for all classes': {'model.roi_head.bbox_head.reg_class_agnostic': True},
    'softmax': {'model.rpn_head.loss_cls.use_sigmoid': False},
    'sigmoids': {'model.roi_head.bbox_head.loss_cls.use_sigmoid': True},
    'cascade': {},
    "mmdet's cascade": STOCK,
    'few proposals': {
        'model.test_cfg.rpn.nms_pre': 3,
        'model.test_cfg.rpn.max_per_img': 5,
    },
}


def runner_of(folder: Path, name: str, work_dir: Path, **changed: object) -> Runner:
    config = Config.fromfile(folder / 'tiny.py')
    config.work_dir, config.experiment_name = str(work_dir), work_dir.name
    config.merge_from_dict({**DETECTORS[name], **changed})
    if 'cascade' in name:
        head = config.model.roi_head
        heads = [dict(head.bbox_head), dict(head.bbox_head)]
        extractors = [dict(head.bbox_roi_extractor), dict(head.bbox_roi_extractor)]
        head.update(CASCADE, bbox_head=heads, bbox_roi_extractor=extractors)
        if name == "mmdet's cascade":
            head.type = 'CascadeRoIHead'
        training = config.model.train_cfg
        training.rcnn = [training.rcnn, training.rcnn]
    torch.manual_seed(0)
    runner = Runner.from_cfg(config)
    model, path = runner.model, folder / 'run/epoch_20.pth'
    load_checkpoint(model, str(path), strict=False)
    if 'cascade' in name:
        weights = torch.load(path, weights_only=True)['state_dict']
        prefix = 'roi_head.bbox_head.'
        own = {k.removeprefix(prefix): v for k, v in weights.items() if prefix in k}
        for head in model.roi_head.bbox_head:
            head.load_state_dict(own)
    return runner


def proposals_of(model, dataset) -> dict[int, tuple[torch.Tensor, torch.Tensor]]:
    """Ask the first stage by itself: boxes in pixels of the images, and scores."""
    found = {}
    for index in range(len(dataset)):
        item = dataset[index]
        batch = dict(inputs=[item['inputs']], data_samples=[item['data_samples']])
        data = model.data_preprocessor(batch, False)
        with torch.no_grad():
            maps = model.extract_feat(data['inputs'])
            (one,) = model.rpn_head.predict(maps, data['data_samples'], rescale=True)
        found[item['data_samples'].img_id] = one.bboxes, one.scores
    return found


def recall(annotations: Path, proposals: dict, number: int) -> float:
    """Average recall by pycocotools."""
    results = [
        dict(
            image_id=image,
            category_id=1,
            bbox=[box[0], box[1], box[2] - box[0], box[3] - box[1]],
            score=score,
        )
        for image, (boxes, scores) in proposals.items()
        for box, score in zip(boxes.tolist(), scores.tolist(), strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(annotations)
        evaluator = COCOeval(coco, coco.loadRes(results), 'bbox')
        evaluator.params.useCats = 0
        evaluator.params.maxDets = [number]
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator.eval['recall'][:, 0, 0, 0].mean()


@pytest.mark.parametrize('name', DETECTORS)
def test_the_ledger_is_what_a_second_count_finds(name, folder, tmp_path):
    runner = runner_of(folder, name, tmp_path / 'run')
    plain = runner.test()
    hook = LedgerHook()
    runner.register_hook(hook)
    assert runner.test() == plain  # seen, not changed
    summary = json.loads((Path(runner.log_dir) / 'ledger.json').read_text())

    truth = json.loads((folder / 'data/train.json').read_text())
    counted = [one for one in truth['annotations'] if not one['iscrowd']]
    objects, detections = summary['objects'], summary['detections']
    assert summary['images'] == len(truth['images'])
    assert objects['total'] == len(counted) > 10
    assert sum(objects[fate] for fate in FATES) == objects['total']
    assert sum(detections[kind] for kind in NAMES) == detections['total']
    assert detections['true'] == objects['detected']
    assert objects['not_proposed'] == sum(objects[fate] for fate in NOT_PROPOSED)
    for groups in summary['groups'].values():
        for fate in ('total', *FATES):
            assert sum(one['objects'][fate] for one in groups.values()) == objects[fate]

    columns = np.load(Path(runner.log_dir) / 'ledger.npz')  # it allows no pickles
    fates = columns['fates'][columns['object_fate']]
    kinds = columns['kinds'][columns['detection_kind']]
    assert {fate: (fates == fate).sum() for fate in FATES}.items() <= objects.items()
    assert {k: (kinds == k).sum() for k in NAMES}.items() <= detections.items()
    ids = {str(one['id']): one for one in truth['images']}
    for row, box in zip(columns['object_image'], columns['object_box'], strict=True):
        own = ids[columns['image_id'][row]]
        assert Path(columns['image_path'][row]).name == own['file_name']
        x1, y1, x2, y2 = box.tolist()
        near = [one['bbox'] for one in counted if one['image_id'] == own['id']]
        assert [x1, y1, x2 - x1, y2 - y1] in near
    true = kinds == 'true'
    finds = columns['detection_object'][true]
    assert len(set(finds)) == len(finds) and set(fates[finds]) <= {'detected'}
    for column in ('image', 'label'):
        same = columns[f'object_{column}'][finds]
        assert (same == columns[f'detection_{column}'][true]).all()
    best = columns['object_rank'] < np.inf
    assert set(fates[~best]).isdisjoint({'called_background', 'badly_regressed'})

    model = runner.model.eval()
    proposals = proposals_of(model, runner.test_dataloader.dataset)
    for number in (100, 300, 1000):
        expected = recall(folder / 'data/train.json', proposals, number)
        assert summary['recall'][f'AR@{number}'] == pytest.approx(expected, abs=1e-9)
    seen = set()
    for page in hook._pages:
        boxes = torch.from_numpy(page.boxes).float()
        reached = (box_iou(boxes, proposals[page.image_id][0]) >= 0.5).any(1)
        found = torch.from_numpy(page.found).float()
        near = box_iou(boxes, found) >= 0.5
        for index, fate in enumerate(page.fates):
            seen.add(fate)
            same = page.labels[index] == page.found_labels
            if fate == 'detected':
                assert (near[index].numpy() & same).any()
            elif fate in (*NOT_PROPOSED, 'no_anchor'):
                assert not reached[index]
            elif fate in ('called_background', 'called_other_class', 'badly_regressed'):
                assert reached[index] and not (near[index].numpy() & same).any()
        nearest_is_a_second_counts(page, boxes, proposals[page.image_id][0], found)
    assert 'detected' in seen and len(seen) > 1, seen
    np.testing.assert_array_equal(
        columns['object_proposal_iou'],
        np.concatenate([page.nearest.proposal_iou for page in hook._pages]),
    )
    of_object = columns['object_detection']
    same = columns['detection_image'][of_object] == columns['object_image']
    assert (same | (of_object == -1)).all() and same.any()


def nearest_is_a_second_counts(page, boxes, proposals, found) -> None:
    """Compare what came nearest with all proposals and detections of an image."""
    nearest = page.nearest
    for all_of_them, iou in (
        (proposals, nearest.proposal_iou),
        (found, nearest.detection_iou),
    ):
        best = box_iou(boxes, all_of_them).amax(1)
        np.testing.assert_allclose(iou, best, atol=1e-4)
    for own, iou in (
        (nearest.proposal_box, nearest.proposal_iou),
        (page.found[nearest.detection], nearest.detection_iou),
        (nearest.anchor_box, nearest.anchor_iou),
    ):
        each = box_iou(boxes, torch.tensor(own).float()).diagonal()
        np.testing.assert_allclose(each, iou, atol=1e-4)


def test_a_head_asked_twice_is_seen_once(folder, tmp_path):
    """A second run of one model, and a model that no ledger watches any more."""
    runner = runner_of(folder, 'ours', tmp_path / 'run')
    hook = LedgerHook()
    runner.register_hook(hook)
    first = runner.test()
    count = len(hook._pages)
    assert runner.test() == first and len(hook._pages) == count == 8
    assert 'predict' not in vars(runner.model.roi_head)
    assert not runner.model.rpn_head._forward_hooks


def test_without_second_stage_there_is_no_ledger(folder, tmp_path):
    runner = runner_of(folder, 'ours', tmp_path / 'run')
    model = runner.model
    hook = LedgerHook()
    head, model.roi_head = model.roi_head, torch.nn.Identity()
    hook.before_test_epoch(runner)
    hook.after_test_iter(runner, 0, None, [])
    hook.after_test_epoch(runner)
    assert not list(Path(runner.log_dir).glob('ledger.json'))
    model.roi_head = head


def test_images_without_objects_are_accounted_for(folder, tmp_path):
    truth = json.loads((folder / 'data/train.json').read_text())
    left = [one for one in truth['annotations'] if one['image_id'] > 2]
    path = tmp_path / 'few.json'
    path.write_text(json.dumps({**truth, 'annotations': left}))
    config = Config.fromfile(folder / 'tiny.py')
    config.work_dir, config.experiment_name = str(tmp_path / 'run'), tmp_path.name
    config.test_dataloader.dataset.update(ann_file=str(path), test_mode=True)
    config.test_evaluator.ann_file = str(path)
    runner = Runner.from_cfg(config)
    load_checkpoint(runner.model, str(folder / 'run/epoch_20.pth'))
    runner.register_hook(LedgerHook())
    runner.test()
    summary = json.loads((Path(runner.log_dir) / 'ledger.json').read_text())
    assert summary['images'] == 8
    assert summary['objects']['total'] == sum(not one['iscrowd'] for one in left)
    assert summary['detections']['background'] > 0


def test_no_test_ends_for_its_ledger(folder, tmp_path, monkeypatch):
    """A part of somebody's own may hand on what nobody here expects."""
    runner = runner_of(folder, 'ours', tmp_path / 'run')
    plain = runner.test()
    runner.register_hook(LedgerHook())
    said = []
    monkeypatch.setattr(runner.logger, 'warning', said.append)
    predict = type(runner.model.rpn_head).predict

    def twice(self, *args, **kwargs):
        """As a network does that proposes for three branches of its own."""
        return [*predict(self, *args, **kwargs)] * 2

    monkeypatch.setattr(type(runner.model.rpn_head), 'predict', twice)
    roi_head = type(runner.model.roi_head)
    decide = roi_head.predict
    monkeypatch.setattr(
        roi_head,
        'predict',
        lambda self, x, proposals, *args, **kwargs: decide(
            self, x, proposals[: len(proposals) // 2], *args, **kwargs
        ),
    )
    assert runner.test() == plain
    assert len(said) == 1 and said[0].startswith('No ledger: ')
    assert not list(Path(runner.log_dir).glob('ledger.*'))
    assert not runner.model.rpn_head._forward_hooks
    assert 'predict' not in vars(runner.model.roi_head)


def test_images_that_share_an_id_have_no_ledger(folder, tmp_path, monkeypatch):
    runner = runner_of(folder, 'ours', tmp_path / 'run')
    dataset = runner.test_dataloader.dataset
    info = dataset.get_data_info
    monkeypatch.setattr(dataset, 'get_data_info', lambda i: {**info(i), 'img_id': 1})
    hook = LedgerHook()
    hook.before_test_epoch(runner)
    assert hook._tracer is None
    assert 'predict' not in vars(runner.model.roi_head)


def test_numbers_by_hand():
    """Two of three objects found; of the third, nothing was proposed."""
    from mmfrcnn.evaluation.ledger.ledger import summarise
    from mmfrcnn.evaluation.ledger.page import Page

    ranks = np.full((10, 3), np.inf)
    ranks[:5, 0], ranks[:, 1] = 0, 150  # half of the thresholds; beyond the first 100
    boxes = np.array([[0.0, 0, 9, 9], [20, 20, 40, 40], [50, 50, 99, 99]])
    page = Page(
        1,
        'a.png',
        boxes,
        np.array([0, 1, 1]),
        {'size': ['small', 'small', 'medium']},
        ['detected', 'detected', 'not_regressed'],
        nearest_to(boxes, boxes[:2]),
        ranks,
        boxes[:2],
        np.array([0.9, 0.8]),
        np.array([0, 1]),
        np.array([0, 0]),
        np.array([0, 1]),
        np.ones((10, 2), np.int8),
        (100, 100),
        (1.0, 1.0),
    )
    summary = summarise([page], ['cat', 'dog'], 0.5)
    assert summary['objects']['detected'] == 2
    assert summary['objects']['not_proposed'] == 1
    assert summary['recall']['AR@100'] == pytest.approx(5 / 30)
    assert summary['recall']['AR@300'] == pytest.approx(15 / 30)
    dog = summary['groups']['class']['dog']
    assert dog['objects']['total'] == 2 and dog['recall']['AR@1000'] == 0.5
    assert summary['groups']['size']['small']['recall']['AR@300'] == 0.75
    assert summary['regained']['AP'] == pytest.approx((1 + 51 / 101) / 2)
    assert summary['regained']['objects']['proposals'] == pytest.approx(25 / 101)


def test_nothing_at_all_is_written_too(tmp_path):
    from mmfrcnn.evaluation.ledger.columns import Columns

    Columns.of([], ['cat']).write(tmp_path / 'ledger.npz')
    columns = Columns.read(tmp_path / 'ledger.npz')
    assert columns.object_box.shape == (0, 4) and columns.image_size.shape == (0, 2)
    assert columns.detection_hits.shape == (10, 0)
    assert columns.classes.tolist() == ['cat']


def test_a_file_of_another_kind_is_refused(tmp_path):
    from mmfrcnn.errors import UserError
    from mmfrcnn.evaluation.ledger.columns import Columns

    np.savez(tmp_path / 'a.npz', image_id=np.array([{}], object))
    np.savez(tmp_path / 'b.npz', image_id=np.zeros(1))
    (tmp_path / 'c.npz').write_text('no archive')
    for name in 'abcd':  # d does not exist
        with pytest.raises(UserError, match=f'{name}.npz is not a ledger'):
            Columns.read(tmp_path / f'{name}.npz')
