"""The detector of Python programs: equal to the tool's, whoever asks and however."""

from __future__ import annotations

import json
import pickle
import time
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
import torch
from mmdet.datasets.transforms import ResizeShortestEdge
from mmdet.registry import TRANSFORMS
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmfrcnn import Detector
from mmfrcnn.data.images import find_images
from mmfrcnn.errors import UserError
from tests.end_to_end.tiny import run_here

from .run import SIZES, build, make_run, save


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('detector')
    make_run(folder)
    return folder


@pytest.fixture(scope='module')
def detector(folder):
    return Detector(folder / 'run', 'cpu', batch_size=4)


@pytest.fixture(scope='module')
def images(folder):
    return find_images(folder / 'images')


@pytest.fixture(scope='module')
def alone(detector, images):
    """What is found in each image by itself."""
    return [detector(path) for path in images]


def check_same(found, expected, exact=False):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert len(one) == len(other) > 3
        assert one.image_size == other.image_size
        tolerance = dict(rtol=0, atol=0) if exact else dict(rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(one.labels, other.labels)
        np.testing.assert_allclose(one.scores, other.scores, **tolerance)
        np.testing.assert_allclose(one.boxes, other.boxes, **tolerance)


def test_equal_to_the_predict_tool(folder, detector, tmp_path):
    arguments = ['--batch-size', 4, '--no-pictures', '--device', 'cpu']
    checkpoint = folder / 'run/epoch_1.pth'
    images, out = folder / 'images', tmp_path / 'out'
    workers = ['--num-workers', 0]
    config = folder / 'tiny.py'
    paths = [images, config, checkpoint, '--out-dir', out]
    assert run_here('predict', *paths, *arguments, *workers) == 0
    expected = json.loads((out / 'predictions.json').read_text())
    assert [one['name'] for one in expected['categories']] == list(detector.classes)
    found = [
        one
        for image_id, found in enumerate(detector(images), 1)
        for one in found.to_coco(image_id)
    ]
    kept = ('image_id', 'category_id', 'bbox', 'score')
    assert len(found) == 5 * len(SIZES)
    assert found == [{key: one[key] for key in kept} for one in expected['annotations']]


def test_equal_to_mmdet_and_its_inferencer(folder, images, alone):
    """A model that nothing is rearranged in, through mmdet's own ways."""
    from mmdet.apis import DetInferencer, inference_detector, init_detector

    checkpoint = str(folder / 'run/epoch_1.pth')
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = init_detector(str(folder / 'tiny.py'), checkpoint, device='cpu')
        inferencer = DetInferencer(
            weights=checkpoint, device='cpu', show_progress=False
        )
        for path, expected in zip(images, alone, strict=True):
            sample = inference_detector(model, str(path)).pred_instances
            stored = inferencer(str(path), no_save_vis=True)['predictions'][0]
            for boxes in (sample.bboxes.numpy(), stored['bboxes']):
                np.testing.assert_allclose(boxes, expected.boxes, rtol=1e-3, atol=1e-2)


def test_lists_folders_and_iterators(detector, folder, images, alone):
    assert [found.image_size for found in alone] == list(SIZES)
    found = detector(images)
    assert isinstance(found, list)
    check_same(found, alone)
    check_same(list(detector(folder / 'images')), alone)
    check_same(list(detector(str(folder / 'images'))), alone)
    check_same(list(detector(path for path in images)), alone)
    check_same(detector(tuple(images)), alone)
    assert [one.path for one in found] == [str(path) for path in images]
    assert detector([]) == []
    assert list(detector(iter([]))) == []


def test_an_iterator_is_read_a_batch_at_a_time(detector, images):
    read = []

    def endless():
        while True:
            for path in images:
                read.append(path)
                yield path

    found = detector(endless())
    assert read == []
    for _ in range(9):
        next(found)
    assert len(read) == 12


def test_what_fails_in_a_stream_does_so_at_its_place(detector, images, alone):
    good = images[0]
    with pytest.raises(UserError, match=r'^image 1, counted from 0: not an image'):
        detector([good, b'x'])
    stream = detector(iter([good, b'x', good, 'missing.png', good]))
    check_same([next(stream)], alone[:1])
    with pytest.raises(UserError, match=r'^image 1, counted from 0: not an image'):
        next(stream)
    check_same([next(stream)], alone[:1])
    with pytest.raises(UserError, match=r'^missing\.png: no such image'):
        next(stream)
    check_same(list(stream), alone[:1])

    def ends_badly():
        yield good
        raise ConnectionError('camera')

    stream = detector(ends_badly())
    check_same([next(stream)], alone[:1])
    with pytest.raises(ConnectionError, match='camera'):
        next(stream)
    with pytest.raises(StopIteration):
        next(stream)


def test_an_image_too_narrow_to_resize(detector):
    with pytest.raises(UserError, match=r'the image: 4000x8 pixels cannot be resized'):
        detector(np.zeros((8, 4000), np.uint8))


def test_scores_below_the_threshold_are_left_out(folder, images, alone):
    least = float(np.median(alone[0].scores))
    found = Detector(folder / 'run', 'cpu', score_thr=least)(images[0])
    assert len(found) == 3
    np.testing.assert_array_equal(found.scores, alone[0].scores[:3])
    np.testing.assert_array_equal(found.boxes, alone[0].boxes[:3])


def test_threads_get_what_they_ask_for(detector, images, alone, monkeypatch):
    inside, most, predict = [], [], detector._network.predict

    def watched(prepared):
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.002)  # others would come in
        found = predict(prepared)
        inside.pop()
        return found

    monkeypatch.setattr(detector._network, 'predict', watched)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(detector, images * 4))
    check_same(found, alone * 4, exact=True)
    assert max(most) == 1


