"""What each step of alternating training shares, freezes, restarts and trains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from torch import Tensor

from mmfrcnn.data.proposals import StoredProposals
from mmfrcnn.training.alternating.propose import propose, unaugmented
from mmfrcnn.training.alternating.steps import STEPS

PARTS = ('backbone', 'neck', 'rpn_head', 'roi_head')
# From the paper, section 3.2, and not from the code: who learns in which step.
LEARNS = (
    {'backbone', 'neck', 'rpn_head'},
    {'backbone', 'neck', 'roi_head'},
    {'rpn_head'},
    {'roi_head'},
)


def part_of(weights: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    return {k: v for k, v in weights.items() if k.startswith(f'{part}.')}


def same(a: dict[str, Tensor], b: dict[str, Tensor], part: str) -> bool:
    """Whether a part is the same bit by bit, statistics of batch norm included."""
    one, other = part_of(a, part), part_of(b, part)
    assert one.keys() == other.keys()
    assert one
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize('step', range(4))
@pytest.mark.parametrize('part', PARTS)
def test_a_step_changes_what_it_trains_and_nothing_else(trained, step, part) -> None:
    _, recorder = trained
    begin, end = recorder.begin[step], recorder.end[step]
    assert same(begin, end, part) != (part in LEARNS[step])


@pytest.mark.parametrize('step', range(4))
def test_the_optimizer_has_what_is_trained_and_batch_norm_counts(trained, step) -> None:
    """Nothing else is in the optimizer; a frozen batch norm sees no batch."""
    runner, recorder = trained
    begin, end = recorder.begin[step], recorder.end[step]
    for name, _ in runner.model.named_parameters():
        learns = name.partition('.')[0] in LEARNS[step]
        assert (name in recorder.optimized[step]) == learns, name
    counters = [name for name in begin if name.endswith('num_batches_tracked')]
    assert len(counters) > 20
    for name in counters:
        done = int(end[name] - begin[name])
        iterations = (4, 5, 4, 5)[step]
        assert done == (iterations if name.partition('.')[0] in LEARNS[step] else 0)


def test_what_each_step_starts_from(trained) -> None:
    _, recorder = trained
    begin, end = recorder.begin, recorder.end
    initial = begin[0]
    # Step 2 shares nothing with step 1: all it trains is as before training.
    for part in ('backbone', 'neck', 'roi_head'):
        assert same(begin[1], initial, part)
    assert not same(begin[1], end[0], 'backbone')
    assert same(begin[1], end[0], 'rpn_head')
    # Step 3: step 2's features, and an RPN that begins anew.
    for part in ('backbone', 'neck', 'roi_head'):
        assert same(begin[2], end[1], part)
    assert same(begin[2], initial, 'rpn_head')
    # Step 4 goes on from all that there is.
    for part in PARTS:
        assert same(begin[3], end[2], part)


def test_the_schedule_starts_again_with_each_step(trained) -> None:
    _, recorder = trained
    rates = [0.001, 0.0055, 0.01, 0.001, 0.001]
    assert [len(step) for step in recorder.rates] == [4, 5, 4, 5]
    for step in recorder.rates:
        assert step == pytest.approx(rates[: len(step)], rel=1e-5)


def test_the_last_checkpoint_is_the_network_of_step_four(trained) -> None:
    runner, recorder = trained
    path = Path(runner.work_dir) / 'iter_18.pth'
    weights = torch.load(path, weights_only=True)['state_dict']
    assert weights.keys() == recorder.end[3].keys()
    assert all(torch.equal(weights[name], recorder.end[3][name]) for name in weights)
    ends = [f'iter_{end}.pth' for end in (4, 9, 13, 18)]
    assert all((path.parent / name).is_file() for name in ends)


def training_images(runner: Runner) -> torch.utils.data.DataLoader:
    cfg = runner.cfg
    loader = unaugmented(cfg.train_dataloader, cfg.val_dataloader)
    return runner.build_dataloader(loader)


@pytest.mark.parametrize('step', [1, 3])
def test_proposals_handed_on_are_those_of_the_rpn_at_that_step(trained, step) -> None:
    """And those of step 3 are the final network's: its features are shared indeed."""
    runner, recorder = trained
    path = Path(runner.work_dir) / f'alternating/proposals_step{step}.npz'
    stored = StoredProposals(path)
    assert len(stored) == 8
    now = runner.model.state_dict()
    final = {name: value.clone() for name, value in now.items()}
    if step == 1:
        runner.model.load_state_dict(recorder.end[0])
    rules = runner.model.train_cfg.rpn_proposal
    found = propose(runner.model, training_images(runner), rules, print)
    runner.model.load_state_dict(final)
    for one in found:
        known = stored[one.img_id]
        assert len(one.boxes) == 50
        np.testing.assert_allclose(known.boxes, one.boxes, atol=1e-3)
        np.testing.assert_allclose(known.scores, one.scores, atol=1e-6)


def test_the_log_says_step_iteration_and_time_left(trained) -> None:
    runner, _ = trained
    (log,) = Path(runner.log_dir).glob('*.log')
    text = log.read_text()
    for step in STEPS:
        assert f'Step {step.number}/4: {step.title}. Trains' in text
    assert 'frozen: backbone, neck, roi_head. Iterations 10 to 13 of 18' in text
    line = next(x for x in text.splitlines() if 'Step 2/4 [3/5]' in x)
    assert 'Iter(train) [ 7/18]' in line
    assert 'eta: 0:0' in line
    assert 'loss_cls' in line
    assert 'loss_rpn' not in line  # a figure of step 1
