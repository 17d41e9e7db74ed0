from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from hws_nnunet.datasets import Case, Collection
from hws_nnunet.datasets.cases import with_unknown_groups
from hws_nnunet.datasets.folds import folds_of, held_out_folds, not_five, subject_folds, too_few


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
            "4 cases for training, but nnU-Net makes five folds, which fails below five",
        ),
        ([*(case(name) for name in "abcd"), case("e", test=True)], "4 cases for training"),
        ([case("a")], "1 case for training"),
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


def test_one_scan_a_subject_spread_by_subgroup_on_request():
    cases = [case(f"c{i:02d}") for i in range(20)] + [case(f"r{i}", group="rare") for i in range(5)]
    collection = Collection(Path(), tuple(cases), ("image",), {"background": 0})
    assert folds_of(collection) == []
    folds = folds_of(replace(collection, spread=True))
    assert [Counter(name[0] for name in fold["val"]) for fold in folds] == [{"c": 4, "r": 1}] * 5
    assert all(sorted(fold["train"] + fold["val"]) == sorted(c.name for c in cases) for fold in folds)


def test_a_whole_group_is_held_out():
    cases = (case("a", "one", "x"), case("b", "one", "x"), case("c", "two", "y"), case("d", "", "z"))
    collection = Collection(Path(), (*cases, case("t", "", "w", test=True)), ("image",), {"background": 0})
    assert folds_of(replace(collection, hold_out="subgroup")) == [
        {"train": ["c", "d"], "val": ["a", "b"]},
        {"train": ["a", "b", "d"], "val": ["c"]},
        {"train": ["a", "b", "c"], "val": ["d"]},
    ]


@pytest.mark.parametrize(
    ("cases", "column", "told"),
    [
        ([case("a"), case("b")], "site", r"expects a column of subgroups.csv \(subgroup\), given: 'site'"),
        ([case("a"), case("b", group="")], "subgroup", "1 case without subgroup: b"),
        ([case("a", "one"), case("b", "one", "x")], "subgroup", "scans of subject one differ in it: common, x"),
        ([case("a"), case("b")], "subgroup", "all cases have the same one, common"),
    ],
)
def test_groups_that_cannot_be_held_out(cases, column, told):
    with pytest.raises(ValueError, match=told):
        held_out_folds(cases, column)


@pytest.mark.parametrize(
    ("sites", "told"),
    [("abc", "a fold above 2 nnU-Net makes a random split"), ("abcde", ""), ("abcdef", "-f 0 1 2 3 4 5")],
)
def test_more_or_fewer_groups_than_five_are_told(sites, told):
    note = not_five(held_out_folds([case(site, group=site) for site in sites], "subgroup"), "subgroup")
    assert told in note
    assert bool(note) == bool(told)


def test_two_kinds_of_folds_at_once_are_refused():
    collection = Collection(Path(), (case("a"), case("b")), ("image",), {}, spread=True, hold_out="subgroup")
    with pytest.raises(ValueError, match="--spread and --hold-out both"):
        folds_of(collection)


def test_what_is_not_known_is_no_fold():
    with pytest.raises(ValueError, match=r"2 cases without subgroup: c, d"):
        held_out_folds(
            [case("a"), case("b", group="rare"), case("c", group="unknown"), case("d", group="n/a")], "subgroup"
        )


def test_cases_without_a_group_beside_others():
    groups = [case(name, group=group) for name, group in zip("abc", ("all", "HGG", "all"), strict=True)]
    assert [one.subgroup["subgroup"] for one in with_unknown_groups(groups)] == ["unknown", "HGG", "unknown"]
    assert [one.subgroup["subgroup"] for one in with_unknown_groups([case("a", group="all")])] == ["all"]
