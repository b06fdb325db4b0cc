"""What is held out: whole groups, every class in proportion, and the smallest cases."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from mmfrcnn.data.discovery.split import hold_out
from mmfrcnn.data.formats.pictures import Object, Picture


def picture(*names: str) -> Picture:
    objects = [Object(name, (0, 0, 9, 9), name) for name in names]
    return Picture('a.jpg', 10, 10, objects)


def random_pictures(seed: int, count: int = 400) -> list[Picture]:
    """Return pictures with classes of very different frequency, some without any."""
    random = np.random.default_rng(seed)
    chances = {'common': 0.9, 'usual': 0.4, 'rare': 0.05, 'odd': 0.02}
    return [
        picture(
            *(
                name
                for name, chance in chances.items()
                for _ in range(random.binomial(3, chance / 2))
            )
        )
        for _ in range(count)
    ]


def objects(pictures, held, wanted) -> Counter[str]:
    return Counter(
        found.class_name
        for one, out in zip(pictures, held, strict=True)
        if out == wanted
        for found in one.objects
    )


@pytest.mark.parametrize('seed', range(5))
def test_images_and_every_class_in_proportion(seed):
    pictures = random_pictures(seed)
    held = hold_out(pictures, range(len(pictures)), 0.2, seed)
    assert abs(sum(held) / len(pictures) - 0.2) < 0.02
    total, out = Counter(), objects(pictures, held, True)
    for one in pictures:
        total.update(found.class_name for found in one.objects)
    for name, number in total.items():
        assert abs(out[name] - 0.2 * number) <= max(0.06 * number, 1.6), name
    empty = [out for one, out in zip(pictures, held, strict=True) if not one.objects]
    assert abs(sum(empty) - 0.2 * len(empty)) <= 2


@pytest.mark.parametrize('seed', range(5))
def test_a_group_is_never_divided(seed):
    pictures = random_pictures(seed)
    groups = np.random.default_rng(seed).integers(0, 90, len(pictures)).tolist()
    held = hold_out(pictures, groups, 0.2, seed)
    sides = {(group, out) for group, out in zip(groups, held, strict=True)}
    assert len(sides) == len(set(groups))
    assert abs(sum(held) / len(pictures) - 0.2) < 0.05


def test_the_same_seed_gives_the_same_and_another_another():
    pictures = random_pictures(0)
    runs = [hold_out(pictures, range(400), 0.2, seed) for seed in (0, 0, 1)]
    assert runs[0] == runs[1] != runs[2]


def test_a_class_of_one_image_stays_in_training():
    pictures = [picture('cat') for _ in range(9)] + [picture('lynx')]
    for seed in range(20):
        held = hold_out(pictures, range(10), 0.2, seed)
        assert not held[-1] and 1 <= sum(held) <= 3


@pytest.mark.parametrize('count', [2, 3, 4, 5])
def test_few_images_leave_some_on_both_sides(count):
    held = hold_out([picture('cat') for _ in range(count)], range(count), 0.2)
    assert 0 < sum(held) < count


def test_what_cannot_be_divided_is_not():
    assert hold_out([], [], 0.2) == []
    assert hold_out([picture('cat')], [0], 0.2) == [False]
    assert not any(hold_out([picture('cat')] * 5, [7] * 5, 0.2))


def test_one_group_larger_than_the_share_stays_in_training():
    pictures = [picture('cat') for _ in range(20)]
    held = hold_out(pictures, [0] * 15 + [1, 2, 3, 4, 5], 0.2)
    assert not any(held[:15]) and 2 <= sum(held) <= 4
