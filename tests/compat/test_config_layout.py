"""The remembered layout of a config's text is yapf's."""

from __future__ import annotations

from mmengine.config import Config, config
from yapf.yapflib.yapf_api import FormatCode

from mmfrcnn.compat import config_layout


def test_the_text_is_that_of_mmengine(monkeypatch, repo_root):
    shipped = repo_root / 'configs/shapes/faster-rcnn_r18_fpn_shapes.py'
    ours = Config.fromfile(shipped)
    text = ours.pretty_text
    ours.seed = 3
    changed = ours.pretty_text
    monkeypatch.setattr(config, 'FormatCode', FormatCode)
    assert ours.pretty_text == changed != text
    assert Config.fromfile(shipped).pretty_text == text


def test_each_text_is_laid_out_once(monkeypatch):
    calls = []

    def format_code(text, **arguments):
        calls.append(arguments)
        return FormatCode(text, **arguments)

    monkeypatch.setattr(config, 'FormatCode', format_code)
    config_layout.install()
    config_layout.install()
    ours = Config(dict(a=1, b=dict(type='A')))
    assert ours.pretty_text == ours.pretty_text == Config(ours.to_dict()).pretty_text
    assert len(calls) == 1 and 'style_config' in calls[0]
    ours.a = 2
    assert 'a = 2' in ours.pretty_text and len(calls) == 2
