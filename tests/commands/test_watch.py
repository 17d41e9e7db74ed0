"""The live view: what it shows, at which width, and that it waits, and ends, as it should."""

import io
import json
import math
import os
import time

import pytest
from rich.console import Console

from hws_nnunet import Settings
from hws_nnunet.commands import watch
from hws_nnunet.commands.main import app
from hws_nnunet.hosts import weighting
from hws_nnunet.record.snapshot import read_record
from hws_nnunet.record.structures import write_structures
from tests.record.test_history import run


@pytest.fixture
def training(tmp_path, monkeypatch):
    """Return a function that trains an epoch of 100 s, in which case 1 of 4 stays hard, and writes the record."""
    clock = [0.0]
    monkeypatch.setattr(weighting.time, "monotonic", lambda: clock[0])
    made = weighting.Weighting([f"case-{i}" for i in range(4)], Settings(), print, structures=["csf", "grey matter"])

    def train(epoch, planned=10):
        made.start_epoch()
        for loss in (0.5, 0.4, 0.3):
            losses = [loss / (epoch + 1), 0.9, loss, loss]
            others = [10 * x for x in losses]
            made.sampler.update(range(4), losses, other_losses=others, structures=[[x, x / 2] for x in losses])
        made._lags.append(3)
        clock[0] += 100.0
        made.end_epoch(epoch, planned=planned)
        made.record.write(tmp_path, made.sampler)
        table = made.sampler.table
        write_structures(tmp_path, table.names, table.hardness, table.structures, table.structure_hardness)
        return tmp_path

    return train


def shown(folder, width, **options):
    out = io.StringIO()
    watch.watch_fold(folder, **{"top": 3, "every": 0.1, "once": True} | options, console=Console(file=out, width=width))
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_one_view(training, width):
    for epoch in range(3):
        folder = training(epoch)
    lines = shown(folder, width).splitlines()
    assert max(map(len, lines)) <= width
    assert "Epoch 3 of 10" in lines[1]
    assert "2 min an epoch, 12 min left" in lines[1]
    text = "\n".join(lines)
    for part in ("ESS ", "of 4 cases, at least ", "beta ", "limit 100", "reliability ", "lag "):
        assert part in text
    (head,) = [i for i, line in enumerate(lines) if line.startswith("hardest cases")]
    assert [line.split()[0] for line in lines[head + 1 : head + 4]] == ["case-1", *read_names(folder)[1:3]]
    first, second = lines[head + 1 : head + 3]
    assert "█" in first
    assert "0.9000" in first
    assert ("dice_ce" in lines[head]) == ("9.0000" in first) == (width == 120), "where there is room"
    assert "csf" in first
    assert "…" not in second


def read_names(folder):
    return [row["case"] for row in read_record(folder).cases]


def test_history_is_of_the_hardest_cases_and_of_epochs_evenly_spaced(training, monkeypatch):
    monkeypatch.setattr("hws_nnunet.record.history._MOST_CASES", 2)
    monkeypatch.setattr("hws_nnunet.record.history._MOST_EPOCHS", 3)
    for epoch in range(5):
        folder = training(epoch)
    head, first, *others = (folder / "hardness_history.csv").read_text().splitlines()
    assert head == "case,0,2,4"
    assert first == "case-1,0.9,0.9,0.9"
    assert len(others) == 1


def test_seconds_are_from_end_to_end(training):
    folder = training(0)
    training(1)
    assert [row["seconds"] for row in read_record(folder).epochs] == [100.0, 100.0]


def test_silence_is_told(training):
    folder = training(0)
    long_ago = time.time() - 7200
    os.utime(folder / "hardness_epochs.csv", (long_ago, long_ago))
    assert "no news for 2 h 0 min: has it ended?" in shown(folder, 80)


def test_a_training_that_is_over_is_shown_once(training):
    folder = training(0, planned=1)
    assert "all epochs have ended" in shown(folder, 80, once=False)


