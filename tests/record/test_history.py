import csv
import dataclasses
import math
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from hws_nnunet import HardnessWeightedSampler, Settings
from hws_nnunet.commands import main
from hws_nnunet.core.groups import Groups
from hws_nnunet.record import figures
from hws_nnunet.record.figures import plot_record
from hws_nnunet.record.history import Record, summarise
from hws_nnunet.record.snapshot import FORMER_NAMES
from hws_nnunet.record.structures import write_structures

run = CliRunner().invoke


def trained(n, epochs, *, names=None, settings=None, steps=None, measure="loss"):
    """A sampler and its record after some epochs of made-up losses."""
    rng = np.random.default_rng(0)
    names = names or [f"case{i:03d}" for i in range(n)]
    sampler = HardnessWeightedSampler(names, settings, rng=rng, measure=measure)
    losses = rng.normal(0.5, 0.1, n)
    record = Record(sampler.table.names)
    for epoch in range(epochs):
        add_epoch(record, sampler, losses, rng, epoch, steps or n)
    return sampler, record, losses, rng


def add_epoch(record, sampler, losses, rng, epoch, steps):
    before = sampler.table.visits.copy()
    for _ in range(steps):
        drawn = sampler.draw_cases(1, rng)
        values = losses[drawn.ids] - 0.01 * epoch
        sampler.update(drawn.ids, values, other_losses=3 * values, version=drawn.version)
    record.append(epoch, sampler, summarise(sampler, lags=[1, 2, 6], visits_before=before), before)


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_tables_say_what_the_sampler_did(tmp_path):
    sampler, record, _, _ = trained(12, 3)
    record.write(tmp_path, sampler)
    cases = rows(tmp_path / "hardness.csv")
    assert [float(c["hardness"]) for c in cases] == sorted((float(c["hardness"]) for c in cases), reverse=True)
    ids = [sampler.table.names.index(c["case"]) for c in cases]
    assert [float(c["probability"]) for c in cases] == pytest.approx(sampler.probabilities()[ids], rel=1e-4)
    assert [int(c["visits"]) for c in cases] == sampler.table.visits[ids].tolist()
    visits = sampler.table.visits[ids]
    assert [float(c["drawn"]) for c in cases] == pytest.approx(visits * 12 / visits.sum(), rel=1e-4)
    for case, i in zip(cases, ids, strict=True):
        assert int(case["last_epoch_seen"]) == record.last_seen[i]
    epochs = rows(tmp_path / "hardness_epochs.csv")
    assert [int(e["epoch"]) for e in epochs] == [0, 1, 2]
    assert float(epochs[-1]["effective_sample_size"]) == pytest.approx(sampler.effective_sample_size(), rel=1e-4)
    assert float(epochs[-1]["median_lag"]) == 2
    assert float(epochs[-1]["largest_lag"]) == 6
    assert float(epochs[-1]["largest"]) == pytest.approx(sampler.table.hardness.max(), rel=1e-4)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "hardness.csv",
        "hardness_epochs.csv",
        "hardness_history.csv",
    ]


