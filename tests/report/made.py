"""Made-up results for the tests."""

import json

import numpy as np

from hws_nnunet.report import ResultSet

NAN = float("nan")


def result_set(dice, *, name="a", cases=None, labels=None, sizes=True, **more):
    """A set of ``(cases, labels)`` Dice values; sizes are what such values mean."""
    dice = np.asarray(dice, dtype=float)
    cases = cases or [f"case{i:03d}" for i in range(len(dice))]
    labels = labels or [str(j + 1) for j in range(dice.shape[1])]
    reference = np.where(np.isnan(dice), 0.0, 100.0)
    predicted = np.where(np.isnan(dice) | (dice == 0), 0.0, 90.0)
    if not sizes:
        reference, predicted = (np.full(dice.shape, NAN) for _ in range(2))
    return ResultSet(name, f"{name}.json", tuple(cases), tuple(labels), dice, reference, predicted, **more)


def v2_summary(path, dice, *, cases=None, labels=("1", "2"), change=None):
    """Write a summary.json as nnU-Net v2 does: ``dice`` is ``(cases, labels)``."""
    per_case = []
    for i, row in enumerate(dice):
        case = cases[i] if cases else f"case{i:03d}"
        metrics = {
            label: {"Dice": value, "n_ref": 0 if value != value else 10, "n_pred": 0 if not value > 0 else 10}
            for label, value in zip(labels, row, strict=True)
        }
        per_case.append({"metrics": metrics, "prediction_file": f"/p/{case}.nii.gz", "reference_file": "/r/x.nii.gz"})
    content = {"foreground_mean": {}, "mean": {}, "metric_per_case": per_case}
    if change:
        change(content)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def subgroups(path, group_of):
    """Write subgroups.csv as ``hws-nnunet prepare`` does."""
    lines = [f"{case},{group},30" for case, group in group_of.items()]
    path.write_text("\n".join(["case,subgroup,gestational_age", *lines]) + "\n", encoding="utf-8")
    return path


def published(path, *, cases=349, structures=8):
    """Write a long table as people publish them: other headings, three methods, percent, three conditions.

    Method B raises the mean, and loses most on the brainstem in the rarest condition, where it fails more cases.
    """
    rng = np.random.default_rng(0)
    names = [
        "White matter",
        "Ventricles",
        "Cerebellum",
        "Fluid",
        "Grey matter",
        "Deep grey matter",
        "Brainstem",
        "Callosum",
    ]
    conditions = ["Control"] * 5 + ["Spina Bifida"] * 3 + ["Other"] * 2
    means = {"Control": 88.0, "Spina Bifida": 74.0, "Other": 84.0}
    lines = ["Study,ROI,Methods,Condition,dice,hausdorff95"]
    for i in range(cases):
        condition = conditions[i % len(conditions)]
        base = means[condition] + rng.normal(0, 5)
        spoilt = 30.0 if i % 40 == 5 else 0.0
        for j, name in enumerate(names[:structures]):
            first = base - j + rng.normal(0, 4)
            for method, change in (("A", 0.0), ("B", 2.5), ("C", 1.0)):
                if method == "B" and (condition, name) == ("Spina Bifida", "Brainstem"):
                    change = -9.9
                value = np.clip(first + change - (spoilt if method == "B" else 0) + rng.normal(0, 2), 0, 100)
                lines.append(f"Case {i:03d},{name},{method},{condition},{value:.3f},{(100 - value) / 4:.2f}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
