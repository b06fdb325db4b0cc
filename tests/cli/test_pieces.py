"""The small parts under the tools."""

from __future__ import annotations

import argparse
import json
import os
import re
import struct
import sys
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import DATASETS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.structures import InstanceData
from PIL import Image
from pycocotools import mask as coco_mask

import mmfrcnn  # noqa: F401
from mmfrcnn.cli import run_command
from mmfrcnn.cli.drawing import draw_detections, write_picture
from mmfrcnn.cli.journal import Journal
from mmfrcnn.cli.predict import (
    PreparedImages,
    _check_arguments,
    _predict_missing,
    _samples,
)
from mmfrcnn.cli.runtime import choose_device, explained
from mmfrcnn.cli.sources import Pictures, Video, open_source
from mmfrcnn.cli.train import choose_start
from mmfrcnn.data.images import UnreadableImageError
from mmfrcnn.deploy.network import Network
from mmfrcnn.errors import UserError
from mmfrcnn.evaluation.coco_results import coco_results
from mmfrcnn.visualization.fed import contact_sheet
from mmfrcnn.visualization.painter import Painter
from mmfrcnn.weights.checkpoints import check_checkpoint, find_last_checkpoint
from mmfrcnn.weights.fitting import check_weights


@pytest.mark.parametrize(
    'raised, code, printed',
    [
        (None, 0, ''),
        (UserError('no such thing'), 2, 'error: no such thing\n'),
        (
            UserError(
                'Caught UserError in worker 0\nTraceback x\nm.UserError: bad file'
            ),
            2,
            'error: bad file\n',
        ),
        (
            PermissionError(13, 'Permission denied', '/work_dir'),
            2,
            'error: /work_dir: Permission denied\n',
        ),
        (
            FileExistsError(17, 'File exists', 'out'),
            2,
            'error: out: File exists\n',
        ),
        (KeyboardInterrupt(), 130, 'interrupted\n'),
    ],
)
def test_exit_codes(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    raised: BaseException | None,
    code: int,
    printed: str,
) -> None:
    def run(args: argparse.Namespace) -> None:
        if raised:
            raise raised

    module = ModuleType('mmfrcnn.cli.pretended')
    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert run_command('pretended', argparse.Namespace()) == code
    assert capsys.readouterr().err == printed


def test_our_own_bugs_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType('mmfrcnn.cli.pretended')
    module.run = lambda args: {}['bug']  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with pytest.raises(KeyError, match='bug'):
        run_command('pretended', argparse.Namespace())


@pytest.mark.parametrize('name', ['gpu', 'cuda:', 'cuda:x', 'cpu:0'])
def test_no_such_kind_of_device(name: str) -> None:
    with pytest.raises(UserError, match='it must be cpu, cuda or cuda:N'):
        choose_device(name)


def test_absent_cuda_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 0)
    with pytest.raises(UserError, match='finds no CUDA device'):
        choose_device('cuda')
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    with pytest.raises(UserError, match='2 CUDA devices, 0 to 1'):
        choose_device('cuda:2')


def data_config(root: str) -> Config:
    dataset = {'ann_file': 'a.json', 'data_prefix': {'img': 'pics'}, 'data_root': root}
    return Config(
        {
            'data_root': root,
            'train_dataloader': {'dataset': {'dataset': dataset}},
            'val_evaluator': {'ann_file': f'{root}/val.json'},
        }
    )


@pytest.mark.parametrize(
    'missing, key',
    [
        ('a.json', 'train_dataloader.dataset.dataset.ann_file'),
        ('pics/7.png', 'train_dataloader.dataset.dataset.data_prefix.img'),
        ('val.json', 'val_evaluator.ann_file'),
    ],
)
def test_a_missing_data_file_is_traced_to_its_key(
    tmp_path: Path, missing: str, key: str
) -> None:
    path = str(tmp_path / missing)
    with pytest.raises(UserError) as caught, explained(data_config(str(tmp_path))):
        Path(path).read_bytes()
    assert str(caught.value) == f'{key}: no such file: {path}'
    # A data loader's worker leaves only a text.
    text = f"Caught FileNotFoundError\n[Errno 2] No such file or directory: '{path}'"
    with pytest.raises(UserError, match=key), explained(data_config(str(tmp_path))):
        raise FileNotFoundError(text)


