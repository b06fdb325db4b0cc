"""The blocks of docs/python.md, one after the other, beside a run and photographs."""

from __future__ import annotations

import importlib.util
import re
import shutil

import cv2
import pytest
from mmengine.registry import DefaultScope

from mmfrcnn.errors import UserError

from .run import make_run

OPTIONAL = ('pandas', 'supervision')


def test_every_block_runs(tmp_path, monkeypatch, repo_root, capsys):
    page = (repo_root / 'docs/python.md').read_text('utf-8')
    blocks = re.findall(r'^```python\n(.*?)^```', page, re.M | re.S)
    assert len(blocks) == page.count('```python') == 10
    run = make_run(tmp_path)
    pets = tmp_path / 'work_dirs/pets'
    shutil.copytree(run, pets)
    shutil.copy(pets / 'epoch_1.pth', pets / 'epoch_12.pth')
    (tmp_path / 'configs').mkdir()
    shutil.copy(tmp_path / 'tiny.py', tmp_path / 'configs/pets.py')
    (tmp_path / 'photos').mkdir()
    for number, name in enumerate(('photo.jpg', 'other.jpg', 'photos/1.jpg')):
        cv2.imwrite(str(tmp_path / name), cv2.imread(f'{run}/../images/{number}.png'))
    (tmp_path / 'broken.jpg').write_bytes(b'broken')
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    with DefaultScope.overwrite_default_scope('mmdet'):
        for block in blocks:
            absent = [one for one in OPTIONAL if not importlib.util.find_spec(one)]
            if 'to_supervision' in block and absent:
                with pytest.raises(UserError, match=f'pip install {absent[0]}'):
                    exec(block, names)
            else:
                exec(block, names)
    printed = capsys.readouterr().out
    assert re.search(r'^Found\(\d .* in photo\.jpg, 128x96\)$', printed, re.M)
    assert 'photos/1.jpg 5\n' in printed and '(640, 480)\n' in printed
    assert 'broken.jpg: not an image, or cut off\n' in printed
    assert '(50, 4) (50,) (50, 16, 7, 7)\n' in printed
    assert (tmp_path / 'drawn.png').is_file()
    assert len(names['results']) == 8
