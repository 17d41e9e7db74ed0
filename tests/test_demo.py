import numpy as np
import pytest

from hws_nnunet import demo


def test_an_earlier_demonstration_stays_unless_asked(tmp_path):
    demo._make_room(tmp_path / "out", overwrite=False)
    (tmp_path / "out" / "dice.md").write_text("mine")
    with pytest.raises(demo.DemoError, match=r"holds nnUNet_raw, .*dice\.md of an earlier demonstration; --overwrite"):
        demo._make_room(tmp_path / "out", overwrite=False)
    assert (tmp_path / "out" / "dice.md").exists()
    demo._make_room(tmp_path / "out", overwrite=True)
    assert not (tmp_path / "out" / "dice.md").exists()


def test_a_folder_of_somebody_elses_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(demo.DemoError, match=r"is not empty \(it holds thesis\.tex\)"):
            demo._make_room(tmp_path, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_overwriting_keeps_what_is_not_of_the_demonstration(tmp_path):
    demo._make_room(tmp_path / "out", overwrite=False)
    (tmp_path / "out" / "notes.txt").write_text("mine")
    demo._make_room(tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


def test_data_cut_off_leaves_no_data_set(tmp_path, monkeypatch):
    (tmp_path / "nnUNet_raw").mkdir()

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("shutil.copyfile", interrupt)
    with pytest.raises(KeyboardInterrupt):
        demo._make_data(tmp_path / "nnUNet_raw", 0)
    assert not list((tmp_path / "nnUNet_raw").iterdir())
    assert [path.name for path in tmp_path.iterdir()] == ["nnUNet_raw"]


def test_mean_dice():
    reference = np.array([0, 1, 1, 2, 2])
    assert demo._mean_dice(reference, reference) == 1
    assert demo._mean_dice(np.array([0, 1, 1, 0, 0]), reference) == 0.5
    assert demo._mean_dice(np.array([3, 1, 0, 2, 2]), reference) == pytest.approx((2 / 3 + 1) / 2)


def test_table():
    rows = [demo.GroupDice("uniform", "rare", 3, 0.5, 0.25, 0.125)]
    assert demo._table(rows).splitlines()[-1] == "| uniform | rare | 3 | 0.500 | 0.250 | 0.125 |"


def test_a_command_that_fails_says_what_it_said(tmp_path):
    import os
    import sys

    with pytest.raises(demo.DemoError, match=r"ended with 3; it said last:\nno luck"):
        demo._run([sys.executable, "-c", "print('no luck'); raise SystemExit(3)"], dict(os.environ))
    with pytest.raises(demo.DemoError, match="was not found: is nnU-Net v2 installed"):
        demo._run([tmp_path / "nothing"], dict(os.environ))