def test_a_missing_file_that_no_key_names_is_our_bug(tmp_path: Path) -> None:
    config = data_config(str(tmp_path / 'data'))
    with pytest.raises(FileNotFoundError), explained(config):
        (tmp_path / 'elsewhere').read_bytes()


def test_checkpoints_missing_broken_and_last(tmp_path: Path) -> None:
    assert find_last_checkpoint(str(tmp_path / 'nowhere')) == (None, {})
    for age, name in enumerate(['epoch_10.pth', 'epoch_9.pth', 'best_x.pth']):
        torch.save({'state_dict': {}}, tmp_path / name)
        os.utime(tmp_path / name, (100 - age, 100 - age))
    whole = (tmp_path / 'epoch_10.pth').read_bytes()
    broken = tmp_path / 'epoch_11.pth'
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        broken.write_bytes(whole[:length])
        found, skipped = find_last_checkpoint(str(tmp_path))
        assert found == str(tmp_path / 'epoch_10.pth')
        assert list(skipped) == [str(broken)]
        with pytest.raises(UserError, match=r'epoch_11\.pth .*not a complete'):
            check_checkpoint(str(broken))
    with pytest.raises(UserError, match=r"Did you mean 'epoch_9\.pth'"):
        check_checkpoint(str(tmp_path / 'epoch9.pth'))
    check_checkpoint(str(tmp_path / 'epoch_9.pth'))
    check_checkpoint('torchvision://resnet50')


def test_a_new_run_overwrites_no_checkpoint_of_another(tmp_path: Path) -> None:
    used, other = tmp_path / 'used', tmp_path / 'other.pth'
    used.mkdir()
    torch.save({'state_dict': {}}, other)

    def choose(option: str | None, **settings) -> Config:
        config = Config(dict(work_dir=str(used), model=dict(), **settings))
        choose_start(config, option)
        return config

    (used / 'a_log').mkdir()
    choose('auto')
    (used / 'iter_10.pth').write_bytes(b'PK cut off')  # nothing that could be lost
    for resume in (None, str(other)):
        choose(resume)
    with pytest.raises(UserError, match=r'no checkpoint in .*used is whole'):
        choose('auto')
    for name in ('iter_10.pth', 'best_coco_bbox_mAP_epoch_3.pth'):
        (used / 'iter_10.pth').unlink(missing_ok=True)
        torch.save({'state_dict': {}}, used / name)
        for resume in (None, str(other)):
            how = f'--resume {used / name}' if 'best' in name else '--resume'
            with pytest.raises(UserError, match=f'{name}.*--work-dir.*{how}$'):
                choose(resume)
        choose(str(used / name))
        choose(None, resume=True)
    torch.save({'state_dict': {}}, used / 'epoch_1.pth')
    assert choose('auto').load_from == str(used / 'epoch_1.pth')


@pytest.mark.parametrize(
    'template, name',
    [('ckpt-{:04d}.pt', 'ckpt-0012.pt'), ('{}(new).pth', '3(new).pth')],
)
def test_checkpoints_of_other_names_are_known_by_the_config(
    tmp_path: Path, template: str, name: str
) -> None:
    torch.save({'state_dict': {}}, tmp_path / name)
    torch.save({'state_dict': {}}, tmp_path / f'not_{name}')
    config = Config(dict(work_dir=str(tmp_path), model=dict()))
    choose_start(config, 'auto')  # no checkpoint of a run by the usual names
    config.default_hooks = dict(checkpoint=dict(filename_tmpl=template))
    with pytest.raises(UserError, match=re.escape(name)):
        choose_start(config, None)
    choose_start(config, 'auto')
    assert config.load_from == str(tmp_path / name)


