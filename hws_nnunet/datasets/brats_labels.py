"""Label schemes of the BraTS challenges, their regions, and which scheme a set of cases follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from hws_nnunet.messages import number, some_of

OLD = "2018 to 2021"
"""Stands where the name of a case has no kind of tumour: all of these are gliomas."""


@dataclass(frozen=True)
class Scheme:
    """What the values of a segmentation mean, and what is written of them.

    ``label_map`` leads from the source's values to consecutive ones, as nnU-Net wants them; ``labels`` names the
    latter. ``regions`` overlap; ``region_order`` has the label that each writes into a prediction, and holds every
    label, so that a model of regions predicts all of them.
    """

    title: str
    label_map: dict[int, int]
    labels: dict[str, int]
    regions: dict[str, tuple[int, ...]]
    region_order: tuple[int, ...]

    def describe(self) -> list[str]:
        """Return lines for people: each label's value in the source, its name, and its value as written."""
        return [f"{old} {name} -> {self.label_map[old]}" for old, name in self.names().items()]

    def names(self) -> dict[int, str]:
        """Return the label's name for each value of the source, the background's left out."""
        names = {value: name for name, value in self.labels.items()}
        return {old: names[new] for old, new in self.label_map.items() if new}


_GLIOMA = {"background": 0, "necrotic_core": 1, "edema": 2, "enhancing_tumor": 3}
_REGIONS = {"whole_tumor": (1, 2, 3), "tumor_core": (1, 3), "enhancing_tumor": (3,)}

SCHEMES = {
    "2018": Scheme("2018 to 2021", {0: 0, 1: 1, 2: 2, 4: 3}, _GLIOMA, _REGIONS, (2, 1, 3)),
    "2023": Scheme("2023", {0: 0, 1: 1, 2: 2, 3: 3}, _GLIOMA, _REGIONS, (2, 1, 3)),
    "2024": Scheme(
        "2024 and 2025, with resection cavity",
        {0: 0, 1: 1, 2: 2, 3: 3, 4: 4},
        {**_GLIOMA, "resection_cavity": 4},
        {**_REGIONS, "resection_cavity": (4,)},
        (2, 1, 3, 4),
    ),
    "ped2024": Scheme(
        "children, 2024 and 2025",
        {0: 0, 1: 1, 2: 2, 3: 3, 4: 4},
        {"background": 0, "enhancing_tumor": 1, "nonenhancing_tumor": 2, "cystic_component": 3, "edema": 4},
        {
            "whole_tumor": (1, 2, 3, 4),
            "tumor_core": (1, 2, 3),
            "enhancing_tumor": (1,),
            "cystic_component": (3,),
        },
        (4, 2, 1, 3),
    ),
}
BY_KIND = {
    OLD: ("2018",),
    "GLI": ("2023", "2024"),
    "MET": ("2023", "2024"),
    "MEN": ("2023",),
    "SSA": ("2023",),
    "PED": ("2023", "ped2024"),
}


EDEMA_LARGEST = (OLD, "GLI", "SSA", "MET")
"""Kinds of tumour of whose volume edema is usually the largest part."""
_MOST = 0.6  # of the volume, for any other part of these


def scheme_of(meaning: Mapping[int, str]) -> Scheme:
    """Return the scheme that has just these labels, with other values in the source.

    Args:
        meaning: for each value of the source but 0, its label's name, or ``background``.

    Raises:
        ValueError: no scheme has these labels.
    """
    names = set(meaning.values()) - {"background"}
    for scheme in SCHEMES.values():
        if names == set(scheme.labels) - {"background"}:
            label_map = {0: 0, **{value: scheme.labels[name] for value, name in sorted(meaning.items())}}
            return replace(scheme, title="with the values told", label_map=label_map)
    sets = {tuple(name for name in scheme.labels if name != "background") for scheme in SCHEMES.values()}
    expected = "; or ".join(", ".join(names) for names in sorted(sets, key=len))
    raise ValueError(f"--labels has to name all labels of one scheme: {expected}; given: {', '.join(sorted(names))}")


