"""The validation loss: what it is, and that training does not notice."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.structures import InstanceData

from mmfrcnn.errors import UserError
from mmfrcnn.modeling.sampler import balanced_samplers
from mmfrcnn.training.results import read_results
from mmfrcnn.training.validation_loss import overfitting
from tests.end_to_end.tiny import make_config

PARTS = ('rpn_cls', 'rpn_bbox', 'cls', 'bbox')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('validation')
    make_config(folder)
    return folder


def runner_of(folder: Path, work_dir: Path, hooks=(), **changed) -> Runner:
    config = Config.fromfile(folder / 'tiny.py')
    config.train_dataloader.sampler.shuffle = True
    # Half the size: the ground truth has to be scaled.
    for step in config.val_dataloader.dataset.pipeline:
        if step.type == 'Resize':
            step.scale = (64, 48)
    config.work_dir, config.experiment_name = str(work_dir), work_dir.name
    config.custom_hooks = [dict(type='ResultsHook'), *hooks]
    config.train_cfg.update(max_epochs=3, val_interval=1)
    config.merge_from_dict(changed)
    return Runner.from_cfg(config)


LOSS = dict(type='ValidationLossHook')


def losses_by_hand(runner: Runner, drawn: int) -> dict[str, float]:
    """Compute the losses of each batch as training does, boxes from the pipeline."""
    model = runner.model.eval()
    total: dict[str, float] = {}
    dataset = runner.val_dataloader.dataset
    for start in range(0, len(dataset), 4):
        items = [dataset[index] for index in range(start, start + 4)]
        samples = []
        for item in items:
            given = item['data_samples']
            sample = DetDataSample(metainfo=given.metainfo)
            boxes = given.gt_instances.bboxes.tensor * 0.5
            sample.gt_instances = InstanceData(
                bboxes=boxes, labels=given.gt_instances.labels
            )
            sample.ignored_instances = InstanceData(
                bboxes=given.ignored_instances.bboxes.tensor * 0.5
            )
            samples.append(sample)
        batch = dict(inputs=[one['inputs'] for one in items], data_samples=samples)
        data = model.data_preprocessor(batch, False)
        for sampler in balanced_samplers(model):
            sampler.draws = drawn
        with torch.no_grad():
            losses = model(**data, mode='loss')
        for name in PARTS:
            loss = losses[f'loss_{name}']
            value = sum(loss) if isinstance(loss, list) else loss
            total[name] = total.get(name, 0) + float(value) * len(items) / len(dataset)
    return total


def test_it_is_the_loss_of_training_on_the_images_of_validation(folder, tmp_path):
    runner = runner_of(folder, tmp_path / 'run', [LOSS])
    runner.call_hook('before_run')
    metrics = runner.val()
    expected = losses_by_hand(runner, 0)
    for name, loss in expected.items():
        assert metrics[f'val_loss_{name}'] == pytest.approx(loss, rel=1e-4), name
        assert loss > 0
    assert metrics['val_loss'] == pytest.approx(sum(expected.values()), rel=1e-4)
    # Another sample would be another loss.
    other = losses_by_hand(runner, 7)
    assert other['cls'] != pytest.approx(expected['cls'], rel=1e-4)
    assert runner.val() == metrics


def test_training_does_not_notice(folder, tmp_path):
    weights, metrics = [], []
    for name, hooks in (('without', []), ('with', [LOSS])):
        runner = runner_of(folder, tmp_path / name, hooks)
        runner.train()
        checkpoint = torch.load(tmp_path / name / 'epoch_3.pth', weights_only=True)
        weights.append(checkpoint)
        rows = read_results(tmp_path / name / 'results.csv')
        metrics.append([row['coco/bbox_mAP'] for row in rows])
        assert 'extract_feat' not in vars(runner.model)
        assert not runner.model.neck._forward_hooks
    one, other = (checkpoint['state_dict'] for checkpoint in weights)
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    draws = [
        {k: v.get('draws') for k, v in state._metadata.items() if 'draws' in v}
        for state in (one, other)
    ]
    assert draws[0] == draws[1] and any(draws[0].values())
    assert metrics[0] == metrics[1]
    losses = [float(row['val_loss']) for row in rows]
    assert len(losses) == 3 and losses[-1] < losses[0]
    assert {f'val_loss_{name}' for name in PARTS} <= set(rows[0])


def test_it_chooses_the_best_and_ends_the_run(folder, tmp_path):
    stop = dict(type='EarlyStoppingHook', monitor='val_loss', patience=1, min_delta=1e9)
    checkpoint = dict(type='CheckpointHook', interval=1, save_best='val_loss')
    changed = {'default_hooks.checkpoint': checkpoint}
    runner = runner_of(folder, tmp_path / 'run', [LOSS, stop], **changed)
    runner.train()
    assert runner.epoch == 2  # it never falls by so much
    rows = read_results(tmp_path / 'run/results.csv')
    losses = [float(row['val_loss']) for row in rows]
    best = losses.index(min(losses)) + 1
    assert (tmp_path / f'run/best_val_loss_epoch_{best}.pth').is_file()


def test_mmdets_own_heads_throw_the_same_dice(folder, tmp_path):
    stock = {
        'model.type': 'FasterRCNN',
        'model.rpn_head.type': 'RPNHead',
        'model.roi_head.type': 'StandardRoIHead',
        'model.train_cfg.rpn.sampler.type': 'RandomSampler',
        'model.train_cfg.rcnn.sampler.type': 'RandomSampler',
    }
    states = []
    for name, hooks in (('without', []), ('with', [LOSS])):
        runner = runner_of(folder, tmp_path / name, hooks, **stock)
        runner.call_hook('before_run')
        torch.manual_seed(5)
        first = runner.val()
        states.append(torch.random.get_rng_state())
    assert torch.equal(*states)
    torch.rand(3)
    assert runner.val() == first
    assert first['val_loss'] > 0


def test_masks_are_refused(folder, tmp_path):
    runner = runner_of(folder, tmp_path / 'run', [LOSS])
    runner.call_hook('before_run')
    type(runner.model).with_mask = True
    try:
        with pytest.raises(UserError, match='masks'):
            runner.val()
    finally:
        del type(runner.model).with_mask


def rows_of(val_losses, losses):
    return [
        {'iteration': str(i), 'val_loss': str(val), 'loss': str(loss)}
        for i, (val, loss) in enumerate(zip(val_losses, losses, strict=True), start=1)
    ]


@pytest.mark.parametrize(
    'val_losses, losses, said',
    [
        ([0.9, 0.5, 0.6], [0.9, 0.4, 0.3], 'lowest after iteration 2 (0.500)'),
        ([0.9, 0.5, 0.51], [0.9, 0.4, 0.3], ''),  # hardly risen
        ([0.9, 0.5, 0.6], [0.9, 0.4, 0.5], ''),  # both have: it is the rate
        ([0.9, 0.6, 0.5], [0.9, 0.4, 0.3], ''),
        (['', '', ''], [0.9, 0.4, 0.3], ''),
        ([], [], ''),
    ],
)
def test_overfitting_is_said(val_losses, losses, said):
    found = overfitting(rows_of(val_losses, losses))
    assert said in found and bool(found) == bool(said)
