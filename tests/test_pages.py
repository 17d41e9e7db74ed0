"""What the pages at the root say: their links lead somewhere, and the worked examples work."""

import math
import re
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

from hws_nnunet import HardnessWeightedSampler, Settings
from hws_nnunet.core import columns, updates
from hws_nnunet.core.safeguards import StallLimit
from hws_nnunet.report import describe
from hws_nnunet.report.stats import statistics
from tests.datasets.trees import image, labels, save

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "CONTRIBUTING.md")
pytestmark = pytest.mark.skipif(not (ROOT / PAGES[1]).is_file(), reason="the pages are in a checkout alone")


def blocks(heading):
    """Return the blocks of Python below a heading."""
    section = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


def run(code, heading, **names):
    """Run a block of Python, and return its names."""
    assert len(code.splitlines()) <= 40
    exec(compile(code, f"CONTRIBUTING.md: {heading}", "exec"), names)
    return names


def example(heading):
    """Run the only block of Python below a heading, and return its names."""
    (code,) = blocks(heading)
    return run(code, heading)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)", (ROOT / page).read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (ROOT / link).exists()]
    assert not missing


def test_examples_are_put_into_their_page():
    text = (ROOT / "docs" / "howto" / "anyloop.md").read_text(encoding="utf-8")
    files = re.findall(r'^--8<-- "(.+)"$', text, re.MULTILINE)  # what a formatter of Python breaks
    assert len(files) == text.count("8<") == 3
    assert all((ROOT / file).is_file() for file in files)


def test_the_seeds_that_are_needed_stand_in_their_table(monkeypatch, capsys):
    """The page's own lines, run on the results that the repository keeps."""
    pytest.importorskip("statsmodels", reason="statsmodels is not installed")
    text = (ROOT / "docs" / "howto" / "compare.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    rows = re.findall(r"^\|.*\| (\S+) \| (\S+) \| (\d+) \|$", text, re.MULTILINE)
    monkeypatch.chdir(ROOT)
    exec(compile(code, "compare.md", "exec"), {})
    printed = [line.split(": ")[1].split(", ") for line in capsys.readouterr().out.splitlines()]
    assert printed == [list(row) for row in rows]
    assert len(rows) == 6


def test_the_safeguard_that_is_added(monkeypatch):
    heading = "Add a safeguard"
    file, row, setting, test = blocks(heading)
    safeguard = run(file, heading, __name__="uniform_cases")["UniformCases"]
    safeguards = run(row, heading, StallLimit=StallLimit, UniformCases=safeguard)["SAFEGUARDS"]
    monkeypatch.setattr(updates, "SAFEGUARDS", safeguards)
    extended = run("class Extended(Settings):\n" + textwrap.indent(setting, "    "), heading, Settings=Settings)[
        "Extended"
    ]
    names = {"HardnessWeightedSampler": HardnessWeightedSampler, "Settings": extended, "pytest": pytest}
    run(test, heading, **names)["test_held_cases_are_drawn_uniformly"]()
    sampler = HardnessWeightedSampler("ab", extended(uniform_cases=["b"]))
    sampler.update([0, 1], [0.1, 0.2])
    assert [(held.title, held.cases) for held in sampler.held] == [("Uniform", (1,))]


def test_the_column_that_is_added(monkeypatch):
    (row,) = blocks("Add a column")
    column = eval(row, {"Column": columns.Column, "math": math})
    monkeypatch.setattr(columns, "COLUMNS", (*columns.COLUMNS, column))
    assert column.since == columns.current_format() == 7, "the next format"
    sampler, other = HardnessWeightedSampler("ab"), HardnessWeightedSampler("ba")
    sampler.table.entropy[:] = [0.1, 0.2]
    other.load_state_dict(sampler.state_dict())
    assert other.table.entropy.tolist() == [0.2, 0.1]


def test_the_statistic_that_is_added(monkeypatch):
    (row,) = blocks("Add a statistic")
    monkeypatch.setattr(statistics, "STATISTICS", {**statistics.STATISTICS, **eval(f"{{{row}}}", {"np": np})})
    assert describe(np.array([0.2, 0.9, math.nan, 0.7, 0.8]))["failing"] == 0.25
    assert describe(np.array([3.0, 12.0]), higher_is_better=False)["failing"] == 0.5
    assert math.isnan(describe(np.array([math.nan]))["failing"])


def test_the_layout_that_is_added(tmp_path):
    names = example("Add a data set's layout")
    for case in "ab":
        save(image(), tmp_path / "images" / f"{case}.nii.gz")
    save(labels([0, 1]), tmp_path / "labels" / "a.nii.gz")
    with pytest.raises(ValueError, match=r"b\.nii\.gz has no label"):
        names["read_pairs"](tmp_path)
    save(labels([0, 1]), tmp_path / "labels" / "b.nii.gz")
    assert [case.name for case in names["read_pairs"](tmp_path).cases] == ["a", "b"]


def test_the_host_that_is_added(tmp_path, monkeypatch):
    monkeypatch.setattr("hws_nnunet.hosts.record_writer.RecordWriter._plot", lambda *_: None)
    names = example("Add a host")
    said = []
    data = torch.randn(5, 1, 4, 4), torch.randint(3, (5, 1, 4, 4)), list("abcde"), ["liver", "tumour"]
    options = {"epochs": 2, "steps": 6, "folder": tmp_path, "log": said.append}

    def loss(output, target):
        return torch.nn.functional.cross_entropy(output, target[:, 0].long())

    state = names["train"](torch.nn.Conv2d(1, 3, 1), loss, *data, Settings(), **options)
    assert np.asarray(state["visits"]).sum() == 2 * 6 * 2
    assert sum("Hardest cases" in line for line in said) == 2
    assert (tmp_path / "hardness.csv").is_file()
    state = names["train"](torch.nn.Conv2d(1, 3, 1), loss, *data, Settings(), saved=state, **options)
    assert np.asarray(state["visits"]).sum() == 2 * 2 * 6 * 2
    state = names["train"](torch.nn.Conv2d(1, 3, 1), loss, *data, Settings(beta=0.0), **options)
    rng, visits = np.random.default_rng(0), np.zeros(5, dtype=int)
    for _ in range(12):
        visits[rng.choice(5, 2, replace=False)] += 1
    assert np.asarray(state["visits"]).tolist() == visits.tolist(), "the loop's own draws"
