"""Draws: the same numbers for an image, whoever loads it and wherever a pass begins."""

from __future__ import annotations

import random
from itertools import chain

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler, InfiniteSampler
from torch.utils.data import BatchSampler, DataLoader

from mmfrcnn.data import draws
from mmfrcnn.data.draws import begin_pass, reseed_order
from mmfrcnn.data.randomness import own_random_numbers, seed_generators
from mmfrcnn.training.loops import Batches

SIZE = 10


class Numbers:
    """Its images are an index, and what each generator draws for it."""

    def __len__(self) -> int:
        return SIZE

    def __getitem__(self, index: int) -> tuple[int, float, float, float]:
        assert type(index) is int
        return index, random.random(), np.random.rand(), torch.rand(()).item()


def make(sampler: type = DefaultSampler, workers: int = 0, **options) -> DataLoader:
    numbers = Numbers()
    options |= dict(batch_size=3, num_workers=workers, collate_fn=list)
    return DataLoader(numbers, sampler=sampler(numbers, seed=5), **options)


def test_a_pass_begins_at_any_batch() -> None:
    loader = make()
    assert begin_pass(loader, 1, 4) == 0
    whole = list(loader)
    assert len(whole) == 4
    for done in range(5):
        assert begin_pass(loader, 1, 4, done) == done
        assert list(loader) == whole[done:]
    assert begin_pass(loader, 1, 4, 7) == 4
    assert list(loader) == []


def test_epochs_and_seeds_differ() -> None:
    loader, found = make(), []
    for seed, epoch in ((1, 4), (1, 5), (2, 4)):
        begin_pass(loader, seed, epoch)
        found.append({image[0]: image[1:] for image in chain(*loader)})
    values = [numbers for one in found for image in one.values() for numbers in image]
    assert len(set(values)) == 3 * SIZE * 3
    assert list(found[0]) != list(found[1])  # another order
    assert list(found[0]) == list(found[2])  # the sampler's own seed gives it
    reseed_order(loader, 6)
    begin_pass(loader, 1, 4)
    assert [image[0] for image in chain(*loader)] != list(found[0])


def test_workers_draw_the_same_and_persist() -> None:
    alone, workers = make(), make(workers=2, persistent_workers=True)
    for epoch, done in ((0, 0), (1, 2)):
        for loader in (alone, workers):
            begin_pass(loader, 1, epoch, done)
        assert list(workers) == list(alone)
    workers._iterator._shutdown_workers()


def test_processes_share_the_order_of_one(monkeypatch) -> None:
    one = make(batch_size=4)
    begin_pass(one, 1, 0)
    of_one = {image[0]: image for image in chain(*one)}
    of_two = {}
    monkeypatch.setattr(draws, 'get_world_size', lambda: 2)
    for rank in range(2):
        monkeypatch.setattr(draws, 'get_rank', lambda rank=rank: rank)
        loader = make()
        loader.sampler.rank, loader.sampler.world_size = rank, 2
        loader.sampler.num_samples = SIZE // 2
        begin_pass(loader, 1, 0)
        of_two |= {image[0]: image for image in chain(*loader)}
    assert of_one == of_two


def test_a_pass_that_is_no_trainings_is_left_alone() -> None:
    loader = make()
    begin_pass(loader, 1, 0)
    list(loader)
    random.seed(3)
    found = [image[1] for image in chain(*loader)]
    random.seed(3)
    assert found == [random.random() for _ in range(SIZE)]


def test_the_generators_of_the_process_go_on_as_before() -> None:
    def drawn() -> tuple[float, float, float]:
        return random.random(), np.random.rand(), torch.rand(()).item()

    seed_generators((1, 2))
    expected, seed = [drawn(), drawn()], torch.initial_seed()
    seed_generators((1, 2))
    first = drawn()
    with own_random_numbers((7,)):
        inside = drawn()
    assert [first, drawn()] == expected
    assert inside not in expected
    assert torch.initial_seed() == seed
    with own_random_numbers((7,)):
        assert drawn() == inside


@pytest.mark.parametrize('sampler', [DefaultSampler, InfiniteSampler])
def test_iterations_go_on_in_any_pass(sampler: type) -> None:
    batches = Batches(make(sampler))
    batches.begin(1, 0)
    whole = [next(batches) for _ in range(11)]
    for done in (1, 4, 9):
        again = Batches(make(sampler))
        again.begin(1, done)
        assert [next(again) for _ in range(11 - done)] == whole[done:]


def test_of_no_images_nothing_is_passed_over() -> None:
    numbers = Numbers()
    batches = Batches(DataLoader(numbers, batch_sampler=BatchSampler([], 2, False)))
    batches.begin(1, 3)
    with pytest.raises(StopIteration):
        next(batches)