class SlowResize(ResizeShortestEdge):
    """Takes its time between the size, which it keeps on itself, and the resizing."""

    def transform(self, results):
        self.resize.scale = self._get_output_shape(results['img'], self.scale)
        time.sleep(0.005)
        return self.resize(results)


def test_threads_do_not_share_what_a_transform_keeps(folder, images):
    TRANSFORMS.register_module('SlowResizeOfTest', module=SlowResize, force=True)
    config = Config.fromfile(folder / 'tiny.py')
    slow = dict(type='SlowResizeOfTest', scale=64, max_size=128)
    config.test_dataloader.dataset.pipeline[1] = slow
    detector = Detector(folder / 'run', 'cpu', config=config)
    alone = [detector(path) for path in images]
    with ThreadPoolExecutor(8) as threads:
        check_same(list(threads.map(detector, images * 4)), alone * 4, exact=True)


def test_several_are_made_at_once(folder, images, alone):
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda _: Detector(folder / 'run', 'cpu'), range(4)))
    check_same([one(images[0]) for one in made], alone[:1] * 4, exact=True)


def test_a_pickle_answers_the_same(detector, images, alone):
    # Whatever the process is about.
    for scope in ('mmdet', 'mmengine'):
        with DefaultScope.overwrite_default_scope(scope):
            again = pickle.loads(pickle.dumps(detector))
            assert repr(again) == repr(detector)
            check_same([again(path) for path in images[:2]], alone[:2], exact=True)


@pytest.mark.parametrize('precision', ['bf16', 'fp32'])
def test_proposals_are_those_that_the_second_stage_gets(
    folder, images, detector, precision
):
    if precision == 'bf16':
        detector = Detector(folder / 'run', 'cpu', precision='bf16')
    model = detector._network.model
    kept = {}

    def keep_proposals(module, inputs, outputs=None):
        kept['rois'] = inputs[1]
        kept['features'] = outputs

    handle = model.roi_head.bbox_roi_extractor.register_forward_hook(keep_proposals)
    detector(images[2])
    expected = kept['rois'].clone(), kept['features'].clone()
    handle.remove()
    found = detector.proposals(images[2], features=True)
    assert repr(found) == f'Proposed(50 regions in {images[2]}, 200x40)'
    factor = 128 / 200  # of tiny's test pipeline
    np.testing.assert_allclose(
        found.boxes * factor, expected[0][:50, 1:], rtol=1e-2, atol=0.3
    )
    np.testing.assert_allclose(
        found.features, expected[1][:50].float(), rtol=1e-3, atol=1e-3
    )
    assert (np.diff(found.scores) <= 0).all() and found.features.shape[1:] == (16, 7, 7)
    assert detector.proposals(images[2]).features is None
    batch = detector.proposals(images[:3])
    np.testing.assert_allclose(batch[2].boxes, found.boxes, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('cascade', (16, 7, 7)),
        ('mmdet', (16, 7, 7)),
    ],
)
def test_proposals_of_other_two_stage_detectors(
    folder, tmp_path, name, expected, images
):
    config = Config.fromfile(folder / 'tiny.py')
    if name == 'mmdet':
        config.model.type = 'FasterRCNN'
        config.model.rpn_head.type = 'RPNHead'
    else:
        head = config.model.roi_head
        head.type = 'BatchedCascadeRoIHead'
        head.update(num_stages=2, stage_loss_weights=[1, 0.5])
        head.bbox_head = [head.bbox_head, head.bbox_head]
        config.model.train_cfg = None
    save(tmp_path / 'other.pth', config)
    detector = Detector(tmp_path / 'other.pth', 'cpu')
    found = detector.proposals(images[0], features=True)
    assert len(found) == 50 and found.features.shape == (50, *expected)
    width, height = found.image_size
    assert (found.boxes >= 0).all() and found.boxes[:, 2].max() <= width + 1e-3
    assert found.boxes[:, 3].max() <= height + 1e-3
    assert len(detector(images[0])) == 5


