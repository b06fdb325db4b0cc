"""The detector on a GPU finds what it finds on the CPU."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from mmfrcnn import Detector
from mmfrcnn.data.images import find_images

from .run import make_run


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_a_gpu_finds_the_same(tmp_path):
    run = make_run(tmp_path)
    images = find_images(tmp_path / 'images')
    expected = Detector(run, 'cpu')(images)
    detector = Detector(run)
    assert detector.device == 'cuda'
    proposed = detector.proposals(images[0], features=True)
    assert proposed.features.shape == (len(proposed), 16, 7, 7)
    last = f'cuda:{torch.cuda.device_count() - 1}'
    with ThreadPoolExecutor(4) as threads:
        for one in (detector, Detector(run, last)):
            for found, other in zip(threads.map(one, images), expected, strict=True):
                assert len(found) == len(other)
                # The GPU multiplies in TF32, and ranks may change by it.
                np.testing.assert_allclose(found.scores, other.scores, atol=0.01)
    assert len(Detector(run, precision='fp16')(images[0])) == len(expected[0])
