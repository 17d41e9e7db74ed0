"""What is refused before a label would be written as another, or as one that the host does not take."""

import re

import numpy as np
import pytest

from hws_nnunet.datasets.cases import Case, Collection, DatasetError
from hws_nnunet.datasets.raw import write_raw
from hws_nnunet.facts.versions import V1, V2
from tests.datasets.trees import AFFINE, image, labels, load, save


def collection_of(folder, voxels, *, label_map, affine=AFFINE, names=()):
    save(image(), folder / "one.nii.gz")
    save(voxels, folder / "one_seg.nii.gz", affine)
    case = Case("one", (folder / "one.nii.gz",), folder / "one_seg.nii.gz", label_map=label_map)
    return Collection(folder, (case,), ("T1",), dict(names) or {"background": 0, "a": 1})


def write(collection, raw, host):
    raw.mkdir()
    return write_raw(collection, raw, dataset_id=7, name="X", host=host)


@pytest.mark.parametrize("host", [V1, V2], ids=["v1", "v2"])
@pytest.mark.parametrize(
    ("values", "label_map", "shift", "told"),
    [
        ([-1, 1], {0: 0, 1: 2, 2: 1}, 0, "found -1"),
        ([1, 300], {0: 0, 1: 2}, 0, "found 300"),
        ([1], {1: 300}, 0, "found 1, which becomes 300"),
        ([1], {1: -1}, 0, "found 1, which becomes -1"),
        ([300], {}, 1e-3, "found 300"),
    ],
)
def test_labels_that_a_byte_does_not_hold_are_refused(tmp_path, host, values, label_map, shift, told):
    voxels = labels(values, np.int16)
    collection = collection_of(tmp_path / "of", voxels, label_map=label_map, affine=AFFINE + shift * np.eye(4, k=3))
    message = rf"one_seg\.nii\.gz: .*\n.*have to lie in 0 to 255, {re.escape(told)}$"
    with pytest.raises(DatasetError, match=message):
        write(collection, tmp_path / "raw", host)
    assert not [path for path in (tmp_path / "raw").rglob("*") if path.is_file()]


def test_labels_of_any_value_that_become_others(tmp_path):
    voxels = labels([-1, 1, 2, 300, 255], np.int16)
    collection = collection_of(tmp_path / "of", voxels, label_map={-1: 0, 1: 2, 2: 1, 300: 3, 900: 4})
    target = write(collection, tmp_path / "raw", V2)
    assert np.array_equal(load(target / "labelsTr" / "one.nii.gz"), labels([0, 2, 1, 3, 255]))


def test_labels_with_a_gap_are_refused_for_v1(tmp_path):
    names = {"background": 0, "a": 2, "b": 5}
    collection = collection_of(tmp_path / "of", labels([2, 5]), label_map={}, names=names)
    message = "v1 needs labels from 0 on without a gap, given: 0 background, 2 a, 5 b"
    with pytest.raises(DatasetError, match=message):
        write(collection, tmp_path / "raw", V1)
    assert not list((tmp_path / "raw").rglob("*"))
