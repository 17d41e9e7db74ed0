"""Cases, groups, structures and paths of any name, through our writers and readers; test_gallery and test_report have
pages' names.
"""

import csv
import re
from urllib.parse import unquote

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from hws_nnunet import HardnessWeightedSampler
from hws_nnunet.commands import main as cli
from hws_nnunet.datasets import read_fetal, write_raw
from hws_nnunet.datasets.case_table import read_column
from hws_nnunet.gallery import make_gallery
from hws_nnunet.record import figures
from hws_nnunet.record.cases import read_cases
from hws_nnunet.record.history import Record, summarise
from hws_nnunet.record.structure_figure import plot_structures
from hws_nnunet.record.structures import read_hardest_structures, write_structures
from tests.datasets.trees import atlas_case
from tests.test_gallery import Parsed, make_fold

NAMES = [
    "_under",
    r"$x_$ and $\frac$",
    "two words",
    'it\'s "quoted"',
    "Zoë_脳",
    "<b>&amp;<script>alert(1)<",
    "=cmd|' c'!A1",
    "semi;colon,comma",
    "100%#?&x",
    "true",
    "x" * 200,
]
run = CliRunner().invoke


@pytest.fixture(scope="module")
def trained():
    """A sampler over cases, structures and groups of all names, and its record of one epoch."""
    sampler = HardnessWeightedSampler(NAMES, structures=NAMES, groups=NAMES)
    count = len(NAMES)
    for i in range(count):
        sampler.update([i], [1 - i / count], structures=np.linspace(0, 1, count)[None])
    record = Record(NAMES)
    record.append(0, sampler, summarise(sampler, lags=[1], visits_before=np.zeros(count)), np.zeros(count))
    return sampler, record


def test_a_record_and_the_command_that_reads_it(trained, tmp_path):
    sampler, record = trained
    fold = tmp_path / NAMES[1] / NAMES[5] / "fold 0"
    fold.mkdir(parents=True)
    record.write(fold, sampler)
    write_structures(fold, NAMES, sampler.table.hardness, NAMES, sampler.table.structure_hardness)
    cases = read_cases(fold)
    assert [case["case"] for case in cases] == NAMES
    assert [case["group"] for case in cases] == NAMES
    found = read_hardest_structures(fold)
    assert list(found) == NAMES
    assert {hardest.structure for hardest in found.values()} == {NAMES[-1]}
    shown = run(cli.app, ["hardness", str(fold)]).output.splitlines()
    assert [line[: len(name)] for line, name in zip(shown[1:], NAMES, strict=False)] == NAMES


@pytest.mark.filterwarnings("ignore:Glyph")  # the fonts of this machine decide
def test_figures(trained, tmp_path, monkeypatch):
    sampler, record = trained
    kept = []

    def keep(self, path, **_):
        kept.append(self)
        path.touch()

    with monkeypatch.context() as patched:
        patched.setattr(figures.Figure, "savefig", keep)
        p, visits = sampler.probabilities(), sampler.table.visits
        figures.plot_record(record, p, visits, tmp_path / "unused", groups=sampler.groups)
        plot_structures(NAMES, sampler.table.hardness, NAMES, sampler.table.structure_hardness, tmp_path / "unused")
    labels = [text.get_text() for text in kept[0].axes[0].get_legend().get_texts()]
    assert labels == [" _under", NAMES[1].replace("$", r"\$"), *NAMES[2:5]]
    for figure in kept:
        figure.set_layout_engine("none")  # for speed
        figure.savefig(tmp_path / "a.png", dpi=20)  # fails where a name is read as mathematics


def test_a_data_set(tmp_path):
    source, raw = tmp_path / "the <source>", tmp_path / "nnU Net's raw"
    raw.mkdir()
    for name in NAMES:
        atlas_case(source, name)
    target = write_raw(read_fetal(source), raw, dataset_id=1, name="Names", link=True)
    images = {path.name.removesuffix("_0000.nii.gz") for path in (target / "imagesTr").iterdir()}
    assert images == set(NAMES) == set(read_column(target / "subgroups.csv", "subgroup"))


def test_weights(tmp_path):
    table, out = tmp_path / "sub groups.csv", tmp_path / "it's #1: <weights>.csv"
    with open(table, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("case", "subgroup"), *((name, NAMES[i % 4]) for i, name in enumerate(NAMES))])
    done = run(cli.app, ["weights", "--balance", str(table), "--out", str(out)])
    assert done.exit_code == 0, done.exception
    assert list(read_column(out, "weight")) == NAMES
    (line,) = re.findall(r"in a settings file beside it: '(.*)'$", done.output, flags=re.MULTILINE)
    assert yaml.safe_load(line) == {"case_weights": out.name}


def test_a_long_name_in_a_gallery(tmp_path):
    fold, raw = make_fold(tmp_path, names=NAMES[-1:], hardness=(0.5,))
    page = make_gallery(fold, raw, top=1)
    parsed = Parsed(page)
    assert NAMES[-1] in parsed.text
    (picture,) = page.parent.glob("*.png")
    assert picture.name in map(unquote, parsed.links)
