"""Alternating training as a user runs it: killed, resumed, and tested at the end."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.runner import Runner

from mmfrcnn.errors import UserError
from mmfrcnn.training.alternating.loop import AlternatingTrainLoop
from tests.tools import REPO, run_tool, start_forked

from .conftest import IterationRecorder


def losses(work_dir: Path) -> dict[int, float]:
    """Return the loss of each iteration from the newest log of a work folder."""
    log = max(work_dir.glob('*/vis_data/scalars.json'), key=os.path.getmtime)
    records = [json.loads(line) for line in log.read_text().splitlines()]
    return {r['step']: r['loss'] for r in records if 'loss' in r}


def leave_as_killed(work_dir: Path, iteration: int) -> None:
    """Take away all that a run wrote after a checkpoint."""
    for path in work_dir.glob('iter_*.pth'):
        if int(path.stem.partition('_')[2]) > iteration:
            path.unlink()
    for step, end in ((1, 4), (3, 13)):
        proposals = work_dir / f'alternating/proposals_step{step}.npz'
        if iteration <= end and proposals.exists():
            proposals.unlink()


@pytest.fixture(scope='module')
def resumed(alternating_config: Path, tmp_path_factory) -> tuple[Path, str]:
    """A run killed in step 2 and resumed with the tools: its folder and output."""
    work_dir = tmp_path_factory.mktemp('killed') / 'run'
    command = [str(REPO / 'tools/train.py'), str(alternating_config)]
    process = start_forked([*command, '--work-dir', str(work_dir)], Path.cwd())
    try:
        deadline = time.monotonic() + 200
        while not (work_dir / 'iter_6.pth').exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(0.05)
    finally:
        process.kill()
        process.join()
    leave_as_killed(work_dir, 6)
    result = run_tool(
        'train.py',
        alternating_config,
        *('--work-dir', work_dir, '--resume'),
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    return work_dir, result.stdout


def test_a_killed_run_goes_on_within_its_step(resumed, trained) -> None:
    work_dir, output = resumed
    reference, recorder = trained
    assert 'Resuming from ' in output
    assert 'Step 1/4' not in output
    assert 'Step 2/4: Fast R-CNN' in output
    first = next(x for x in output.splitlines() if x.startswith('Step 2/4 ['))
    done = int(first.partition('Step 2/4 [')[2].partition('/')[0]) - 1
    assert done >= 1
    # As if never killed: the same images, samples, rates and momentum.
    final = torch.load(work_dir / 'iter_18.pth', weights_only=True)['state_dict']
    for name, value in recorder.end[3].items():
        torch.testing.assert_close(final[name], value, rtol=1e-3, atol=1e-5)
    expected = losses(Path(reference.work_dir))
    found = losses(work_dir)
    assert max(found) == 18
    assert {s: found[s] for s in (10, 14, 18)} == pytest.approx(
        {s: expected[s] for s in (10, 14, 18)}, rel=1e-3
    )


def test_the_final_network_is_tested_by_the_ordinary_tool(
    resumed, trained, alternating_config: Path, tmp_path: Path
) -> None:
    work_dir, _ = resumed
    runner, _ = trained
    out = tmp_path / 'detections.json'
    checkpoint = work_dir / 'iter_18.pth'
    args = [alternating_config, checkpoint, '--work-dir', tmp_path, '--out', out]
    result = run_tool('test.py', *args, timeout=300)
    assert result.returncode == 0, result.stderr
    assert 'coco/bbox_mAP: ' in result.stdout
    found = json.loads(out.read_text())
    runner.model.eval()
    for batch in runner.val_dataloader:
        for sample in runner.model.val_step(batch):
            boxes = sample.pred_instances.bboxes.cpu().numpy()
            boxes[:, 2:] -= boxes[:, :2]
            own = [d for d in found if d['image_id'] == sample.img_id]
            assert len(own) == len(boxes) > 0
            ours = np.array([d['bbox'] for d in own])
            np.testing.assert_allclose(ours, boxes, atol=0.05)


@pytest.fixture(scope='module')
def history(trained) -> tuple[Path, IterationRecorder]:
    """The uninterrupted run, with what each iteration saw."""
    runner, _ = trained
    return Path(runner.work_dir), runner.iterations


@pytest.mark.parametrize('iteration', [2, 4, 10, 16])
def test_resumed_in_any_step_it_sees_the_same(
    history, build: Callable[..., Runner], tmp_path: Path, iteration: int
) -> None:
    """In the middle of steps 1, 3 and 4, and at the end of 1, before its proposals."""
    source, expected = history
    work_dir = tmp_path / 'run'
    shutil.copytree(source, work_dir)
    leave_as_killed(work_dir, iteration)
    checkpoint = str(work_dir / f'iter_{iteration}.pth')
    runner = build(work_dir, resume=True, load_from=checkpoint)
    seen = IterationRecorder()
    runner.register_hook(seen)
    runner.train()
    assert sorted(seen.loss) == list(range(iteration, 18))
    assert seen.images == {i: expected.images[i] for i in seen.images}
    for name in ('momentum', 'loss'):
        ours, theirs = getattr(seen, name), getattr(expected, name)
        assert ours == pytest.approx({i: theirs[i] for i in ours}, rel=1e-4), name
    resumed_in_the_middle = iteration != 4
    assert (seen.momentum[iteration] > 0) == resumed_in_the_middle


def test_a_run_is_not_resumed_without_what_it_needs(
    history, build: Callable[..., Runner], tmp_path: Path
) -> None:
    source, _ = history
    work_dir = tmp_path / 'run'
    shutil.copytree(source, work_dir)
    start = dict(resume=True, load_from=str(work_dir / 'iter_6.pth'))
    longer = {'train_cfg.rpn': dict(max_iters=6)}
    with pytest.raises(UserError, match=r'\[4, 9, 13, 18\].*\[6, 11, 17, 22\]'):
        build(work_dir, **start, **longer).train()
    (work_dir / 'alternating/proposals_step1.npz').unlink()
    with pytest.raises(UserError, match=r'proposals_step1.npz is missing'):
        build(work_dir, **start).train()
    checkpoint = torch.load(work_dir / 'iter_6.pth', weights_only=True)
    del checkpoint['message_hub']['runtime_info']['alternating_ends']
    torch.save(checkpoint, work_dir / 'other.pth')
    start['load_from'] = str(work_dir / 'other.pth')
    with pytest.raises(UserError, match='was trained in another way'):
        build(work_dir, **start).train()


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'model.type': 'BatchedFasterRCNN'}, "type='AlternatingFasterRCNN', not Batc"),
        ({'custom_hooks': [dict(type='EMAHook')]}, 'EMAHook averages weights'),
        ({'train_cfg.rpn': dict(max_iters=0)}, r'train_cfg.rpn: it takes max_iters, 1'),
        ({'train_cfg.rcnn': dict(max_iter=3)}, r'train_cfg.rcnn: it takes max_iters'),
        (
            {'param_scheduler': [dict(type='MultiStepLR', milestones=[3])]},
            'MultiStepLR is by epoch',
        ),
        (
            {'param_scheduler': [dict(type='PolyLR', begin=4, by_epoch=False)]},
            'PolyLR begins at iteration 4 and ends at 4; steps of train_cfg.rpn have 4',
        ),
    ],
)
def test_mistakes_are_named(build, tmp_path: Path, changes: dict, message: str) -> None:
    runner = build(tmp_path / 'run', **changes)
    with pytest.raises(UserError, match=message):
        runner.build_train_loop(runner._train_loop)


def test_a_schedule_ends_with_its_step(build, tmp_path: Path) -> None:
    """Without an ``end``, one of the RPN's and one of Fast R-CNN's own."""
    schedule = [dict(type='CosineAnnealingLR', by_epoch=False, eta_min=0)]
    runner = build(
        tmp_path / 'run',
        **{
            'param_scheduler': schedule,
            'train_cfg.rcnn': dict(
                max_iters=7,
                param_scheduler=[dict(type='ConstantLR', by_epoch=False, factor=0.5)],
            ),
        },
    )
    loop = runner.build_train_loop(runner._train_loop)
    assert isinstance(loop, AlternatingTrainLoop)
    runner._train_loop = loop
    ends = []
    for index in range(4):
        loop.enter(index)
        (scheduler,) = runner.param_schedulers
        ends.append((type(scheduler).__name__, scheduler.end))
    assert ends == [('CosineAnnealingLR', 4), ('ConstantLR', 7)] * 2