def test_weights_of_another_model_are_refused() -> None:
    model = torch.nn.Linear(2, 3)
    check_weights(model, model.state_dict(), 'x.pth')
    wrong = {'weight': torch.zeros(4, 2), 'other': torch.zeros(1)}
    with pytest.raises(UserError) as caught:
        check_weights(model, wrong, 'x.pth')
    message = str(caught.value)
    assert '3 weights differ' in message
    assert 'bias is missing' in message
    assert 'other is not in the model' in message
    assert 'weight is (4, 2), in the model (3, 2)' in message


def test_journal_survives_a_cut_at_any_byte(tmp_path: Path) -> None:
    path = tmp_path / 'journal.jsonl'
    journal = Journal(path, {'model': 'a'})
    for index in range(3):
        entry = {'name': f'{index}.png', 'version': [index], 'detections': []}
        journal.add({**entry, 'width': 1, 'height': 1})
    whole = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord('\n')]
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        done = dict(Journal(path, {'model': 'a'}))
        finished = sum(end - 1 <= length for end in ends) - 1  # less the settings
        assert len(done) == max(finished, 0)
        again = Journal(path, {'model': 'a'})
        assert again == done and not again.restarted
    path.write_bytes(whole)
    assert Journal(path, {'model': 'a'}).is_done('1.png', [1])
    assert not Journal(path, {'model': 'a'}).is_done('1.png', [2])
    other = Journal(path, {'model': 'b'})
    assert other.restarted and not other


def test_sources(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='no such image'):
        open_source(str(tmp_path / 'none'))
    with pytest.raises(UserError, match='no images here'):
        open_source(str(tmp_path))
    (tmp_path / 'a.txt').write_text('')
    with pytest.raises(UserError, match='neither an image'):
        open_source(str(tmp_path / 'a.txt'))
    (tmp_path / 'a.mp4').write_bytes(b'no video')
    with pytest.raises(UserError, match='cannot be read'):
        open_source(str(tmp_path / 'a.mp4'))

    (tmp_path / 'sub').mkdir()
    pixels = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    cv2.imwrite(str(tmp_path / 'sub/x.PNG'), pixels)
    cv2.imwrite(str(tmp_path / 'b.bmp'), pixels)
    (tmp_path / 'c.jpg').write_bytes(b'')
    source = open_source(str(tmp_path))
    assert isinstance(source, Pictures) and not isinstance(source, Video)
    names = [source.name(index) for index in range(len(source))]
    assert names == ['b.bmp', 'c.jpg', 'sub/x.PNG']
    np.testing.assert_array_equal(source.read(2), pixels)
    with pytest.raises(UnreadableImageError):
        source.read(1)
    one = open_source(str(tmp_path / 'b.bmp'))
    assert len(one) == 1 and one.name(0) == 'b.bmp'


def test_a_picture_that_cannot_be_prepared_is_an_error_of_its_own(
    tmp_path: Path,
) -> None:
    for name, width in (('a.jfif', 30), ('b.png', 4000)):
        picture = np.zeros((8, width, 3), np.uint8)
        (tmp_path / name).write_bytes(cv2.imencode('.png', picture)[1].tobytes())

    def resize(results: dict) -> np.ndarray:
        image = results['img']
        factor = 128 / max(image.shape)
        size = [int(side * factor + 0.5) for side in image.shape[1::-1]]
        return cv2.resize(image, size)

    network = Network.__new__(Network)
    network.pipeline = resize
    images = PreparedImages(open_source(str(tmp_path)), [0, 1], network)
    assert images[0]['inputs'].shape == (34, 128, 3)
    assert images[1]['error'].startswith('4000x8 pixels cannot be resized: no side')


def test_pictures_that_cannot_be_read_have_a_reason_in_plain_words(
    tmp_path: Path,
) -> None:
    (tmp_path / 'empty.jpg').touch()
    size = struct.pack('>IIBBBBB', 60000, 60000, 8, 2, 0, 0, 0)
    huge = b'\x89PNG\r\n\x1a\n'
    for kind, data in ((b'IHDR', size), (b'IDAT', zlib.compress(b'')), (b'IEND', b'')):
        checked = struct.pack('>I', zlib.crc32(kind + data))
        huge += struct.pack('>I', len(data)) + kind + data + checked
    (tmp_path / 'huge.png').write_bytes(huge)
    (tmp_path / 'text.png').write_bytes(b'<html></html>')
    reasons = (
        'an empty file',
        'more pixels than OPENCV_IO_MAX_IMAGE_PIXELS allows',
        'not an image, or cut off',
    )
    source = open_source(str(tmp_path))
    for index, reason in enumerate(reasons):
        with pytest.raises(UnreadableImageError) as caught:
            source.read(index)
        assert str(caught.value) == reason


