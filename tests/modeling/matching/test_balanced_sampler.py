"""`BalancedSampler`: counts, uniformity, reproducibility, and mmdet's interface."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from mmdet.models.task_modules import AssignResult
from mmdet.registry import TASK_UTILS
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.runner.checkpoint import (
    get_state_dict,
    load_state_dict,
    weights_to_cpu,
)
from mmengine.structures import InstanceData
from torch import nn
from torch.utils.data import DataLoader

from mmfrcnn.cli.train import TrainingReport
from mmfrcnn.modeling.sampler import BalancedSampler
from mmfrcnn.structures.image_batch import ImageBatch

CPU = torch.device('cpu')


def keys_of(*names):
    return ImageBatch([dict(img_id=name) for name in names], CPU).keys


def random_states(generator, images, candidates, *, positives=0.1, ignored=0.2):
    draw = torch.rand(images, candidates, generator=generator)
    match_labels = torch.zeros(images, candidates, dtype=torch.int8)
    match_labels[draw < positives] = 1
    match_labels[draw > 1 - ignored] = -1
    return match_labels


def expected_counts(match_labels, num, fraction, bound=-1):
    """Positives and negatives of one image by mmdet's rule."""
    positives = min(int((match_labels == 1).sum()), int(num * fraction))
    room = num - positives
    if bound >= 0:
        room = min(room, int(bound * max(1, positives)))
    return positives, min(room, int((match_labels == 0).sum()))


def check_sample(sample, match_labels, num, fraction, bound=-1):
    """Exact counts, each candidate at most once, none of them ignored."""
    assert sample.indices.shape == (len(match_labels), num)
    assert not (sample.positive & ~sample.valid).any()
    for image, state in enumerate(match_labels):
        wanted = expected_counts(state, num, fraction, bound)
        positive, valid = sample.positive[image], sample.valid[image]
        assert (int(positive.sum()), int((valid & ~positive).sum())) == wanted
        chosen = sample.indices[image, valid]
        assert len(chosen.unique()) == len(chosen)
        assert (state[sample.indices[image, positive]] == 1).all()
        assert (state[sample.indices[image, valid & ~positive]] == 0).all()
        # Slots are filled from the first on, positives before negatives.
        assert valid.int().diff().le(0).all()
        assert positive.int().diff().le(0).all()
    assert (sample.indices >= 0).all()
    assert (sample.indices < match_labels.shape[1]).all()


@pytest.mark.parametrize('positives', [0.0, 0.01, 0.3, 1.0])
@pytest.mark.parametrize('ignored', [0.0, 0.5, 1.0])
@pytest.mark.parametrize('num, fraction', [(256, 0.5), (64, 0.25), (7, 0.5), (10, 1.0)])
def test_counts(positives, ignored, num, fraction):
    generator = torch.Generator().manual_seed(0)
    match_labels = random_states(
        generator, 5, 300, positives=positives, ignored=ignored
    )
    sampler = BalancedSampler(num, fraction, add_gt_as_proposals=False, seed=1)
    sample = sampler.sample_batch(match_labels, keys_of(*range(5)))
    check_sample(sample, match_labels, num, fraction)


@pytest.mark.parametrize('candidates', [1, 2, 31, 32, 33])
def test_fewer_candidates_than_slots(candidates):
    generator = torch.Generator().manual_seed(1)
    match_labels = random_states(generator, 4, candidates, positives=0.5)
    match_labels[0], match_labels[1], match_labels[2] = 1, 0, -1
    sampler = BalancedSampler(32, 0.5, add_gt_as_proposals=False, seed=1)
    sample = sampler.sample_batch(match_labels, keys_of(*range(4)))
    check_sample(sample, match_labels, 32, 0.5)


@pytest.mark.parametrize('bound', [0, 1, 3, 2.5])
@pytest.mark.parametrize('positives', [0.0, 0.02, 0.3])
def test_bound_on_negatives(bound, positives):
    generator = torch.Generator().manual_seed(2)
    match_labels = random_states(generator, 6, 400, positives=positives)
    sampler = BalancedSampler(128, 0.25, neg_pos_ub=bound, seed=1)
    sample = sampler.sample_batch(match_labels, keys_of(*range(6)))
    check_sample(sample, match_labels, 128, 0.25, bound)


