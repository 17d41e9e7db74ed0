import sys
import time
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
import torch
from torch import nn

from hws_nnunet import Settings
from hws_nnunet.core import DrawnCases
from hws_nnunet.hosts import record_writer, weighting
from hws_nnunet.hosts.recorder import LossRecorder
from hws_nnunet.record import figures
from hws_nnunet.record.measures import MEASURES, by_measure
from tests.hosts.dice import dice_by_structure
from tests.hosts.test_recorder import Standard


@pytest.fixture
def made(monkeypatch):
    """A weighting of three cases whose figures take a second each, by a clock that tests set."""
    clock = [0.0]
    monkeypatch.setattr(weighting.time, "monotonic", lambda: clock[0])
    found = weighting.Weighting(["a", "b", "c"], Settings(), print)
    found.drawn = []

    def plot(record, probabilities, visits, path, groups, beside):
        found.drawn.append(clock[0])
        clock[0] += 1.0
        path.touch()

    monkeypatch.setattr(figures, "plot_record", plot)
    found.clock = clock
    return found


def test_the_figure_takes_at_most_a_thousandth_of_the_time(made, tmp_path):
    for _ in range(100):
        made.write_record(tmp_path, last=False)
        made.clock[0] += 250.0
    assert made.drawn[0] == 0.0
    assert len(made.drawn) == pytest.approx(made.clock[0] / 1001, abs=1)
    made.drawn.clear()
    made.write_record(tmp_path, last=True)
    assert len(made.drawn) == 1
    tables = ["hardness.csv", "hardness.png", "hardness_epochs.csv", "hardness_history.csv"]
    assert sorted(path.name for path in tmp_path.iterdir()) == tables


def test_measures_are_what_draws_can_go_by():
    assert set(get_args(Settings.model_fields["draw_by"].annotation)) == set(MEASURES)


@pytest.mark.parametrize("draw_by", MEASURES)
@pytest.mark.parametrize("standard", [True, False])
def test_both_measures_are_tracked_whatever_draws_go_by(draw_by, standard):
    host = Standard() if standard else nn.CrossEntropyLoss()
    made = weighting.Weighting(["a", "b", "c"], Settings(draw_by=draw_by), print, structures=["x", "y"])
    recorder = LossRecorder(host, alone=draw_by == "dice_ce")
    torch.manual_seed(0)
    output, target = torch.randn(2, 3, 5, 5, requires_grad=True), torch.randint(3, (2, 1, 5, 5))
    given = (output, target if standard else target[:, 0])
    for _ in range(2):  # in the first step, sums are compared with the host's loss
        recorder(*given)
        made.after_step(recorder, DrawnCases(np.array([2, 0]), 0))
    with torch.no_grad():
        alone = [host(*(part[i : i + 1] for part in given)).item() for i in range(2)]
    present = np.nanmean(dice_by_structure(output, target), axis=1)
    tracked = {"dice_present": present, "dice_ce": alone if standard or draw_by == "dice_ce" else [np.nan] * 2}
    found = by_measure(made.sampler.table)
    assert found[draw_by] == pytest.approx(made.sampler.table.hardness, nan_ok=True)
    for name, values in tracked.items():
        assert found[name][[2, 0]] == pytest.approx(values, abs=1e-6, nan_ok=True)
        assert np.isnan(found[name][1])


