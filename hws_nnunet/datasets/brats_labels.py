"""Label schemes of the BraTS challenges, their regions, and which scheme a set of cases follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hws_nnunet.messages import some_of

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
        names = {value: name for name, value in self.labels.items()}
        return [f"{old} {names[new]} -> {new}" for old, new in self.label_map.items() if new]


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


def choose_scheme(
    values: Mapping[str, frozenset[int]], kinds: Mapping[str, str], given: str | None
) -> tuple[Scheme | None, list[str]]:
    """Return the scheme that all cases follow, or None and why there is none.

    Args:
        values: for each case, those that its segmentation holds.
        kinds: for each case, its kind of tumour: a key of :data:`BY_KIND`.
        given: a key of :data:`SCHEMES` that settles it, or None to go by the values.
    """
    problems, found = [], set()
    for kind in sorted(set(kinds.values())):
        here = {case: held for case, held in values.items() if kinds[case] == kind}
        allowed = [name for name in BY_KIND[kind] if given in (None, name)]
        if not allowed:
            problems.append(f"{kind}: --scheme {given} is none of its schemes: {', '.join(BY_KIND[kind])}")
            continue
        held = frozenset().union(*here.values())
        fitting = [name for name in allowed if held <= set(SCHEMES[name].label_map)]
        if not fitting:
            problems += _misfit(kind, here, allowed)
        elif kind == "PED" and len(fitting) > 1:
            problems.append(
                "PED: the values 0 to 3 fit two schemes, and 1 and 3 mean different things in them: say --scheme 2023 "
                "(1 necrotic core, 2 edema, 3 enhancing) or --scheme ped2024 (1 enhancing, 2 non-enhancing, 3 cystic)"
            )
        else:
            found.add(fitting[0])
    if found == {"2023", "2024"}:  # the one holds the other
        found = {"2024"}
    if len(found) > 1:
        problems.append(
            f"the cases follow {len(found)} schemes: prepare each alone: "
            + "; ".join(SCHEMES[name].title for name in sorted(found))
        )
    return (None, problems) if problems else (SCHEMES[found.pop()], [])


def old_values(values: Mapping[str, frozenset[int]], chosen: Scheme) -> str:
    """Return a note on the few cases that hold a resection cavity and lack enhancing tumour, as old values would look.

    Up to 2021 enhancing tumour was 4, and no value was 3: one such case makes a set of 2023 look like one of 2024.

    Args:
        values: for each case, those that its segmentation holds.
        chosen: the scheme that they were found to follow.
    """
    with_4 = [case for case, held in values.items() if 4 in held]
    odd = sorted(case for case in with_4 if 3 not in values[case])
    rare = 2 * len(with_4) < len(values) and any(3 in held for held in values.values())
    if chosen is not SCHEMES["2024"] or not odd or not rare:
        return ""
    return (
        f"label value 4 is in {len(with_4)} of {len(values)} cases only, and without 3 in {some_of(odd)}: "
        "a resection cavity, as is taken here, or enhancing tumor by the values of 2018 to 2021? --scheme 2024 says "
        "the former; those of other years have to be prepared alone"
    )


def _misfit(kind: str, values: Mapping[str, frozenset[int]], allowed: list[str]) -> list[str]:
    """Return one problem for each set of values that no scheme has, with the cases that hold it."""
    known = {name: set(SCHEMES[name].label_map) for name in allowed}
    sets: dict[tuple[int, ...], list[str]] = {}
    for case, held in values.items():
        if not any(held <= scheme for scheme in known.values()):
            sets.setdefault(tuple(sorted(held)), []).append(case)
    expected = " or ".join(f"{sorted(scheme)} ({SCHEMES[name].title})" for name, scheme in known.items())
    return [
        f"{kind}: label values {list(held)} in {len(cases)} case(s), as in {', '.join(cases[:3])}; expected {expected}"
        for held, cases in sets.items()
    ]