def test_an_image_on_which_the_model_fails_is_left_out_alone() -> None:
    class Model:
        def predict(self, inputs: list[int]) -> list[int]:
            if 3 in inputs:
                raise torch.OutOfMemoryError('too large\nand a stack of C++')
            return [10 * one for one in inputs]

    def samples(*inputs: int) -> list:
        return _samples(Model(), [{'inputs': one} for one in inputs])  # type: ignore[arg-type]

    assert samples() == []
    assert samples(1, 2) == [10, 20]
    assert samples(1, 3, 2, 3) == [
        10,
        'the model fails: OutOfMemoryError: too large',
        20,
        'the model fails: OutOfMemoryError: too large',
    ]


def test_the_rest_is_predicted_each_under_its_own_name(tmp_path: Path) -> None:
    names = ['a.jpg', 'a.png', 'b.png']
    for shade, name in enumerate(names):
        cv2.imwrite(str(tmp_path / name), np.full((4, 4, 3), 100 * shade, np.uint8))
    source, out = open_source(str(tmp_path)), tmp_path.with_name('out')
    args = argparse.Namespace(batch_size=2, num_workers=0)
    found = InstanceData(
        bboxes=torch.zeros(0, 4), scores=torch.zeros(0), labels=torch.zeros(0).long()
    )

    def as_it_is(image: np.ndarray, detections: list) -> np.ndarray:
        return image

    class Model:
        prepare = staticmethod(lambda image, index: int(image.max()))

        def __init__(self, *failing: int) -> None:
            self.failing = failing

        def predict(self, shades: list[int]) -> list[DetDataSample]:
            if set(self.failing) & set(shades):
                raise ValueError('no such shade')
            return [
                DetDataSample(pred_instances=found, metainfo={'ori_shape': (4, 4)})
                for _ in shades
            ]

    def predict(model: Any, folder: Path) -> dict[str, str]:
        folder.mkdir(parents=True)
        journal = Journal(folder / 'journal.jsonl', {})
        left_out = _predict_missing(source, model, journal, as_it_is, folder, args)
        assert set(journal) == set(names) - set(left_out)
        return left_out

    reason = 'the model fails: ValueError: no such shade'
    assert predict(Model(200), out / 'one') == {'b.png': reason}
    for name, shade in (('a.jpg', 0), ('a.png', 100)):
        assert cv2.imread(str(out / 'one/pictures' / name)).max() == shade
    with pytest.raises(UserError, match=r'no image could .*no such shade'):
        predict(Model(0, 100, 200), out / 'all')


def test_the_input_is_not_among_the_results(tmp_path: Path) -> None:
    picture = tmp_path / 'pictures/a.png'
    picture.parent.mkdir()
    cv2.imwrite(str(picture), np.zeros((4, 4, 3), np.uint8))
    for given, out in ((picture, tmp_path), (tmp_path, picture.parent)):
        args = argparse.Namespace(
            input=str(given), out_dir=str(out), batch_size=1, num_workers=0
        )
        with pytest.raises(UserError, match='Choose a folder elsewhere'):
            _check_arguments(args, open_source(args.input))


def test_results_are_json_with_the_data_sets_own_categories() -> None:
    results = coco_results(
        5,
        torch.tensor([[1.0, 2.0, 4.0, 8.0]]),
        torch.tensor([0.5]),
        torch.tensor([1]),
        category_ids=[7, 90],
    )
    assert json.loads(json.dumps(results)) == [
        {'image_id': 5, 'category_id': 90, 'bbox': [1, 2, 3, 6], 'score': 0.5}
    ]


