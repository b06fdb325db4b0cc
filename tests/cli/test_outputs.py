"""A tool writes over its own results and over nothing else."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmfrcnn.cli.journal import Journal, is_journal
from mmfrcnn.cli.outputs import check_folder, mark_folder
from mmfrcnn.cli.store_proposals import _check_out
from mmfrcnn.cli.test import _check_outputs, _dump
from mmfrcnn.data.proposals import save_proposals
from mmfrcnn.errors import UserError


def check_out(path: Path | None = None, show_dir: Path | None = None) -> None:
    """Check the outputs of tools/test.py."""
    out = path and str(path)
    _check_outputs(argparse.Namespace(out=out, show_dir=show_dir and str(show_dir)))


def detected(count: int) -> list[dict]:
    """Return the detections of images as a detector gives them to metrics."""
    found = {
        'bboxes': torch.zeros(3, 4),
        'scores': torch.zeros(3),
        'labels': torch.zeros(3, dtype=torch.long),
    }
    samples = [{'img_id': image, 'img_path': 'x' * 300} for image in range(count)]
    return [sample | {'pred_instances': dict(found)} for sample in samples]


@pytest.mark.parametrize(
    'name, count',
    [('a.json', 0), ('a.json', 1), ('a.json', 3000), ('a.pkl', 1), ('a.pkl', 3000)],
)
def test_detections_are_written_over_by_the_next_test(
    tmp_path: Path, name: str, count: int
) -> None:
    runner = SimpleNamespace(test_dataloader=SimpleNamespace(dataset=None))
    path = tmp_path / name
    check_out(path)  # nothing there
    metric = _dump(str(path), runner)  # type: ignore[arg-type]
    metric.process({}, detected(count))
    metric.compute_metrics(metric.results)
    check_out(path)
    path.write_bytes(path.read_bytes()[:500])  # a kill cut it off
    check_out(path)


ANNOTATION = {'id': 1, 'image_id': 1, 'category_id': 1, 'bbox': [0, 0, 1, 1]}


@pytest.mark.parametrize(
    'content',
    [
        json.dumps({'images': [], 'annotations': [ANNOTATION], 'categories': []}),
        json.dumps({'annotations': [ANNOTATION | {'score': 0.5}]}),
        json.dumps([ANNOTATION]),
        json.dumps([1, 2]),
        'notes',
        '\n[{"a": 1}]',
    ],
)
@pytest.mark.parametrize('name', ['train.json', 'train.pkl'])
def test_other_files_are_not_written_over(
    tmp_path: Path, content: str, name: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(
        UserError, match=rf'--out .*{name} is there and holds no earlie'
    ):
        check_out(path)
    assert path.read_text() == content


def test_a_pickle_is_known_without_being_read(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple:
            return Path.touch, (tmp_path / 'executed',)

    path = tmp_path / 'found.pkl'
    torch.save({'pred_instances': Payload()}, path)  # a zip file
    with pytest.raises(UserError, match='holds no earlier results'):
        check_out(path)
    assert not (tmp_path / 'executed').exists()
    with pytest.raises(UserError, match=r'is a folder\. Name a file'):
        check_out(tmp_path)


def test_pictures_go_into_an_empty_folder_or_over_pictures(tmp_path: Path) -> None:
    folder = tmp_path / 'images'
    for check in (
        lambda: check_out(show_dir=folder),
        lambda: check_folder('--out-dir', folder),
    ):
        check()
    folder.mkdir()
    check_out(show_dir=folder)
    (folder / 'a.jpg').touch()
    with pytest.raises(UserError, match=r'--show-dir .* holds a\.jpg'):
        check_out(show_dir=folder)
    check_out(show_dir=Path('images'))  # in the work folder, below the time of the run
    with pytest.raises(UserError, match='is a file'):
        check_folder('--out-dir', folder / 'a.jpg')
    mark_folder(folder)
    check_out(show_dir=folder)


def test_a_folder_of_predictions_is_known_by_its_journal(tmp_path: Path) -> None:
    journal = tmp_path / 'journal.jsonl'

    def check() -> None:
        check_folder('--out-dir', tmp_path, lambda folder: is_journal(journal))

    check()
    for foreign in ('', '{"checkpoint": "a.pth"}\n', '[]\n', 'x', '{"journal": "x"}\n'):
        journal.write_text(foreign)
        with pytest.raises(UserError, match=r'holds journal\.jsonl'):
            check()
    journal.unlink()
    Journal(journal, {})
    check()


def test_proposals_go_over_proposals_alone(tmp_path: Path) -> None:
    features = tmp_path / 'features.npz'
    np.savez(features, x=np.zeros(3))
    with pytest.raises(UserError, match='holds no proposals'):
        _check_out(str(features))
    save_proposals(features, [])
    _check_out(str(features))
