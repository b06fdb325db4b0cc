"""The page says what the facts are, needs no connection, and cannot be taken over."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from mmfrcnn.evaluation.ledger.fates import FATES
from mmfrcnn.report.flow import counts, flow
from mmfrcnn.report.pictures import worst_images
from mmfrcnn.report.record import record_of
from tests.report.page import (
    HOSTILE,
    facts_of,
    origin_of,
    page_of,
    report_of,
    run_with_images,
)

VOID = {'meta', 'img', 'br', 'link', 'input', 'hr'}


class Structure(HTMLParser):
    """Collects the tags of a page, and checks that each is closed in its turn."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict]] = []
        self.feed(page)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, (tag, self.getpos())


@pytest.fixture(scope='module')
def facts(tmp_path_factory):
    return run_with_images(tmp_path_factory.mktemp('images'))


@pytest.fixture(scope='module')
def page(facts):
    return page_of(facts)


def test_it_is_one_page_that_needs_nothing(page):
    tags = Structure(page).found
    assert [attrs['lang'] for tag, attrs in tags if tag == 'html'] == ['en']
    sources = [attrs['src'] for tag, attrs in tags if 'src' in attrs]
    assert len(sources) > 15
    assert all(source.startswith('data:image/') for source in sources)
    assert not {'link', 'iframe', 'object'} & {tag for tag, _ in tags}
    targets = {attrs['href'] for tag, attrs in tags if tag == 'a'}
    ids = [attrs['id'] for _, attrs in tags if 'id' in attrs]
    assert len(ids) == len(set(ids))
    assert targets <= {f'#{one}' for one in ids}
    assert all(attrs.get('alt') for tag, attrs in tags if tag == 'img')
    named = {attrs['for'] for tag, attrs in tags if tag == 'label'}
    assert named == {attrs['id'] for tag, attrs in tags if tag == 'select'}
    assert len(page) < 20e6


def test_the_flow_ends_at_the_objects_that_are_detected(facts):
    rows = flow(facts.held_out)
    objects = facts.held_out.summary['objects']
    assert rows[-1]['left'] == objects['detected']
    lost = {fate: n for row in rows for fate, n in row['lost'].items()}
    assert lost == {k: objects[k] for k in FATES if k != 'detected' and objects[k]}


def test_the_counts_of_the_filter_are_the_ledger(facts):
    columns = facts.held_out.columns
    data = np.array(counts(facts.held_out))
    assert data[:, 3].sum() == len(columns.object_label)
    for label in range(3):
        for fate in range(len(FATES)):
            both = (columns.object_label == label) & (columns.object_fate == fate)
            chosen = (data[:, 0] == label) & (data[:, 2] == fate)
            assert data[chosen, 3].sum() == both.sum()


def test_the_record_has_what_the_page_shows(facts, page):
    curves = {'losses': {'loss': ([1, 2], [3.0, float('nan')])}}
    record = record_of(report_of(facts, origin_of(curves=curves)))
    again = json.loads(json.dumps(record, allow_nan=False))
    assert again['curves']['losses']['loss'] == {
        'iteration': [1, 2],
        'value': [3, None],
    }
    assert again['flow'] == flow(facts.held_out)
    columns = facts.held_out.columns
    for name, iou in (
        ('evaluated', columns.object_anchor_iou),
        ('in training', facts.fed.anchor_iou),
    ):
        shares = again['anchors'][name]
        assert shares['0.6'] == pytest.approx(np.mean(iou >= 0.6))
        cells = ''.join(f'<td>{share:.1%}</td>' for share in shares.values())
        assert f'<td>{name}</td>{cells}' in page
    sizes = again['sizes']
    for shares in sizes['shares'].values():
        assert sum(shares) == pytest.approx(1)
    edges, own = sizes['edges'], facts.held_out.input_sides
    inside = (own >= edges[5]) & (own < edges[9])
    assert sum(sizes['shares']['evaluated'][5:9]) == pytest.approx(inside.mean())
    mistakes = [one for image in again['images'] for one in image['mistakes']]
    assert all(html.escape(one) in page for one in mistakes) and len(mistakes) > 10
    assert sum(one.startswith('missed ') for one in mistakes) == sum(
        again['ledger']['objects'][fate] for fate in FATES if fate != 'detected'
    )
    assert again['training_objects'] == dict(
        zip(facts.classes, facts.class_counts, strict=True)
    )


def test_a_missed_object_is_told_what_came_nearest(facts):
    columns = facts.held_out.columns
    notes = [n for one in worst_images(facts.held_out, 0.0) for n in one.notes]
    missed = [one for one in notes if one.startswith('missed ')]
    assert len(missed) == (facts.held_out.fates != 'detected').sum() > 5
    for row in np.flatnonzero(facts.held_out.fates != 'detected'):
        parts = [f'anchor {columns.object_anchor_iou[row]:.2f}']
        if columns.object_detection[row] >= 0:
            label = columns.detection_label[columns.object_detection[row]]
            name = columns.classes[label]
            parts += [f'detection {columns.object_detection_iou[row]:.2f}', name]
        said = f'{facts.held_out.fates[row]} ({", ".join(parts)})'
        assert any(one.endswith(said) for one in missed)


def test_an_image_that_cannot_be_read_is_said(page):
    assert page.count('The image cannot be read') == 1


def test_names_are_text_whatever_is_in_them(facts):
    names = np.array([HOSTILE, 'dog', 'cow'])
    columns = replace(facts.held_out.columns, classes=names)
    held_out = replace(facts.held_out, columns=columns)
    hostile = origin_of(
        **dict.fromkeys(('title', 'source', 'command', 'config'), HOSTILE)
    )
    page = page_of(replace(facts, held_out=held_out), hostile)
    tags = Structure(page).found
    assert sum(tag == 'script' for tag, _ in tags) == 2
    assert not any('onerror' in attrs for _, attrs in tags)
    text = re.search(r'id="data">(.*?)</script>', page, re.DOTALL)
    assert text and json.loads(text[1])['classes'][0] == HOSTILE


def test_little_is_known():
    """One image without training, history, advice or detections."""
    facts = facts_of(1, images=1)
    few = replace(facts, training=None, fed=None, class_counts=None)
    Structure(page_of(few, origin_of(curves={})))
    columns = facts.held_out.columns
    none = np.zeros(0, np.int64)
    nothing = replace(
        columns,
        **{k: none for k in ('detection_image', 'detection_label', 'detection_kind')},
        detection_object=none,
        detection_box=np.zeros((0, 4), np.float32),
        detection_score=np.zeros(0, np.float32),
        detection_hits=np.zeros((10, 0), np.int8),
    )
    empty = replace(few, held_out=replace(few.held_out, columns=nothing))
    assert 'No class is taken for another' in page_of(empty)


@pytest.mark.parametrize('number', [80, 10_000])
def test_many_classes(number):
    facts = facts_of(1, images=5)
    names = np.array([f'class {i}' for i in range(number)])
    columns = facts.held_out.columns
    held_out = replace(facts.held_out, columns=replace(columns, classes=names))
    few = replace(facts, held_out=held_out, training=None, class_counts=None)
    page = page_of(few)
    Structure(page)
    assert len(page) < 2e6
    assert ('alt="Confusion matrix' in page) == (number == 80)