def choose_schemes(
    values: Mapping[str, frozenset[int]],
    kinds: Mapping[str, str],
    *,
    scheme: str | None = None,
    told: Scheme | None = None,
    merge: bool = False,
) -> tuple[dict[str, Scheme], list[str]]:
    """Return the scheme of each kind of tumour, all with the same labels and regions, or why there is none.

    Args:
        values: for each case, those that its segmentation holds.
        kinds: for each case, its kind of tumour: a key of :data:`BY_KIND`.
        scheme: a key of :data:`SCHEMES` that settles it, or None to go by the values.
        told: all segmentations follow this one.
        merge: cases of 2018 to 2021 and of later years may be taken together.
    """
    problems: list[str] = []
    chosen: dict[str, Scheme] = {}
    for kind in sorted(set(kinds.values())):
        here = {case: held for case, held in values.items() if kinds[case] == kind}
        allowed = [told] if told else [SCHEMES[name] for name in BY_KIND[kind] if scheme in (None, name)]
        held = frozenset().union(*here.values())
        fitting = [one for one in allowed if held <= set(one.label_map)]
        if not allowed:
            fits = " or ".join(BY_KIND[kind])
            problems.append(f"--scheme {scheme} does not fit the {_cases_of(kind)}, which follow {fits}")
        elif not fitting:
            problems += _misfit(kind, here, allowed)
        elif kind == "PED" and len(fitting) > 1:
            problems.append(
                "PED: the values 0 to 3 fit two schemes, and 1 and 3 mean different things in them: say --scheme 2023 "
                "(1 necrotic core, 2 edema, 3 enhancing) or --scheme ped2024 (1 enhancing, 2 non-enhancing, 3 cystic)"
            )
        else:
            chosen[kind] = fitting[0]
    largest = max(chosen.values(), key=lambda one: len(one.labels), default=None)
    titles = "; ".join(sorted({one.title for one in chosen.values()}))
    if largest and any(not one.labels.items() <= largest.labels.items() for one in chosen.values()):
        problems.append(f"the labels of these cases differ, so prepare each alone: {titles}")
    elif OLD in chosen and len(chosen) > 1 and not merge and not told:
        problems.append(
            f"the values of these cases differ: {titles}. --merge writes them with the same labels and regions"
        )
    if problems or largest is None:
        return {}, problems
    # What is written is the largest scheme's: it holds the labels of the others.
    return {kind: replace(largest, title=one.title, label_map=one.label_map) for kind, one in chosen.items()}, []


def _cases_of(kind: str) -> str:
    return f"cases of {OLD}" if kind == OLD else f"BraTS-{kind} cases"


def odd_volumes(kind: str, scheme: Scheme, shares: Mapping[int, float]) -> str:
    """Return a warning where another part than edema makes up most of a kind's tumours, with the likely meaning.

    Args:
        kind: of tumour, a key of :data:`BY_KIND`.
        scheme: that its segmentations are taken to follow.
        shares: of the labelled volume, by value in the source.
    """
    names = scheme.names()
    by_volume = sorted(names, key=lambda value: -shares.get(value, 0))
    largest = by_volume[0]
    usual = ("edema", "enhancing_tumor", "necrotic_core", "resection_cavity")  # by volume, largest first
    parts = usual[: len(names)]
    if kind not in EDEMA_LARGEST or shares.get(largest, 0) <= _MOST or {*names.values()} != {*parts}:
        return ""
    if names[largest] not in ("enhancing_tumor", "necrotic_core"):
        return ""
    option = ",".join(f"{value}={part}" for value, part in sorted(zip(by_volume, parts, strict=True)))
    return (
        f"{_cases_of(kind)}: {shares[largest]:.0%} of the labelled volume has the value {largest}, which means "
        f"{names[largest]} ({scheme.title}), but the largest part of such tumours is usually edema. Look at a case in "
        f"a viewer. If the values mean what their volumes suggest, give --labels {option}"
    )


def old_values(values: Mapping[str, frozenset[int]]) -> str:
    """Return a note on the few cases that hold a resection cavity and lack enhancing tumour, as old values would look.

    Up to 2021 enhancing tumour was 4, and no value was 3: one such case makes a set of 2023 look like one of 2024.

    Args:
        values: for each case, those that its segmentation holds, by the scheme of 2024.
    """
    with_4 = [case for case, held in values.items() if 4 in held]
    odd = sorted(case for case in with_4 if 3 not in values[case])
    rare = 2 * len(with_4) < len(values) and any(3 in held for held in values.values())
    if not odd or not rare:
        return ""
    return (
        f"label value 4 is in {len(with_4)} of {len(values)} cases only, and without 3 in {some_of(odd)}: "
        "a resection cavity, as is taken here, or enhancing tumor by the values of 2018 to 2021? --scheme 2024 says "
        "the former; --labels tells what other values mean"
    )


def _misfit(kind: str, values: Mapping[str, frozenset[int]], allowed: list[Scheme]) -> list[str]:
    """Return one problem for each set of values that no scheme has, with the cases that hold it."""
    sets: dict[tuple[int, ...], list[str]] = {}
    for case, held in values.items():
        if not any(held <= set(scheme.label_map) for scheme in allowed):
            sets.setdefault(tuple(sorted(held)), []).append(case)
    expected = " or ".join(f"{sorted(scheme.label_map)} ({scheme.title})" for scheme in allowed)
    return [
        f"{_cases_of(kind)}: label values {list(held)} in {number(len(cases), 'case')}, as in {', '.join(cases[:3])}; "
        f"expected {expected}; what other values mean, --labels tells: as in 1=necrotic_core,2=edema,3=enhancing_tumor"
        for held, cases in sets.items()
    ]
