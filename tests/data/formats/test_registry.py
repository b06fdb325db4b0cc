"""Which format a data set is in, and who reads it anew."""

from __future__ import annotations

import pytest
from mmdet.datasets import CocoDataset, XMLDataset

from mmfrcnn.data.checks.preflight import check_dataset
from mmfrcnn.data.formats.pictures import Object, Picture, PictureDataset
from mmfrcnn.data.formats.registry import format_of, read_anew
from mmfrcnn.data.formats.voc import VocXmlDataset


class OwnDataset(PictureDataset):
    """Of a format of one's own: one image, one box far beyond it, and a note."""

    def read(self):
        self.notes = ['read by hand']
        box = Object('cat', (1, 2, 90, 12), 'the only box')
        return ['cat'], [Picture('a', 40, 30, [box], self.data_root)]


@pytest.mark.parametrize('kind', [XMLDataset, VocXmlDataset])
def test_mmdets_voc_and_ours_are_of_one_format(make_voc, kind):
    dataset = kind(**make_voc())
    notes: list[str] = []
    names, (picture,) = read_anew(dataset, notes)
    assert format_of(dataset).name == 'voc' and notes == []
    assert names == ['Cat'] and picture.objects[0].box == (0, 0, 39, 29)


def test_what_is_made_from_coco_is_coco_and_keeps_its_notes(make_coco):
    class Pets(CocoDataset):
        pass

    dataset = Pets(**make_coco(iscrowd=None))
    notes: list[str] = []
    names, pictures = read_anew(dataset, notes)
    assert format_of(dataset).name == 'coco'
    assert names == ['Cat', 'Dog'] and [len(p.objects) for p in pictures] == [1, 0]
    assert notes == [
        '1 annotations without an iscrowd of 0 or 1: taken for 0 unless it says '
        'otherwise'
    ]


def test_a_format_of_ones_own_is_read_by_its_data_set(make_coco):
    image = make_coco()['data_prefix']['img'] + '/1.jpg'
    dataset = OwnDataset(data_root=image, pipeline=[])
    report = check_dataset(dataset, 'train')
    assert 'note     read by hand' in report
    assert '1 of 1 boxes reach beyond their image: the only box. Are they' in report
