"""What is chosen by device, number of images and class names."""

from __future__ import annotations

import mmfrcnn  # noqa: F401  (before mmdet)

# isort: split
from types import SimpleNamespace

import pytest
import torch

from mmfrcnn.cli.starting import choices
from mmfrcnn.data.formats.pictures import Object, Picture


@pytest.fixture
def gpu(monkeypatch):
    """Return a function that pretends to a GPU of so many GiB."""

    def pretend(memory: float) -> None:
        properties = SimpleNamespace(total_memory=memory * 2**30)
        monkeypatch.setattr(
            torch.cuda, 'get_device_properties', lambda index: properties
        )

    return pretend


@pytest.mark.parametrize(
    ('memory', 'size'), [(6, 2), (12, 4), (24, 8), (80, 16), (141, 16)]
)
def test_the_batch_goes_by_memory(gpu, memory, size):
    gpu(memory)
    assert choices.choose_batch_size('cuda', 10_000) == (
        size,
        f'the GPU has {memory} GiB',
    )


@pytest.mark.parametrize(('images', 'size'), [(1, 1), (7, 1), (9, 2), (20, 4), (99, 4)])
def test_few_images_make_small_batches(images, size):
    assert choices.choose_batch_size('cpu', images)[0] == size


@pytest.mark.parametrize('images', [1, 4, 20, 50, 200, 292, 5000, 100_000])
@pytest.mark.parametrize('batch_size', [1, 4, 16])
def test_the_length_of_a_run(images, batch_size):
    epochs, iterations, why = choices.choose_length(images, batch_size)
    assert 12 <= epochs <= 100
    assert (iterations - 1) * batch_size < images <= iterations * batch_size
    assert f'{images} images: {epochs * iterations} iterations' == why


@pytest.mark.parametrize(
    ('names', 'flips'),
    [
        (('cat', 'dog'), True),
        (('RBC', 'WBC', 'Platelets'), True),
        (('bright spot', 'copyright', 'lefty'), True),
        (('left hand', 'right hand'), False),
        (('hand_L', 'hand_R'), False),
        (('turn-right',), False),
        (('0', '1', '7'), False),
        (('A', 'B'), False),
        (('gauche', 'droite'), False),
    ],
)
def test_names_of_sides_and_characters_are_not_mirrored_unasked(names, flips):
    found, why = choices.may_flip(names, None)
    assert found == flips
    assert flips or (repr(names[0]) in why and '--flip yes' in why)
    assert choices.may_flip(names, 'yes')[0] and not choices.may_flip(names, 'no')[0]


@pytest.mark.parametrize(('answer', 'flips'), [('y', True), ('', False), ('n', False)])
def test_somebody_who_is_there_is_asked(monkeypatch, answer, flips):
    asked = []
    monkeypatch.delenv('CI', raising=False)
    monkeypatch.setattr(choices.sys, 'stdin', SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr('builtins.input', lambda text: asked.append(text) or answer)
    assert choices.may_flip(('left hand', 'head'), None)[0] == flips
    assert asked == ["Is a mirrored 'left hand' still one? [y/N] "]
    assert choices.may_flip(('head',), None)[0] and len(asked) == 1


def pictures(*names: str) -> list[Picture]:
    return [
        Picture(name, 9, 9, [Object(name, (0, 0, 5, 5), name)] * 3) for name in names
    ]


def test_rare_classes_are_shown_more_often():
    many = pictures(*['cat'] * 96, *['lynx'] * 4)
    thr, why = choices.choose_balance(many, ['cat', 'lynx', 'absent'])
    assert (thr, why) == (0.1, "'lynx' is in 4 of 100 images")
    assert choices.choose_balance(many[:30], ['cat'])[0] is None
    assert choices.choose_balance(many[50:96], ['cat', 'lynx'])[0] is None
    even = pictures(*['cat'] * 50, *['lynx'] * 50)
    assert choices.choose_balance(even, ['cat', 'lynx'])[0] is None


@pytest.mark.parametrize(
    ('device', 'brought', 'kept', 'reachable', 'name'),
    [
        ('cpu', True, False, False, 'lite0'),
        ('cpu', False, False, False, 'mobilenet-v2'),
        ('cuda', True, True, False, 'r50'),
        ('cuda', True, False, True, 'r50'),
        ('cuda', True, False, False, 'lite0'),
        ('cuda', False, False, False, 'r50'),
    ],
)
def test_the_network_goes_by_device_and_weights(
    monkeypatch, tmp_path, device, brought, kept, reachable, name
):
    monkeypatch.setattr(choices, 'find_spec', lambda package: brought or None)
    monkeypatch.setattr(choices, '_reachable', lambda host: reachable)
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    if kept:
        (tmp_path / 'checkpoints').mkdir()
        (tmp_path / 'checkpoints' / choices.R50_WEIGHTS).touch()
    assert choices.choose_network(device).name == name