@pytest.mark.parametrize(("n", "epochs"), [(1, 1), (10, 1), (10, 20), (41, 2), (1000, 3)])
def test_figure_for_any_number_of_cases(tmp_path, n, epochs):
    sampler, record, _, _ = trained(n, epochs, steps=max(3, n // 2))
    plot_record(record, sampler.probabilities(), sampler.table.visits, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "a.png").stat().st_size > 20_000


def test_figure_is_the_same_whatever_the_host_did_to_the_style(tmp_path):
    import matplotlib

    sampler, record, _, _ = trained(10, 2)
    plot_record(record, sampler.probabilities(), sampler.table.visits, tmp_path / "a.png")
    with matplotlib.rc_context({"font.size": 40, "axes.labelsize": 40, "axes.facecolor": "red"}):
        plot_record(record, sampler.probabilities(), sampler.table.visits, tmp_path / "b.png")
        assert matplotlib.rcParams["font.size"] == 40, "the host's style stays the host's"
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_the_figure_shows_the_bound_and_reliability(monkeypatch):
    sampler, record, _, _ = trained(12, 3)
    kept = []
    monkeypatch.setattr(figures.Figure, "savefig", lambda self, *_, **__: kept.append(self))
    record.summaries = [
        dataclasses.replace(s, smallest_effective_sample_size=3.0, reliability=0.75) for s in record.summaries
    ]
    plot_record(record, sampler.probabilities(), sampler.table.visits, "unused")
    record.summaries = [
        dataclasses.replace(s, smallest_effective_sample_size=np.nan, reliability=np.nan) for s in record.summaries
    ]
    plot_record(record, sampler.probabilities(), sampler.table.visits, "unused")
    new, older = ({line.get_label(): line.get_ydata() for line in figure.axes[2].lines} for figure in kept)
    assert list(new) == ["effective sample size", "bound in force on it", "reliability"]
    assert new["bound in force on it"][-1] == 0.25
    assert new["reliability"][-1] == 0.75
    assert list(older) == ["effective sample size"]


@pytest.mark.parametrize("lower", [0.0, 0.6])
def test_bars_begin_at_zero_and_legends_hide_no_line(monkeypatch, lower):
    sampler, record, _, _ = trained(12, 3)
    record.hardness = [np.asarray(row) - lower for row in record.hardness]  # losses can be negative
    kept = []
    monkeypatch.setattr(figures.Figure, "savefig", lambda self, *_, **__: kept.append(self))
    plot_record(record, sampler.probabilities(), sampler.table.visits, "unused", groups=Groups(["a", "b"] * 6, None))
    (figure,) = kept
    figure.draw_without_rendering()
    over_epochs, now, groups, spread, seen, *_ = figure.axes
    for bar, hardness in zip(now.patches, sorted(record.hardness[-1], reverse=True), strict=True):
        assert bar.get_x() == 0
        assert bar.get_width() == pytest.approx(hardness)
    for axes in (over_epochs, groups, spread):
        assert axes.get_legend().get_window_extent().y1 < axes.get_window_extent().y0
    assert seen.get_ylim()[0] == 0
    assert seen.get_ylim()[1] > 1.05 * sampler.table.visits.max()


def test_nothing_known_yet(tmp_path):
    sampler, record, _, _ = trained(3, 0)
    sampler.update([0], [float("nan")])
    record.append(0, sampler, summarise(sampler, lags=[], visits_before=np.zeros(3)), np.zeros(3))
    record.write(tmp_path, sampler)
    assert [case["hardness"] for case in rows(tmp_path / "hardness.csv")] == ["", "", ""]
    assert rows(tmp_path / "hardness_epochs.csv")[0]["mean"] == ""
    assert record.summaries[0].values()["hardness/seen"] == 1
    assert "hardness/mean" not in record.summaries[0].values()


def test_a_resumed_record_goes_on_as_if_nothing_had_happened(tmp_path):
    sampler, record, losses, rng = trained(6, 2)
    torch.save(record.state_dict(), tmp_path / "record.pth")
    for epoch in (2, 3):  # what is lost when the training is killed after its checkpoint
        add_epoch(record, sampler, losses, rng, epoch, 6)
    resumed = Record(sampler.table.names)
    resumed.load_state_dict(torch.load(tmp_path / "record.pth", weights_only=True))
    assert resumed.epochs == [0, 1], "cut to the checkpoint's epoch"
    for one, other in zip(resumed.summaries, record.summaries[:2], strict=True):
        unknown = dict.fromkeys(("seconds", "mean_dice_present", "mean_dice_ce"), 0.0)
        same = {"hardest": (), **unknown}  # which is not saved
        assert dataclasses.replace(one, **same) == dataclasses.replace(other, **same)
    assert np.array_equal(resumed.hardness, record.hardness[:2])
    add_epoch(resumed, sampler, losses, rng, 2, 6)
    resumed.write(tmp_path, sampler)
    assert [int(e["epoch"]) for e in rows(tmp_path / "hardness_epochs.csv")] == [0, 1, 2]


def test_a_record_of_an_earlier_version_knows_no_reliability(tmp_path):
    sampler, record, _, _ = trained(6, 2)
    state = record.state_dict()
    later = ("reliability", "smallest_effective_sample_size", "mean_dice_present", "mean_dice_ce")
    kept = [i for i, name in enumerate(state["columns"]) if name not in later]
    former = {name: formerly for formerly, name in FORMER_NAMES.items()}
    names = [former.get(state["columns"][i], state["columns"][i]) for i in kept]
    assert {"ess", "beta"} < set(names)
    state |= {"columns": names, "rows": state["rows"][:, kept]}
    older = Record(sampler.table.names)
    older.load_state_dict(state)
    assert older.summaries[1].effective_sample_size == record.summaries[1].effective_sample_size
    assert np.isnan([older.summaries[1].reliability, older.summaries[1].smallest_effective_sample_size]).all()
    older.write(tmp_path, sampler)
    assert [row["reliability"] for row in rows(tmp_path / "hardness_epochs.csv")] == ["", ""]
    plot_record(older, sampler.probabilities(), sampler.table.visits, tmp_path / "a.png")
    assert (tmp_path / "a.png").exists()


def test_a_resumed_record_matches_cases_by_name():
    _, record, _, _ = trained(3, 2, names=["a", "b", "c"])
    other = Record(["c", "new", "a"])
    other.load_state_dict(record.state_dict())
    assert other.hardness[1][[0, 2]].tolist() == record.hardness[1][[2, 0]].tolist()
    assert np.isnan(other.hardness[1][1])
    assert other.last_seen.tolist() == [record.last_seen[2], -1, record.last_seen[0]]


def test_stalled_cases_are_named(tmp_path):
    sampler, record, losses, rng = trained(12, 1, settings=Settings(smoothing=0.0))
    losses[:] = np.linspace(0.3, 0.4, 12)
    losses[7] = 0.9
    add_epoch(record, sampler, losses, rng, 0, 400)
    assert record.summaries[0].stalled == ()
    assert record.summaries[1].stalled == ("case007",)
    assert record.summaries[1].lines()[-1].startswith("Stalled: case007: far harder than the others")
    record.write(tmp_path, sampler)
    cases = rows(tmp_path / "hardness.csv")
    assert [case["case"] for case in cases if case["stalled"] == "1"] == ["case007"]
    printed = run(main.app, ["hardness", str(tmp_path), "--top", "3"]).output.splitlines()
    assert printed[1].endswith("stalled")
    assert printed[1].startswith("case007")
    assert "is the label right?" in printed[-1]


def test_neutral_draws_are_reported_as_uniform(tmp_path):
    sampler, record, _, _ = trained(4, 1, settings=Settings(beta=0.0))
    assert record.summaries[0].lines()[0] == "Sampling: draws are uniform"
    record.write(tmp_path, sampler)
    assert {case["probability"] for case in rows(tmp_path / "hardness.csv")} == {"0.25"}


def test_log_lines():
    _, record, _, _ = trained(12, 6)
    first, second, third = record.summaries[-1].lines()
    assert first.startswith("Sampling: ESS 9.")
    assert " of 12 cases (at least 9." in first
    assert re.search(r", reliability (0\.9\d|1\.00)\)", first)
    assert first.endswith(" (limit 100)")
    unknown = dataclasses.replace(
        record.summaries[0],
        effective_sample_size=6.0,
        smallest_effective_sample_size=5.84,
        reliability=float("nan"),
        beta_in_force=68.61,
    )
    assert unknown.lines()[0] == "Sampling: ESS 6.0 of 12 cases (at least 5.8), beta 68.6 (limit 100)"
    known = dataclasses.replace(unknown, reliability=0.931)
    assert "(at least 5.8, reliability 0.93), beta 68.6" in known.lines()[0]
    visited = record.summaries[-1].visited
    assert f"12 of 12 cases seen, {visited} in this epoch; lag 2 (median), 6 (largest) steps" in second
    assert third.count("case") == 5 + 1
    _, record, _, _ = trained(12, 1, steps=5)
    assert record.summaries[0].lines()[0] == "Sampling: warm-up pass, draws are not weighted yet"


class Made(SimpleNamespace):
    def __len__(self):
        return len(self.names)


def made_up_sampler(names, hardness, structures, values):
    """What a summary reads of a sampler."""
    table = Made(
        names=tuple(names),
        measure="dice_present",
        other_loss=np.array([math.nan, 1.25, math.nan]),
        hardness=np.array(hardness, dtype=float),
        weighted=True,
        beta_in_force=10.0,
        visits=np.ones(len(names), dtype=int),
        structures=tuple(structures),
        structure_hardness=np.array(values, dtype=float),
    )
    return SimpleNamespace(
        table=table,
        settings=Settings(),
        stalled=(),
        held=(),
        effective_sample_size=lambda: 2.5,
        reliability=0.75,
        smallest_effective_sample_size=2.0,
        weighs_cases=True,
        groups=None,
    )


def test_the_hardest_structure_stands_beside_its_case():
    nan = float("nan")
    sampler = made_up_sampler("abc", [0.2, 0.9, 0.5], ("x", "y"), [[nan, nan], [0.1, 0.71], [0.3, nan]])
    summary = summarise(sampler, lags=[1], visits_before=np.zeros(3))
    assert summary.hardest[0] == ("b", 0.9, "y", 0.71, "dice_ce", 1.25)
    assert summary.hardest[1][:4] == ("c", 0.5, "x", 0.3)
    assert summary.lines()[2] == "Hardest cases: b 0.9000 (dice_ce 1.25, y 0.71), c 0.5000 (x 0.30), a 0.2000"
    assert summary.lines()[0] == "Sampling: ESS 2.5 of 3 cases (at least 2.0, reliability 0.75), beta 10 (limit 100)"
    assert summary.values()["hardness/reliability"] == 0.75
    assert summary.values()["hardness/smallest_effective_sample_size"] == 2.0


@pytest.mark.parametrize(("measure", "other"), [("dice_present", "dice_ce"), ("dice_ce", "dice_present")])
def test_both_measures_are_told(measure, other, tmp_path, monkeypatch):
    sampler, record, _, _ = trained(5, 3, measure=measure)
    record.write(tmp_path, sampler)
    table = sampler.table
    for case in rows(tmp_path / "hardness.csv"):
        place = table.names.index(case["case"])
        assert case[measure] == case["hardness"] != ""
        assert float(case[other]) == pytest.approx(table.other_loss[place], rel=1e-5)
    last = rows(tmp_path / "hardness_epochs.csv")[-1]
    assert last[f"mean_{measure}"] == last["mean"] != ""
    assert float(last[f"mean_{other}"]) == pytest.approx(table.other_loss.mean(), rel=1e-5)
    assert record.summaries[-1].values()[f"hardness/mean_{other}"] == pytest.approx(table.other_loss.mean())
    hardest = int(np.argmax(table.hardness))
    expected = f"{table.hardness[hardest]:.4f} ({other} {table.other_loss[hardest]:.2f})"
    assert record.summaries[-1].lines()[2].startswith(f"Hardest cases: {table.names[hardest]} {expected}, ")
    head, first, *_ = run(main.app, ["hardness", str(tmp_path)]).output.splitlines()
    assert head.split()[:3] == ["case", "hardness", other]
    assert first.split()[2] == f"{table.other_loss[hardest]:.4f}"
    monkeypatch.setattr(figures.Figure, "savefig", lambda self, *_, **__: kept.append(self))
    kept = []
    plot_record(record, sampler.probabilities(), table.visits, "unused", beside={other: table.other_loss})
    told = [text.get_text() for text in kept[0].axes[1].texts]
    assert f"x, {other} {table.other_loss[hardest]:.2f}" in told[0]


def test_a_measure_that_is_not_tracked_is_left_empty(tmp_path):
    sampler, record, _, _ = trained(5, 1, measure="dice_present")
    sampler.table.other_loss[:] = math.nan
    record.write(tmp_path, sampler)
    assert {case["dice_ce"] for case in rows(tmp_path / "hardness.csv")} == {""}
    head = run(main.app, ["hardness", str(tmp_path)]).output.splitlines()[0]
    assert head.split()[:3] == ["case", "hardness", "chance"]


def test_the_command_prints_the_hardest(tmp_path):
    sampler, record, _, _ = trained(30, 2)
    record.write(tmp_path, sampler)
    names = [case["case"] for case in rows(tmp_path / "hardness.csv")]
    text = run(main.app, ["hardness", str(tmp_path), "--top", "3"]).output
    assert [line.split()[0] for line in text.splitlines()[1:4]] == names[:3]
    assert "3 of 30 cases" in text
    assert "hardest structure" not in text
    hard = np.full((30, 2), np.nan)
    hard[sampler.table.names.index(names[1])] = 0.25, 0.75
    write_structures(tmp_path, sampler.table.names, sampler.table.hardness[:], ("csf", "white matter"), hard)
    head, first, second = run(main.app, ["hardness", str(tmp_path), "--top", "3"]).output.splitlines()[:3]
    start = head.index("hardest structure")
    assert first[start:].split()[0] == "-"
    assert second[start:].startswith("white matter 0.75 ")
    drawn = sampler.table.visits[sampler.table.names.index(names[0])] * 30 / sampler.table.visits.sum()
    assert first[: head.index("drawn") + len("drawn")].endswith(f" {drawn:.1f}x")
    table = run(main.app, ["hardness", str(tmp_path), "--csv", "--top", "100"]).output
    assert table == (tmp_path / "hardness.csv").read_text()
    (tmp_path / "begun").mkdir()
    for place, said in (
        ("nothing", "{} is not a folder: expected a fold's folder of a HardnessWeightedTrainer"),
        ("hardness.csv", "{} is not a folder: expected a fold's folder"),
        ("begun", "no hardness.csv, which the first epoch writes, in {}: expected a fold's folder"),
    ):
        missing = run(main.app, ["hardness", str(tmp_path / place)]).exception
        assert isinstance(missing, FileNotFoundError)
        assert str(missing).startswith(said.format(tmp_path / place))
