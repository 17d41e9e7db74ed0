import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from hws_nnunet import demo, registration
from hws_nnunet.demo import chains, commands, scores

FOLDERS = chains.ChainV2.folders


def test_an_earlier_demonstration_stays_unless_asked(tmp_path):
    demo._make_room(tmp_path / "out", FOLDERS, overwrite=False)
    (tmp_path / "out" / "dice.md").write_text("mine")
    with pytest.raises(demo.DemoError, match=r"holds nnUNet_.*, .*dice\.md of an earlier demonstration; --overwrite"):
        demo._make_room(tmp_path / "out", FOLDERS, overwrite=False)
    assert (tmp_path / "out" / "dice.md").exists()
    demo._make_room(tmp_path / "out", FOLDERS, overwrite=True)
    assert not (tmp_path / "out" / "dice.md").exists()


@pytest.mark.parametrize("name", ["thesis.tex", "nnUNet_raw"])
def test_a_folder_of_somebody_elses_is_left_alone(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "mine").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(demo.DemoError, match=f"holds {name}, which no demonstration has made"):
            demo._make_room(tmp_path, FOLDERS, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name / "mine").exists()


def test_overwriting_keeps_what_is_not_of_the_demonstration(tmp_path):
    demo._make_room(tmp_path / "out", FOLDERS, overwrite=False)
    (tmp_path / "out" / "notes.txt").write_text("mine")
    demo._make_room(tmp_path / "out", FOLDERS, overwrite=True)
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


@pytest.mark.slow
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_data_cut_off_leaves_no_data_set(tmp_path, monkeypatch, version):
    monkeypatch.setattr(registration, "needs_registering", lambda: True)
    chain = chains.CHAINS[version](tmp_path, "cpu")
    (tmp_path / chain.folders[0]).mkdir()

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("hws_nnunet.processes._cores", lambda: 1)  # others are new processes, which know no such patch
    monkeypatch.setattr("shutil.copyfile", interrupt)
    with pytest.raises(KeyboardInterrupt):
        demo._make_data(chain, 0)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.name for path in tmp_path.iterdir()] == [chain.folders[0]]


def test_what_people_repeat_is_what_ran(tmp_path, monkeypatch):
    monkeypatch.setattr(registration, "needs_registering", lambda: True)
    monkeypatch.setenv("HWS_CONFIG", "mine.yaml")
    for chain in (chains.ChainV1(tmp_path, "cpu"), chains.ChainV2(tmp_path, "cpu")):
        exported = dict(line.split("=", 1) for line in chain.exports)
        assert set(chain.folders) < set(exported)
        assert all(chain.env[name] == value.strip("'") for name, value in exported.items())
        assert "HWS_CONFIG" not in chain.env
    with pytest.raises(ValueError, match="nnU-Net v1 trains on cpu or cuda, given: mps"):
        chains.ChainV1(tmp_path, "mps")


def test_a_device_that_is_not_there_is_told_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(demo.DemoError, match=r"PyTorch finds no cuda device here: .* -device cpu"):
        demo.run_demo(tmp_path / "out", device="cuda")
    assert not (tmp_path / "out").exists()


def test_mean_dice():
    reference = np.array([0, 1, 1, 2, 2])
    assert scores._mean_dice(reference, reference) == 1
    assert scores._mean_dice(np.array([0, 1, 1, 0, 0]), reference) == 0.5
    assert scores._mean_dice(np.array([3, 1, 0, 2, 2]), reference) == pytest.approx((2 / 3 + 1) / 2)


def test_table():
    rows = [scores.GroupDice("uniform", "rare", 3, 0.5, 0.25, 0.125)]
    assert scores.table(rows).splitlines()[-1] == "| uniform | rare | 3 | 0.500 | 0.250 | 0.125 |"


def test_a_command_that_fails_says_what_it_said(tmp_path):
    with pytest.raises(demo.DemoError, match=r"ended with 3; it said last:\nno luck"):
        commands.run([sys.executable, "-c", "print('no luck'); raise SystemExit(3)"], dict(os.environ))
    with pytest.raises(demo.DemoError, match="was not found: is nnU-Net installed"):
        commands.run([tmp_path / "nothing"], dict(os.environ))


def test_progress_bars_show_their_end_only_where_there_is_no_terminal(capsys):
    bars = "".join(f"work: {p}%|#####| {p}/100 [00:01<00:00, 9it/s]\\r" for p in (1, 50, 100))
    commands.run([sys.executable, "-c", f"print('hello'); print('{bars}')"], dict(os.environ))
    shown = capsys.readouterr().out.splitlines()[1:]
    assert shown == ["  hello", "  work: 100%|#####| 100/100 [00:01<00:00, 9it/s]"]


needs_groups = pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
WORKER = "import subprocess, time; print(subprocess.Popen(['sleep', '600']).pid, flush=True); "


@pytest.mark.slow
@needs_groups
@pytest.mark.parametrize("ending", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_an_interrupt_ends_the_command_and_its_workers(ending):
    """A subcommand with a worker that would outlive it."""
    code = (
        "import os, signal, sys; from hws_nnunet.commands import main as cli; from hws_nnunet.demo import commands\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have had it ignored\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
        "@cli.app.command()\n"
        "def wait():\n"
        f"    commands.run([sys.executable, '-c', {WORKER + 'time.sleep(600)'!r}], dict(os.environ))\n"
        "sys.argv = ['hws-nnunet', 'wait']\n"
        "cli.main()"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    process.stdout.readline()  # the command
    pid = int(process.stdout.readline())
    try:
        assert alive(pid)
        process.send_signal(getattr(signal, ending))
        assert process.wait(timeout=60) == 130
        assert ends(pid)
    finally:
        process.kill()
        if alive(pid):
            os.kill(pid, signal.SIGKILL)


@needs_groups
def test_a_command_that_dies_without_its_workers_ends_all_the_same(capsys):
    die = WORKER + "import os; os.kill(os.getpid(), 9)"
    with pytest.raises(demo.DemoError, match="ended with -9"):
        commands.run([sys.executable, "-c", die], dict(os.environ))
    assert ends(int(capsys.readouterr().out.splitlines()[-1]))


def ends(pid):
    for _ in range(50):
        if not alive(pid):
            return True
        time.sleep(0.1)
    return False


def alive(pid):
    """Whether a process runs; one that has ended and that nobody has asked for does not."""
    try:
        state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("needs ps")
    return state.stdout.strip()[:1] not in ("", "Z")