def test_stalled_cases_and_older_records(training):
    folder = training(0)
    for name in ("hardness_history.csv", "hardness_structures.csv"):
        (folder / name).unlink()
    table = folder / "hardness.csv"
    head, first, *rest = table.read_text().splitlines()
    table.write_text("\n".join([head, first[:-1] + "1", *rest]) + "\n")
    text = shown(folder, 80)
    assert "Stalled: case-1: no easier" in text
    assert "no hardness_history.csv: a record of an earlier version" in text
    assert "structure" not in text


def test_live_it_waits_follows_and_ends_with_the_training(training, tmp_path, monkeypatch):
    looks = [lambda: None, lambda: training(0, planned=2), lambda: training(1, planned=2)]
    monkeypatch.setattr(watch.time, "sleep", lambda _: looks.pop(0)())
    (tmp_path / "training_log_2026.txt").touch()
    out = io.StringIO()
    watch.watch_fold(
        tmp_path, top=3, every=1.0, once=False, console=Console(file=out, width=80, height=30, force_terminal=True)
    )
    assert not looks
    text = out.getvalue()
    assert text.index("A training has begun") < text.index("Epoch 1 of 2") < text.index("Epoch 2 of 2")
    assert "all epochs have ended" in text


def test_an_interrupt_ends_it_cleanly(training, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(watch.time, "sleep", interrupt)
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    watch.watch_fold(training(0), top=3, every=1.0, once=False, console=console)
    assert console.file.getvalue().endswith("\x1b[?25h"), "the cursor is back"


def test_low_terminals_show_fewer_cases(training):
    folder = training(0)
    out = io.StringIO()
    console = Console(file=out, width=80, height=watch._LINES)
    console.print(watch.view(folder, read_record(folder), console, top=4, fits=True))
    assert out.getvalue().count("case-") == 3


def test_what_is_missing_is_told(training, tmp_path):
    for folder, found in ((tmp_path / "none", "is not a folder"), (tmp_path, "holds no hardness_epochs.csv")):
        error = run(app, ["watch", str(folder)]).exception
        assert isinstance(error, FileNotFoundError)
        assert found in str(error)
        assert "expected a fold's folder of a HardnessWeightedTrainer" in str(error)
    (tmp_path / "training_log_2026.txt").touch()
    for once in ("--once", "--json"):
        assert "no epoch has ended" in str(run(app, ["watch", once, str(tmp_path)]).exception)
    training(0)
    (tmp_path / "hardness_epochs.csv.partial").write_text("epoch,ca")  # is being written
    assert run(app, ["watch", "--once", str(tmp_path)]).exit_code == 0
    (tmp_path / "hardness_epochs.csv").write_text("epoch,ess\n0,many\n")
    error = run(app, ["watch", str(tmp_path)]).exception
    assert "hardness_epochs.csv cannot be read: could not convert" in str(error)


def test_json(training):
    for epoch in range(3):
        folder = training(epoch)
    told = json.loads(run(app, ["watch", "--json", "--top", "2", str(folder)]).output)
    assert {key: told[key] for key in ("done", "planned", "over", "seconds", "cases")} == {
        **{"done": 3, "planned": 10, "over": False, "seconds": 100.0, "cases": 4}
    }
    assert told["now"]["epoch"] == 2
    assert told["written"] == (folder / "hardness_epochs.csv").stat().st_mtime
    hardest, next_one = told["hardest"]
    assert (hardest["case"], hardest["hardest_structure"], len(hardest["history"])) == ("case-1", "csf", 3)
    assert hardest["hardness"] > next_one["hardness"]


def test_sparklines():
    assert watch.sparkline([0.0, 0.5, 1.0, math.nan], 0.0, 1.0, width=9) == "▁▅█ "
    assert watch.sparkline(range(100), 0, 99, width=3) == "▁▅█"
    assert watch.sparkline([3.0, 3.0], 3.0, 3.0, width=9, blocks="_#") == "__"


@pytest.mark.parametrize(
    ("seconds", "told"), [(4.21, "4.2 s"), (89, "89 s"), (300, "5 min"), (7500, "2 h 5 min"), (300000, "3 d 11 h")]
)
def test_durations(seconds, told):
    assert watch.duration(seconds) == told
