import numpy as np
import pytest

from hws_nnunet import Settings
from hws_nnunet.record import figures
from hws_nnunet.training import weighting


@pytest.fixture
def made(monkeypatch):
    """A weighting of three cases whose figures take a second each, by a clock that tests set."""
    clock = [0.0]
    monkeypatch.setattr(weighting.time, "monotonic", lambda: clock[0])
    found = weighting.Weighting(["a", "b", "c"], Settings(), print)
    found.drawn = []

    def plot(record, probabilities, visits, path):
        found.drawn.append(clock[0])
        clock[0] += 1.0
        path.touch()

    monkeypatch.setattr(figures, "plot_record", plot)
    found.clock = clock
    return found


def test_the_figure_takes_at_most_a_hundredth_of_the_time(made, tmp_path):
    for _ in range(500):
        made.write_record(tmp_path, last=False)
        made.clock[0] += 5.0
    assert made.drawn[0] == 0.0
    assert len(made.drawn) == pytest.approx(made.clock[0] / 101, abs=1)
    made.drawn.clear()
    made.write_record(tmp_path, last=True)
    assert len(made.drawn) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hardness.csv", "hardness.png", "hardness_epochs.csv"]


def test_a_record_that_cannot_be_written_is_a_warning(made, monkeypatch, tmp_path, capsys):
    def fail(*args, **kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr(made.record, "write", fail)
    made.write_record(tmp_path, last=False)
    assert "WARNING: the record was not written: OSError: no space left" in capsys.readouterr().out


def test_a_case_listed_twice_counts_once(capsys):
    found = weighting.Weighting(["a", "b", "a"], Settings(), print)
    assert found.sampler.table.names == ("a", "b")
    assert "lists 1 case(s) more than once" in capsys.readouterr().out


def test_neutral_settings_use_up_no_random_number():
    for settings, same in ((Settings(beta=0.0), True), (Settings(), False)):
        np.random.seed(0)
        expected = np.random.random()
        np.random.seed(0)
        weighting.Weighting(["a", "b"], settings, print)
        assert (np.random.random() == expected) == same