def chi_square_limit(freedom):
    """A value exceeded once in 100,000 draws (Wilson and Hilferty 1931)."""
    return freedom * (1 - 2 / (9 * freedom) + 4.27 * math.sqrt(2 / (9 * freedom))) ** 3


def frequencies(draws, count):
    return torch.bincount(torch.cat(draws), minlength=count).double()


def check_uniform(counts, draws, size):
    """Draws without replacement: variance is smaller by (n - k) / (n - 1)."""
    each = draws * size / len(counts)
    finite = (len(counts) - size) / (len(counts) - 1)
    statistic = ((counts - each) ** 2 / each).sum() / finite
    assert statistic < chi_square_limit(len(counts) - 1)
    assert statistic > len(counts) - 1 - 5 * math.sqrt(2 * len(counts))  # not too even


@pytest.mark.parametrize('over', ['iterations', 'images', 'seeds'])
def test_uniform(over):
    match_labels = torch.zeros(1, 140, dtype=torch.int8)
    match_labels[0, 100:] = 1
    match_labels[0, ::7] = -1
    positives, negatives = [], []
    rounds = 2000
    for number in range(rounds):
        sampler = BalancedSampler(
            16, 0.5, seed=number if over == 'seeds' else 3, add_gt_as_proposals=False
        )
        if over == 'iterations':
            sampler.draws = number
        keys = keys_of(number if over == 'images' else 'one')
        sample = sampler.sample_batch(match_labels, keys)
        positives.append(sample.indices[sample.positive])
        negatives.append(sample.indices[~sample.positive])
    for draws, state in ((positives, 1), (negatives, 0)):
        counts = frequencies(draws, 140)[match_labels[0] == state]
        check_uniform(counts, rounds, 8)


def test_neighbours_and_images_are_not_correlated():
    """Being drawn tells nothing of the next candidate, nor of other images."""
    match_labels = torch.zeros(64, 512, dtype=torch.int8)
    sampler = BalancedSampler(256, 0.5, seed=5, add_gt_as_proposals=False)
    drawn = []
    for _ in range(40):
        sample = sampler.sample_batch(match_labels, keys_of(*range(64)))
        drawn.append(torch.zeros(64, 512).scatter_(1, sample.indices, 1.0))
    drawn = torch.stack(drawn) * 2 - 1  # (40, 64, 512), half of them +1, half -1
    limit = 5 / math.sqrt(drawn.numel())
    for apart in (1, 2, 3, 4, 64, 256):
        assert (drawn[..., apart:] * drawn[..., :-apart]).mean().abs() < 2 * limit
    for apart in (1, 2, 16):
        assert (drawn[:, apart:] * drawn[:, :-apart]).mean().abs() < 2 * limit
        assert (drawn[apart:] * drawn[:-apart]).mean().abs() < 2 * limit


def test_an_image_is_sampled_alike_alone_and_in_any_batch():
    generator = torch.Generator().manual_seed(3)
    match_labels = random_states(generator, 5, 200)
    sampler = BalancedSampler(32, 0.5, seed=1, add_gt_as_proposals=False)
    whole = sampler.sample_batch(match_labels, keys_of('a', 'b', 'c', 'd', 'e'))
    order = [3, 0, 4]
    sampler.draws = 0
    part = sampler.sample_batch(match_labels[order], keys_of('d', 'a', 'e'))
    assert torch.equal(part.indices, whole.indices[order])
    assert torch.equal(part.valid, whole.valid[order])
    sampler.draws = 0
    alone = sampler.sample_batch(match_labels[2:3], keys_of('c'))
    assert torch.equal(alone.indices[0], whole.indices[2])