def test_masks_are_run_lengths_and_are_drawn() -> None:
    masks = torch.zeros(1, 60, 50, dtype=torch.bool)
    masks[0, 20:40, 10:30] = True
    box = torch.tensor([[10.0, 20.0, 30.0, 40.0]])
    results = coco_results(5, box, torch.tensor([0.9]), torch.tensor([0]), masks)
    results = json.loads(json.dumps(results))
    decoded = coco_mask.decode(results[0]['segmentation'])
    assert torch.equal(torch.from_numpy(decoded).bool(), masks[0])

    painter = Painter(('cell',), [(255, 0, 0)])
    image = np.full((60, 50, 3), 100, np.uint8)
    with_mask = draw_detections(painter, image, results, score_thr=0.5)
    del results[0]['segmentation']
    boxes_only = draw_detections(painter, image, results, score_thr=0.5)
    assert (with_mask[32:38, 15:25] != boxes_only[32:38, 15:25]).any()


def test_contact_sheet_fills_up_with_white() -> None:
    tiles = [np.full((2, 3, 3), value, np.uint8) for value in (1, 2, 3, 4, 5)]
    sheet = contact_sheet(tiles)
    assert sheet.shape == (4, 12, 3)
    assert (sheet[2:, :3] == 5).all() and (sheet[2:, 3:] == 255).all()


@pytest.mark.parametrize('text', ['<annotation><size>', '<annotation></annotation>'])
def test_broken_xml_under_mmdets_own_dataset_is_named(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / 'Annotations').mkdir()
    (tmp_path / 'JPEGImages').mkdir()
    cv2.imwrite(str(tmp_path / 'JPEGImages/x.jpg'), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / 'Annotations/x.xml').write_text(text)
    (tmp_path / 'list.txt').write_text('x\n')
    dataset = {
        'type': 'XMLDataset',
        'data_root': str(tmp_path),
        'ann_file': 'list.txt',
        'data_prefix': {'sub_data_root': ''},
        'metainfo': {'classes': ('a',)},
        'filter_cfg': {'filter_empty_gt': True},
        'pipeline': [],
    }
    config = Config(
        {'default_scope': 'mmdet', 'train_dataloader': {'dataset': dataset}}
    )
    with pytest.raises(UserError, match=r'x\.xml: '), explained(config):
        DATASETS.build(dataset)


@pytest.mark.parametrize('suffix', ['.jfif', '.GIF'])
def test_images_of_browsers_and_old_pages_are_read(tmp_path, suffix):
    kind = {'.jfif': 'JPEG', '.GIF': 'GIF'}[suffix]
    Image.new('RGB', (40, 30)).save(tmp_path / f'a{suffix}', kind)
    pictures = open_source(str(tmp_path))
    assert pictures.name(0) == f'a{suffix}'
    assert pictures.read(0).shape == (30, 40, 3)
    write_picture(tmp_path / 'out' / pictures.name(0), pictures.read(0))
    with Image.open(tmp_path / 'out' / pictures.name(0)) as written:
        assert (written.format, written.size) == (kind, (40, 30))


def test_images_of_kinds_that_are_not_read_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmfrcnn.cli import sources
    from mmfrcnn.data import images

    for module in (images, sources):
        monkeypatch.setattr(module, 'reads_heif', lambda: False)
    (tmp_path / 'a.HEIC').write_bytes(b'\0\0\0\x18ftypheic\0\0\0\0')
    (tmp_path / 'b.dng').write_bytes(b'raw')
    with pytest.raises(UserError, match=r'no images here .* Passed over: 2 .* a\.HEIC'):
        open_source(str(tmp_path))
    cv2.imwrite(str(tmp_path / 'c.png'), np.zeros((4, 5, 3), np.uint8))
    source = open_source(str(tmp_path))
    assert isinstance(source, Pictures)
    assert len(source) == 1 and source.passed_over == ['a.HEIC', 'b.dng']
    assert 'a.HEIC; b.dng. Save them as JPEG or PNG' in source.about_others()
    with pytest.raises(UnreadableImageError, match='pip install pillow-heif'):
        open_source(str(tmp_path / 'a.HEIC')).read(0)