def test_no_first_stage(tmp_path, folder, images):
    config = Config.fromfile(folder / 'tiny.py')
    config.model = dict(
        type='RetinaNet',
        data_preprocessor=config.model.data_preprocessor,
        backbone=config.model.backbone,
        neck=config.model.neck,
        bbox_head=dict(
            type='RetinaHead',
            num_classes=2,
            in_channels=16,
            feat_channels=16,
            stacked_convs=1,
            anchor_generator=config.model.rpn_head.anchor_generator,
        ),
        test_cfg=dict(
            nms_pre=50,
            score_thr=0.0,
            nms=dict(type='nms', iou_threshold=0.5),
            max_per_img=5,
        ),
    )
    save(tmp_path / 'one.pth', config)
    detector = Detector(tmp_path / 'one.pth', 'cpu')
    assert len(detector(images[0])) == 5
    with pytest.raises(UserError, match=r'RetinaNet has no rpn_head'):
        detector.proposals(images[0])


def test_a_first_stage_alone(tmp_path, folder, images):
    config = Config.fromfile(folder / 'tiny.py')
    config.model.type = 'RPN'
    config.model.pop('roi_head')
    config.model.train_cfg = None
    config.model.test_cfg = dict(rpn=config.model.test_cfg.rpn)
    save(tmp_path / 'rpn.pth', config)
    detector = Detector(tmp_path / 'rpn.pth', 'cpu')
    assert len(detector.proposals(images[0])) == 50
    with pytest.raises(UserError, match=r'RPN has no roi_head, which would pool'):
        detector.proposals(images[0], features=True)


def test_masks(tmp_path, folder, images):
    config = Config.fromfile(folder / 'tiny.py')
    head = config.model.roi_head
    head.mask_roi_extractor = dict(head.bbox_roi_extractor)
    head.mask_head = dict(
        type='FCNMaskHead',
        num_convs=1,
        in_channels=16,
        conv_out_channels=8,
        num_classes=2,
    )
    config.model.test_cfg.rcnn.mask_thr_binary = 0.5
    save(tmp_path / 'masks.pth', config)
    found = Detector(tmp_path / 'masks.pth', 'cpu')(images[1])
    width, height = found.image_size
    assert found.masks.shape == (5, height, width) and found.masks.dtype == bool
    assert found.filter(2).masks.shape == (0, height, width)
    assert found.to_coco()[0]['segmentation']['size'] == [height, width]
    assert found.draw(0).size == (width, height)


def test_the_scope_of_the_process_stays(folder):
    before = DefaultScope.get_current_instance()
    with DefaultScope.overwrite_default_scope('mmengine'):
        Detector(folder / 'run', 'cpu')
        assert DefaultScope.get_current_instance().scope_name == 'mmengine'
    assert DefaultScope.get_current_instance() is before or before is not None


def test_weights_alone_want_a_config(tmp_path, folder, images, alone):
    config = Config.fromfile(folder / 'tiny.py')
    path = tmp_path / 'weights.pth'
    torch.save(build(config).state_dict(), path)
    with pytest.raises(
        UserError, match=r"weights\.pth holds no config.*config='\.\.\.'"
    ):
        Detector(path, 'cpu')
    for given in (
        folder / 'tiny.py',
        str(folder / 'tiny.py'),
        config,
        config.to_dict(),
    ):
        detector = Detector(path, 'cpu', config=given)
    check_same([detector(images[0])], alone[:1])
    again = pickle.loads(pickle.dumps(detector))
    check_same([again(images[0])], alone[:1])


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(device='tpu'), 'device tpu: it must be cpu, cuda or cuda:N'),
        (dict(device='cuda:99'), 'device cuda:99: '),
        (dict(precision='int8'), 'precision int8: it must be fp32, bf16 or fp16'),
        (dict(precision='fp16', device='cpu'), 'precision fp16 needs a GPU'),
        (dict(batch_size=0), 'batch_size=0: it must be at least 1'),
        (dict(config='missing.py'), 'no such config file: missing.py'),
    ],
)
def test_arguments_that_cannot_be(folder, arguments, message):
    with pytest.raises(UserError, match=f'^{message}'):
        Detector(folder / 'run', **arguments)


def test_images_that_are_none(detector):
    for images in (None, 3):
        with pytest.raises(UserError, match=r'the image: a \w+ is no image: give'):
            detector(images)
    with pytest.raises(UserError, match=r"channels='brg': it must be 'rgb' or 'bgr'"):
        detector(np.zeros((9, 9, 3), np.uint8), channels='brg')


def test_an_image_is_read_from_a_file_each_time(detector, tmp_path):
    path = tmp_path / 'a.png'
    cv2.imwrite(str(path), np.full((60, 80, 3), 90, np.uint8))
    found = detector(path)
    assert np.asarray(found.draw(2)).tolist() == [[[90, 90, 90]] * 80] * 60
    cv2.imwrite(str(path), np.full((80, 60, 3), 90, np.uint8))
    with pytest.raises(UserError, match=r'a\.png is another image now'):
        found.draw()