def test_padding_does_not_change_the_sample():
    """More candidates, other places, same ids: the same candidates are drawn."""
    generator = torch.Generator().manual_seed(4)
    match_labels = random_states(generator, 1, 150)
    ids = torch.randperm(1 << 20, generator=generator)[:150]
    sampler = BalancedSampler(32, 0.5, seed=1, add_gt_as_proposals=False)
    alone = sampler.sample_batch(match_labels, keys_of(1), ids)

    place = torch.randperm(400, generator=generator)[:150].sort().values
    padded = torch.full((2, 400), -1, dtype=torch.int8)
    padded[0, place] = match_labels[0]
    padded[1] = 0
    more = torch.arange(400) + (1 << 21)
    more[place] = ids
    sampler.draws = 0
    batch = sampler.sample_batch(padded, keys_of(1, 2), more)
    valid = alone.valid[0]
    assert torch.equal(valid, batch.valid[0])
    drawn, padded_drawn = alone.indices[0, valid], batch.indices[0, valid]
    assert torch.equal(place[drawn], padded_drawn)


def test_draws_differ_between_draws_seeds_and_images():
    match_labels = torch.zeros(2, 1000, dtype=torch.int8)

    def draw(seed, number):
        sampler = BalancedSampler(100, 0.5, seed=seed, add_gt_as_proposals=False)
        sampler.draws = number
        return sampler.sample_batch(match_labels, keys_of(1, 2)).indices

    first = draw(0, 0)
    assert torch.equal(first, draw(0, 0))

    def shared(a, b):
        return len(set(a.tolist()) & set(b.tolist()))

    # 100 of 1,000, twice: 10 in common on average, 30 once in 10**9.
    assert shared(first[0], first[1]) < 30
    assert shared(first[0], draw(0, 1)[0]) < 30
    assert shared(first[0], draw(1, 0)[0]) < 30


def test_without_a_seed_torchs_counts():
    match_labels = torch.zeros(1, 500, dtype=torch.int8)

    def draw():
        sampler = BalancedSampler(50, 0.5, add_gt_as_proposals=False)
        return sampler.sample_batch(match_labels, keys_of(1)).indices

    torch.manual_seed(11)
    first = draw()
    torch.rand(100)  # the state of torch's generator is no matter, its seed is
    assert torch.equal(draw(), first)
    torch.manual_seed(12)
    assert not torch.equal(draw(), first)
    torch.manual_seed(11)
    assert torch.equal(draw(), first)


def test_sampling_leaves_torchs_generator_alone():
    match_labels = torch.zeros(1, 500, dtype=torch.int8)
    before = torch.random.get_rng_state()
    BalancedSampler(50, 0.5).sample_batch(match_labels, keys_of(1))
    assert torch.equal(torch.random.get_rng_state(), before)


class Head(nn.Module):
    """What owns samplers, as mmdet's heads do."""

    def __init__(self, count=1):
        super().__init__()
        self.fc = nn.Linear(2, 2)
        self.samplers = [
            BalancedSampler(50, 0.5, seed=0, context=self) for _ in range(count)
        ]

    def draw(self):
        match_labels = torch.zeros(1, 500, dtype=torch.int8)
        return [
            one.sample_batch(match_labels, keys_of(1)).indices.tolist()
            for one in self.samplers
        ]


class OtherHead(Head):
    pass


def test_a_plain_loop_draws_anew_whatever_a_runner_left_behind():
    hub = MessageHub.get_current_instance()
    hub.update_info('iter', 7)
    try:
        head = Head()
        assert len({tuple(head.draw()[0][0]) for _ in range(20)}) == 20
        fresh = Head()
        hub.update_info('iter', 8)
        assert fresh.draw() == Head().draw()
    finally:
        hub.runtime_info.pop('iter', None)


def test_the_parts_of_a_detector_draw_independently():
    """Of one seed, one image and one place: two heads, and three stages of a head."""
    samples = [Head().draw()[0][0], OtherHead().draw()[0][0], *Head(3).draw()[1]]
    for place, one in enumerate(samples):
        for other in samples[:place]:
            assert len(set(one) & set(other)) < 25  # 5 on average
    assert Head(3).draw()[1] != Head(3).draw()[2]


