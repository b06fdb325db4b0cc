"""What the benchmark says of its measurements."""

from __future__ import annotations

import time

import pytest
import torch
from mmfrcnn_benchmark.contenders import choose_contenders
from mmfrcnn_benchmark.counts import count_operators
from mmfrcnn_benchmark.openmmlab import Ours, StockMMDet
from mmfrcnn_benchmark.scale import growth
from mmfrcnn_benchmark.timing import paired_ratio, summarise, take_turns
from mmfrcnn_benchmark.torchvision import TorchVision
from mmfrcnn_benchmark.workload import Workload, make_scenes

from mmfrcnn.errors import UserError
from mmfrcnn.training.stages import Region, Stopwatch, watched


def test_ratios_are_of_rounds():
    ratio = paired_ratio([2.0, 20.0, 200.0], [1.0, 10.0, 100.0])
    assert (ratio.median, ratio.spread) == (2.0, 0.0)
    assert summarise([3.0, 1.0, 2.0]).median == 2.0
    with pytest.raises(ValueError, match='nothing'):
        summarise([])


def test_turns_go_forth_and_back():
    order = []
    runs = {name: lambda n=name: order.append(n) or len(order) for name in 'abc'}
    results = take_turns(runs, rounds=2, warmup=1)
    assert ''.join(order) == 'cbaabccba'
    assert results == {'a': [4, 9], 'b': [5, 8], 'c': [6, 7]}


def test_times_of_stages_are_exclusive():
    class Model:
        def outer(self):
            time.sleep(0.02)
            self.inner()

        def inner(self):
            time.sleep(0.05)

    model = Model()
    watch = Stopwatch(lambda: None)
    regions = [Region(model, 'outer', 'one'), Region(model, 'inner', 'two')]
    with watched(regions, watch.stage):
        watch.reset()
        model.outer()
        seconds = watch.stop()
    assert seconds['one'] >= 0.02 and seconds['two'] >= 0.05
    assert seconds['one'] < seconds['two'] + 0.02
    assert not vars(model)


def test_growth_is_of_the_amount():
    points = [dict(value=1, seconds=[1.0]), dict(value=10, seconds=[5.0])]
    assert growth(points, 'gts') == pytest.approx(0.5)
    sides = [dict(value=100, seconds=[1.0]), dict(value=200, seconds=[4.0])]
    assert growth(sides, 'size') == pytest.approx(1.0)


def test_counting():
    x = torch.arange(6)
    counted = count_operators(lambda: (x[x > 2], (x + 1).tolist(), x.max().item()))
    assert counted.waits['aten.index.Tensor by mask'] == 1
    assert counted.waits['Tensor.tolist'] == 1
    assert counted.waits['aten._local_scalar_dense.default'] == 1
    assert counted.total >= 4


def test_an_unknown_peer():
    with pytest.raises(UserError, match=r"'torchvison'.*Did you mean 'torchvision'"):
        choose_contenders(['torchvison'])


def test_all_work_on_the_same():
    """Equal weights and images: the three find like objects, and lose alike."""
    work = Workload(images=2, height=96, width=128, objects=4, classes=5)
    scenes = make_scenes(work)
    losses, found = {}, {}
    for kind in (Ours, StockMMDet, TorchVision):
        torch.manual_seed(0)
        trainer = kind(work, training=True)
        losses[kind.name] = trainer.forward(trainer.prepare(scenes)).item()
        detector = kind(work, training=False)
        found[kind.name] = detector.infer(detector.prepare(scenes))
    assert losses['mmfrcnn'] == pytest.approx(losses['mmdet'], rel=0.2)
    for ours, theirs in zip(found['mmfrcnn'], found['mmdet'], strict=True):
        assert len(ours[0]) == len(theirs[0]) > 0
        torch.testing.assert_close(ours[1], theirs[1], rtol=0, atol=1e-3)
    for ours, theirs in zip(found['mmfrcnn'], found['torchvision'], strict=True):
        assert len(theirs[0]) > 0
        assert abs(len(ours[0]) - len(theirs[0])) <= 0.3 * len(ours[0])
