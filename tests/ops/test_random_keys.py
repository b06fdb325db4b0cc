"""The hash of a candidate's name against Python's own integers."""

from __future__ import annotations

import pytest
import torch
from mmfrcnn_benchmark.traffic import Traffic
from torch._subclasses.fake_tensor import FakeTensorMode

from mmfrcnn.ops import random_keys as op
from mmfrcnn.ops.backend import using
from mmfrcnn.ops.random_keys import largest, random_keys, reference

MOST = (1 << 32) - 1


@pytest.fixture(params=['cpu', 'reference', 'cuda'])
def way(request):
    """Plain operators, and the kernel in Triton's interpreter."""
    if request.param == 'cuda':
        request.getfixturevalue('kernel_device')
    with using(request.param):
        yield request.param


def mix(x):
    x = ((x ^ x >> 16) * 0x7FEB352D) & MOST
    x = ((x ^ x >> 15) * 0x5A2D9C4B) & MOST
    return x ^ x >> 16


def hashed(draw, image, candidate):
    return mix(mix(image ^ draw) ^ candidate * 0x9E3779B1 & MOST) >> 1


def given(images=3, candidates=1030):
    generator = torch.Generator().manual_seed(images)
    labels = torch.randint(-1, 2, (images, candidates), generator=generator)
    ids = torch.randint(0, 1 << 31, (candidates,), generator=generator)
    ids[:2] = torch.tensor([0, (1 << 31) - 1])
    names = torch.randint(0, 1 << 32, (images,), generator=generator)
    names[:2] = torch.tensor([0, MOST])[:images]
    return labels.to(torch.int8), torch.tensor(0xFEDCBA98), names, ids


def check(match_labels, draw, images, ids):
    found = random_keys(match_labels, draw, images, ids)
    assert found.dtype == torch.int32
    for keys, label in zip(found.tolist(), (1, 0), strict=True):
        for row, image, labels in zip(
            keys, images.tolist(), match_labels.tolist(), strict=True
        ):
            for key, name, one in zip(row, ids.tolist(), labels, strict=True):
                expected = hashed(int(draw), image, name) if one == label else -1
                assert key == expected


def test_equals_pythons_integers(way):
    check(*given())
    labels, _, images, ids = given(1)
    for draw in (0, MOST):
        check(labels, torch.tensor(draw), images, ids)


@pytest.mark.parametrize('candidates', [0, 2, 1023, 1024, 1025])
def test_candidates_of_any_number(way, candidates):
    labels, draw, images, ids = given(2, max(candidates, 2))
    check(labels[:, :candidates], draw, images, ids[:candidates])


def test_strided_labels(way):
    labels, draw, images, ids = given()
    check(labels[:, ::2], draw, images, ids[::2])
    check(labels[:1].expand(3, -1), draw, images, ids)


def test_is_a_sound_operator():
    torch.library.opcheck(random_keys, given(2, 20))
    torch.library.opcheck(
        random_keys,
        (
            torch.zeros(2, 0, dtype=torch.int8),
            *given(2, 2)[1:3],
            torch.zeros(0, dtype=torch.int64),
        ),
    )


def test_the_kernel_trusts_itself(kernel_device):
    op._self_check(kernel_device)


def test_a_kernel_that_errs_is_seen(kernel_device, monkeypatch):
    monkeypatch.setattr(reference, 'SPREAD', 3)
    with pytest.raises(AssertionError):
        op._self_check(kernel_device)


def test_the_largest_are_taken():
    keys = torch.tensor([[3, -1, 9, 5], [-1, -1, -1, 2], [-1, -1, -1, -1]])
    indices, count = largest(keys, 2)
    assert count.tolist() == [[2], [1], [0]]
    assert indices[0].tolist() == [2, 3] and indices[1, 0] == 3
    assert largest(keys, 9)[0].shape == (3, 4)


def test_bytes_of_a_key():
    """A label in, two keys out, an id for all images; plain operators 15 times that."""
    with FakeTensorMode(), torch.device('cuda'):
        labels = torch.zeros(16, 267_069, dtype=torch.int8)
        ids = torch.zeros(267_069, dtype=torch.int64)
        names = torch.zeros(16, dtype=torch.int64), ids
        with Traffic() as kernel:
            random_keys(labels, torch.zeros((), dtype=torch.int64), *names)
        with Traffic() as plain:
            reference.random_keys(labels, torch.zeros((), dtype=torch.int64), *names)
    moved = [traffic.moved / labels.numel() for traffic in (kernel, plain)]
    print(f'{moved[0]:.1f} bytes a candidate by the kernel, {moved[1]:.1f} without')
    assert moved[0] <= 9.6
    assert moved[1] <= 144
    assert plain.peak <= 24 * labels.numel()


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_cuda_equals_cpu():
    here = given(4, 100_000)
    there = random_keys(*(one.cuda() for one in here))
    assert torch.equal(random_keys(*here), there.cpu())