@pytest.mark.parametrize('copied', [False, True])
def test_weights_carry_the_count_without_a_key(tmp_path, copied):
    """By mmengine's way to save and load, in a wrapper; keys stay the layers'."""
    old = nn.ModuleDict(dict(roi_head=Head(2)))
    for _ in range(5):
        old['roi_head'].draw()
    old = copy.deepcopy(old) if copied else old
    state = weights_to_cpu(get_state_dict(old))
    assert set(state) == {'roi_head.fc.weight', 'roi_head.fc.bias'}
    torch.save(dict(state_dict=state), tmp_path / 'weights.pth')
    state = torch.load(tmp_path / 'weights.pth', weights_only=True)['state_dict']
    new = nn.ModuleDict(dict(roi_head=Head(2)))
    load_state_dict(new, state, strict=True)
    assert [one.draws for one in new['roi_head'].samplers] == [5, 5]
    assert new['roi_head'].draw() == old['roi_head'].draw()
    plain = nn.ModuleDict(dict(roi_head=Head(2)))
    plain.load_state_dict(dict(state), strict=True)  # weights of another origin
    assert [one.draws for one in plain['roi_head'].samplers] == [0, 0]


@pytest.mark.parametrize('start', ['load_from', 'resume'])
def test_a_resumed_run_goes_on_counting_and_a_new_one_counts_anew(tmp_path, start):
    """By a real Runner; both take the weights."""

    class Model(BaseModel):
        def __init__(self):
            super().__init__()
            self.head = Head(2)

        def forward(self, inputs, mode):
            self.head.draw()
            return dict(loss=self.head.fc(inputs).sum())

    def run(work_dir, **options):
        model = Model()
        runner = Runner(
            model,
            str(work_dir),
            train_dataloader=DataLoader([dict(inputs=torch.ones(2))] * 3),
            train_cfg=dict(by_epoch=True, max_epochs=2),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
            default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
            experiment_name=str(work_dir),
            log_level='ERROR',
            **options,
        )
        runner.register_hook(TrainingReport())
        runner.load_or_resume() if options else runner.train()
        return model

    first = run(tmp_path / 'first')
    assert [one.draws for one in first.head.samplers] == [6, 6]
    path = str(tmp_path / 'first/epoch_1.pth')
    then = run(tmp_path / 'then', load_from=path, resume=start == 'resume')
    saved = torch.load(path)['state_dict']
    assert torch.equal(then.head.fc.weight, saved['head.fc.weight'])
    expected = {'load_from': [0, 0], 'resume': [3, 3]}[start]
    assert [one.draws for one in then.head.samplers] == expected


def test_image_keys():
    metas = [
        dict(img_id=7),
        dict(img_id='7'),
        dict(img_path='a.jpg'),
        dict(img_path='b.jpg'),
        dict(),
        dict(),
    ]
    keys = ImageBatch(metas, CPU).keys
    assert keys.dtype == torch.int64
    assert len(keys.unique()) == len(metas)
    assert torch.equal(ImageBatch(metas[:4][::-1], CPU).keys, keys[:4].flip(0))


def assigned(match_labels, num_gts=3):
    gt_inds = torch.where(
        match_labels > 0, torch.arange(len(match_labels)) % num_gts + 1, match_labels
    )
    return AssignResult(
        num_gts,
        gt_inds.long(),
        torch.rand(len(match_labels)),
        (gt_inds.clamp(min=0)).long(),
    )