def test_a_record_that_cannot_be_written_is_a_warning(made, monkeypatch, tmp_path, capsys):
    def fail(*args, **kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr(made.record, "write", fail)
    made.write_record(tmp_path, last=False)
    assert "WARNING: the record was not written: OSError: no space left" in capsys.readouterr().out


def test_a_case_listed_twice_counts_once(capsys):
    found = weighting.Weighting(["a", "b", "a"], Settings(), print)
    assert found.sampler.table.names == ("a", "b")
    assert "lists 1 case more than once" in capsys.readouterr().out


def test_neutral_settings_use_up_no_random_number():
    for settings, same in ((Settings(beta=0.0), True), (Settings(), False)):
        np.random.seed(0)
        expected = np.random.random()
        np.random.seed(0)
        weighting.Weighting(["a", "b"], settings, print)
        assert (np.random.random() == expected) == same


def test_what_tables_tell_reaches_sampler_log_and_record(tmp_path, capsys):
    weights, groups = tmp_path / "weights.csv", tmp_path / "subgroups.csv"
    weights.write_text("case,weight\na,1\nb,2\nheld out,9\nc,3\n")
    groups.write_text("case,scanner,subgroup\na,old,x\nb,new,x\nc,new,x\n")
    settings = Settings(case_weights=str(weights), groups=str(groups), group_column="scanner", group_pooling=1.0)
    made = weighting.Weighting(["c", "a", "b"], settings, print)
    assert made.sampler.prior == pytest.approx([1.5, 0.5, 1.0])
    assert [made.sampler.groups.names[i] for i in made.sampler.groups.index] == ["new", "old", "new"]
    told = capsys.readouterr().out
    assert f"Case weights from {weights}: 0.50 to 1.50 times their mean" in told
    assert f"Groups by the column scanner of {groups}: new 2, old 1" in told
    for loss in (0.2, 0.3, 0.25) * 20:
        made.sampler.update([0, 1, 2], [loss, 2 * loss, loss])
    made.end_epoch(0)
    assert "Groups (hardness pooled by 1.00): old 0.5" in capsys.readouterr().out
    made.write_record(tmp_path, last=True)
    assert (tmp_path / "hardness.png").stat().st_size > 10_000
    rows = (tmp_path / "hardness_groups.csv").read_text().splitlines()
    assert rows[0] == "group,cases,hardness,probability,drawn"
    assert [row.split(",")[:2] for row in rows[1:]] == [["old", "1"], ["new", "2"]]
    assert [row.rsplit(",", 1)[1] for row in (tmp_path / "hardness.csv").read_text().splitlines()][:2] == [
        "group",
        "old",
    ]


def test_weights_alone_are_told_as_such(tmp_path, capsys):
    (tmp_path / "weights.csv").write_text("case,weight\na,1\nb,3\n")
    made = weighting.Weighting(["a", "b"], Settings(beta=0.0, case_weights=str(tmp_path / "weights.csv")), print)
    made.sampler.update([0, 1], [0.1, 0.2])
    made.end_epoch(0)
    assert "Sampling: draws go by case weights alone" in capsys.readouterr().out
    assert made.sampler.probabilities() == pytest.approx([0.25, 0.75])


def test_nobody_asks_the_time_of_day(made, monkeypatch, tmp_path):
    """It jumps, on clusters too."""
    monkeypatch.setattr(time, "time", lambda: pytest.fail("the clock was asked"))
    made.sampler.update([0, 1, 2], [0.1, 0.2, 0.3])
    made.end_epoch(0)
    made.write_record(tmp_path, last=True)
    made.load_state_dict(made.state_dict())


def test_what_changed_since_a_checkpoint_is_told(capsys):
    before = weighting.Weighting(["a", "b"], Settings(), print, made_by={"nnU-Net": "2.6.0", "fold": "0"})
    before.sampler.update([0, 1], [0.1, 0.2])
    state = before.state_dict()
    before.load_state_dict(state)
    assert "Changed since" not in capsys.readouterr().out
    now = weighting.Weighting(
        ["a", "b"], Settings(ess=0.3), print, made_by={"nnU-Net": "2.8.1", "patch": "8", "fold": "0"}
    )
    now.load_state_dict(state)
    told = capsys.readouterr().out
    assert "Changed since the checkpoint was saved: ess: 0.8 -> 0.3, nnU-Net: 2.6.0 -> 2.8.1\n" in told
    assert "goes on after 1 steps" in told
    del state["made_by"]  # as older checkpoints are
    now.load_state_dict(state)
    assert "was saved: ess: 0.8 -> 0.3\n" in capsys.readouterr().out


def test_an_epoch_that_goes_on_from_a_state_counts_its_own_visits(made):
    made.sampler.update([0, 1, 2], [0.1, 0.2, 0.3])
    again = weighting.Weighting(["a", "b", "c"], Settings(), print)
    again.load_state_dict(made.state_dict())
    again.sampler.update([1], [0.2])
    assert again.end_epoch(4).visited == 1


def test_values_reach_tensorboard_if_asked(monkeypatch, tmp_path):
    seen = []

    class Writer:
        def __init__(self, folder, purge_step):
            seen.append((folder, purge_step))

        def add_scalar(self, name, value, epoch):
            seen.append((name, value, epoch))

        def flush(self):
            seen.append("flushed")

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer))
    monkeypatch.setattr(record_writer.RecordWriter, "_plot", lambda *_: None)
    made = weighting.Weighting(["a", "b"], Settings(tensorboard=True), print)
    made.sampler.update([0, 1], [0.25, 0.75])
    for epoch in (4, 5):
        made.end_epoch(epoch)
        made.write_record(tmp_path, last=False)
    assert seen[0] == (str(tmp_path / "tensorboard"), 4), "later values of a training that was resumed are hidden"
    assert ("hardness/largest", 0.75, 4) in seen
    assert ("hardness/largest", 0.75, 5) in seen
    assert seen[-1] == "flushed"


def test_tensorboard_that_is_not_there_ends_the_training_before_it_starts(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match=r"setting tensorboard: .*; pip install tensorboard"):
        weighting.Weighting(["a", "b"], Settings(tensorboard=True), print)
