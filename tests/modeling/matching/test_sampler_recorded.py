"""A sampler in a step that is recorded once and run often: every run draws anew."""

from __future__ import annotations

import zlib

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.fx.experimental.proxy_tensor import make_fx

from mmfrcnn.modeling import sampler as module
from mmfrcnn.modeling.sampler import BalancedSampler, balanced_samplers

KEYS = torch.tensor([7, 1 << 31, (1 << 32) - 1])


@pytest.fixture
def labels():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(-1, 2, (3, 500), generator=generator, dtype=torch.int8)


def sampler(seed=1):
    return BalancedSampler(64, 0.5, seed=seed, add_gt_as_proposals=False)


def equal(one, other):
    return all(
        torch.equal(getattr(one, name), getattr(other, name))
        for name in ('indices', 'positive', 'valid')
    )


def test_samples_are_those_of_the_formula(labels):
    """Written out in Python: checkpoints resume, so what is drawn never changes."""
    most = (1 << 32) - 1

    def mix(x):
        x = ((x ^ x >> 16) * 0x7FEB352D) & most
        x = ((x ^ x >> 15) * 0x5A2D9C4B) & most
        return x ^ x >> 16

    ours = sampler(seed=5)
    ours.draws = 12
    for number in (12, 13):
        sample = ours.sample_batch(labels, KEYS)
        draw = zlib.crc32(repr((5, ('', 0), number)).encode())
        for image, key in enumerate(KEYS.tolist()):
            name = mix(key ^ draw)
            order = sorted(
                range(500), key=lambda i, n=name: -(mix(n ^ i * 0x9E3779B1 & most) >> 1)
            )
            expected = [i for i in order if labels[image, i] == 1][:32]
            expected += [i for i in order if labels[image, i] == 0][:32]
            assert sample.indices[image].tolist() == expected


@pytest.mark.parametrize('fed', [True, False])
def test_a_compiled_one_draws_anew_and_is_compiled_once(labels, fed):
    """Fed it is one graph; else it breaks where Python counts, and no more."""
    compiler = CompileCounter()
    ours, plain = sampler(), sampler()
    compiled = torch.compile(ours.sample_batch, backend=compiler, fullgraph=fed)
    frames = []
    for _ in range(6):
        if fed:
            ours.feed(labels.device)
        assert equal(compiled(labels, KEYS), plain.sample_batch(labels, KEYS))
        frames.append(compiler.frame_count)
    assert frames[-1] == frames[0]
    assert not fed or frames[0] == 1
    assert ours.draws == plain.draws == 6


def test_what_was_captured_reads_nothing_but_tensors(labels):
    """As a CUDA graph would: operators are recorded, and no Python runs again."""
    ours, plain = sampler(), sampler()
    ours.feed(labels.device)
    graph = make_fx(lambda *given: vars(ours.sample_batch(*given)))(labels, KEYS)
    assert ours.draws == 1
    for batch in range(4):
        given = labels.roll(batch, 1), KEYS + batch
        expected = plain.sample_batch(*given)
        for name, value in graph(*given).items():
            assert torch.equal(value, getattr(expected, name)), name
        ours.feed(labels.device)


def test_one_feeds_before_each_step_however_it_is_run(labels):
    ours, plain = sampler(), sampler()
    for step in range(6):
        if step % 3 < 2:
            ours.feed(labels.device)
        one, other = (each.sample_batch(labels, KEYS) for each in (ours, plain))
        assert equal(one, other)
    assert ours.draws == plain.draws


def test_the_number_stays_where_it_is(labels):
    ours = sampler()
    ours.feed(labels.device)
    place = ours._draw.data_ptr()
    first = ours._draw.clone()
    ours.feed(labels.device)
    assert ours._draw.data_ptr() == place and ours._draw != first


def test_all_samplers_of_a_model():
    model = nn.ModuleDict(dict(rpn_head=nn.Linear(1, 1), roi_head=nn.Linear(1, 1)))
    heads = model['rpn_head'], model['roi_head'], model['roi_head']
    made = [BalancedSampler(64, 0.5, context=head) for head in heads]
    assert balanced_samplers(model) == made


def test_captured_before_it_was_fed(labels, monkeypatch):
    monkeypatch.setattr(module, 'is_captured', lambda: True)
    ours = sampler()
    ours.feed(labels.device)
    ours.sample_batch(labels, KEYS)
    with pytest.raises(RuntimeError, match='feed'):
        ours.sample_batch(labels, KEYS)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_a_cuda_graph_draws_anew(labels):
    ours, plain = sampler(), sampler()
    given = labels.cuda(), KEYS.cuda()
    ours.sample_batch(*given)  # kernels are compiled and looked at
    ours.draws = 0
    ours.feed(given[0].device)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        sample = ours.sample_batch(*given)
    for _ in range(4):
        graph.replay()
        assert equal(sample, plain.sample_batch(*given))
        ours.feed(given[0].device)