@pytest.mark.parametrize('adds_gt', [False, True])
@pytest.mark.parametrize('positives', [0.0, 0.05, 0.6])
def test_mmdets_interface(adds_gt, positives):
    generator = torch.Generator().manual_seed(6)
    match_labels = random_states(generator, 1, 300, positives=positives)[0]
    sampler = TASK_UTILS.build(
        dict(
            type='BalancedSampler',
            num=64,
            pos_fraction=0.25,
            add_gt_as_proposals=adds_gt,
        ),
        default_args=dict(context=object()),
    )
    priors = torch.rand(300, 4, generator=generator)
    gt = InstanceData(bboxes=torch.rand(3, 4), labels=torch.tensor([4, 5, 6]))
    result = sampler.sample(assigned(match_labels), InstanceData(priors=priors), gt)
    if adds_gt:
        match_labels = torch.cat(
            [torch.ones(3, dtype=match_labels.dtype), match_labels]
        )
        priors = torch.cat([gt.bboxes, priors])
    wanted = expected_counts(match_labels, 64, 0.25)
    assert (len(result.pos_inds), len(result.neg_inds)) == wanted
    assert (match_labels[result.pos_inds] == 1).all()
    assert (match_labels[result.neg_inds] == 0).all()
    assert torch.equal(result.pos_priors, priors[result.pos_inds])
    assert torch.equal(result.neg_priors, priors[result.neg_inds])


def test_mmdets_interface_draws_uniformly():
    match_labels = torch.zeros(120, dtype=torch.int8)
    match_labels[80:] = 1
    sampler = BalancedSampler(16, 0.5, add_gt_as_proposals=False, seed=2)
    gt = InstanceData(bboxes=torch.rand(3, 4), labels=torch.tensor([4, 5, 6]))
    priors = InstanceData(priors=torch.rand(120, 4))
    results = [sampler.sample(assigned(match_labels), priors, gt) for _ in range(1500)]
    positives = frequencies([result.pos_inds for result in results], 120)[80:]
    check_uniform(positives, 1500, 8)
    negatives = frequencies([result.neg_inds for result in results], 120)[:80]
    check_uniform(negatives, 1500, 8)


def test_mmdets_interface_is_reproducible_after_a_resume():
    """A sampler that is told how many draws there were goes on as the old one."""
    match_labels = torch.zeros(300, dtype=torch.int8)
    match_labels[200:] = 1
    gt = InstanceData(bboxes=torch.rand(3, 4), labels=torch.tensor([4, 5, 6]))
    priors = InstanceData(priors=torch.rand(300, 4))

    def draw(sampler):
        both = [sampler.sample(assigned(match_labels), priors, gt) for _ in 'ab']
        return torch.cat([result.neg_inds for result in both])

    old = BalancedSampler(64, 0.5, add_gt_as_proposals=False, seed=3)
    for _ in range(7):
        draw(old)
    new = BalancedSampler(64, 0.5, add_gt_as_proposals=False, seed=3)
    new.draws = old.draws
    seventh = draw(old)
    assert torch.equal(seventh, draw(new))
    assert not torch.equal(draw(old), seventh)


def test_as_part_of_a_combined_sampler():
    sampler = TASK_UTILS.build(
        dict(
            type='CombinedSampler',
            num=32,
            pos_fraction=0.25,
            add_gt_as_proposals=True,
            pos_sampler=dict(type='BalancedSampler'),
            neg_sampler=dict(type='IoUBalancedNegSampler', floor_thr=-1, num_bins=3),
        ),
        default_args=dict(context=object()),
    )
    generator = torch.Generator().manual_seed(8)
    match_labels = random_states(generator, 1, 200, positives=0.3)[0]
    gt = InstanceData(bboxes=torch.rand(3, 4), labels=torch.tensor([4, 5, 6]))
    result = sampler.sample(
        assigned(match_labels), InstanceData(priors=torch.rand(200, 4)), gt
    )
    assert (len(result.pos_inds), len(result.neg_inds)) == (8, 24)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_cuda_draws_as_cpu():
    generator = torch.Generator().manual_seed(9)
    match_labels = random_states(generator, 4, 5000)
    sampler = BalancedSampler(256, 0.5, seed=1, add_gt_as_proposals=False)
    here = sampler.sample_batch(match_labels, keys_of(*range(4)))
    sampler.draws = 0
    there = sampler.sample_batch(match_labels.cuda(), keys_of(*range(4)).cuda())
    assert torch.equal(here.indices, there.indices.cpu())
    assert torch.equal(here.valid, there.valid.cpu())
