"""Whatever comes: settings and the tables that are read back, beside slow twins."""

import csv
import math
import tempfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("hypothesis", reason="hypothesis is not installed")
import yaml
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as some

from hws_nnunet import Settings, parse_settings, read_settings
from hws_nnunet.config import SettingsError, SettingsWarning
from hws_nnunet.datasets.case_table import CaseTableError, read_column
from hws_nnunet.record.structures import STRUCTURES_FILE, read_hardest_structures, write_structures
from hws_nnunet.record.tables import write_table

FEW = settings(max_examples=50, deadline=None, derandomize=True, phases=[Phase.generate])
VALUES = some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=5) | some.just([1])
NAMES = some.sampled_from(list(Settings.model_fields)) | some.text(max_size=8)
pytestmark = pytest.mark.filterwarnings(f"ignore::{SettingsWarning.__module__}.{SettingsWarning.__name__}")


def may_be(name, value):
    """Whether a setting may have a value: a slow twin of the model, written from docs/method.md."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if name in ("ess", "uniform_fraction"):
        return number and 0 <= value <= 1
    if name in ("beta", "structure_beta"):
        return number and 0 <= value <= 1e6
    if name == "smoothing":
        return number and 0 <= value < 1
    if name == "cap":
        return value is None or (number and value >= 1)
    if name == "group_pooling":
        return value is None or (number and 0 <= value <= 1)
    if name == "draw_by":
        return value in ("dice_ce", "dice_present")
    if name in ("case_weights", "groups"):
        return value is None or isinstance(value, str)
    return isinstance(value, str if name == "group_column" else bool)


@FEW
@given(given_values=some.dictionaries(NAMES, VALUES, max_size=5))
def test_settings_are_right_or_every_fault_is_told(given_values):
    wrong = [n for n, v in given_values.items() if n not in Settings.model_fields or not may_be(n, v)]
    combined = {**{name: field.default for name, field in Settings.model_fields.items()}, **given_values}
    against = not wrong and combined["cap"] == 1 and combined["ess"] == 0 and combined["beta"] > 0
    if not wrong and not against:
        made = parse_settings(given_values, "here")
        assert {name: getattr(made, name) for name in given_values} == given_values
        assert parse_settings(made.model_dump(), "here") == made
        return
    with pytest.raises(SettingsError, match="settings from here") as caught:
        parse_settings(given_values, "here")
    for name in wrong:
        assert any(name in fault or repr(name) in fault for fault in caught.value.problems)


@FEW
@given(ess=some.floats(0, 1), beta=some.floats(1e-3, 1e6), pooling=some.none() | some.floats(0, 1))
def test_settings_come_back_from_a_file(ess, beta, pooling):
    made = Settings(ess=ess, beta=beta, group_pooling=pooling, cap=2.0)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "settings.yaml")
        file.write_text(yaml.safe_dump(made.model_dump()))
        assert read_settings(file) == made


CELL = some.text(some.characters(exclude_categories=["Cs"], exclude_characters="\x00\r"), max_size=6)


def slow_column(rows, column):
    """A table's column by case, of a table that may be used; None where a case comes twice."""
    found = {}
    for row in rows:
        if row[0].strip() in found:
            return None
        found[row[0].strip()] = row[column].strip()
    return found


@FEW
@given(rows=some.lists(some.tuples(CELL, CELL, CELL), max_size=6), bom=some.booleans())
def test_a_column_is_read_as_it_was_written(rows, bom):
    assume(all(any(row) for row in rows))  # a line of nothing is none
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "cases.csv")
        with open(file, "w", newline="", encoding="utf-8-sig" if bom else "utf-8") as opened:
            writer = csv.writer(opened, quoting=csv.QUOTE_ALL)
            writer.writerows([("case", "x", "y"), *rows])
        expected = slow_column(rows, 2)
        if expected is None:
            with pytest.raises(CaseTableError, match="is there twice"):
                read_column(file, "y")
        else:
            assert read_column(file, "y") == expected


@FEW
@given(
    names=some.lists(CELL, min_size=1, max_size=5, unique=True),
    structures=some.lists(CELL.filter(bool), min_size=1, max_size=4, unique=True),
    data=some.data(),
)
def test_hardest_structures_are_read_as_they_were_written(names, structures, data):
    values = np.array([[data.draw(some.floats(0, 1) | some.just(math.nan)) for _ in structures] for _ in names])
    with tempfile.TemporaryDirectory() as folder:
        write_structures(Path(folder), names, values.mean(axis=1), structures, values)
        found = read_hardest_structures(Path(folder))
        assert sorted(path.name for path in Path(folder).iterdir()) == [STRUCTURES_FILE]
    expected = {}
    for name, row in zip(names, values.tolist(), strict=True):
        known = [value for value in row if not math.isnan(value)]
        if known:
            expected[name] = (structures[row.index(max(known))], pytest.approx(max(known), rel=1e-5, abs=1e-300))
    assert {name: tuple(hardest) for name, hardest in found.items()} == expected


@FEW
@given(rows=some.lists(some.tuples(CELL, CELL), max_size=6))
def test_tables_come_back_cell_by_cell(rows):
    with tempfile.TemporaryDirectory() as folder:
        write_table(Path(folder, "a.csv"), ("one", "two"), rows)
        with open(Path(folder, "a.csv"), newline="", encoding="utf-8") as file:
            assert [tuple(row) for row in csv.reader(file)] == [("one", "two"), *rows]
