from collections import Counter
from pathlib import Path

from hws_nnunet.datasets import Case
from hws_nnunet.datasets.folds import subject_folds


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
