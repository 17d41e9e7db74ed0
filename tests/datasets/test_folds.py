from collections import Counter
from pathlib import Path

import pytest

from hws_nnunet.datasets import Case
from hws_nnunet.datasets.folds import subject_folds, too_few


def case(name, subject="", group="common", test=False):
    return Case(name, (Path("i"),), Path("l"), {"subgroup": group}, test, subject)


def test_every_subgroup_is_spread_and_sizes_are_alike():
    cases = [case(f"c{s:02d}_{i}", f"c{s:02d}") for s in range(12) for i in range(1 + s % 3)]
    cases += [case(f"r{s}_{i}", f"r{s}", "rare") for s in range(5) for i in range(2)]
    folds = subject_folds(cases)
    assert [Counter(name[0] for name in fold["val"])["r"] for fold in folds] == [2] * 5
    sizes = [len(fold["val"]) for fold in folds]
    assert max(sizes) - min(sizes) <= 2
    assert folds == subject_folds(list(reversed(cases)))


def test_where_nnunet_s_own_folds_do_as_well_there_are_none():
    assert subject_folds([case("a"), case("b"), case("c", "subject")]) == []
    assert subject_folds([case("a", "one"), case("b", "one")]) == []
    assert subject_folds([case("a", "one"), case("b", "one", test=True), case("c", "two")]) == []


def test_as_many_folds_as_subjects_where_they_are_few():
    folds = subject_folds([case("a", "one"), case("b", "one"), case("c", "two")])
    assert sorted((fold["train"], fold["val"]) for fold in folds) == [(["a", "b"], ["c"]), (["c"], ["a", "b"])]


@pytest.mark.parametrize(
    ("cases", "told"),
    [
        ([case(name) for name in "abcde"], ""),
        (
            [case(name) for name in "abcd"],
            "4 case(s) for training, but nnU-Net makes five folds, which fails below five",
        ),
        ([*(case(name) for name in "abcd"), case("e", test=True)], "4 case(s) for training"),
        ([case("a")], "1 case(s) for training"),
        ([case(name, "one") for name in "abcdef"], "all 6 scans are of one subject"),
        (
            [case("a", "one"), case("b", "one"), case("c", "two")],
            "2 subjects for training, so the splits file has folds 0 to 1",
        ),
    ],
)
def test_fewer_subjects_than_folds_are_told(cases, told):
    found = too_few(cases, subject_folds(cases))
    assert found.startswith(told)
    assert bool(found) == bool(told)
