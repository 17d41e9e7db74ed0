"""Several ranks through nnU-Net's own trainer, on a CPU, started by torchrun.

nnU-Net's trainer takes it that ranks train on GPUs: what ``trainers_on`` replaces for torchrun (its device, and the
devices that it names to DistributedDataParallel) makes these tests possible, too; nothing else of the host is replaced.
"""

import json
import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

pytest.importorskip("nnunetv2", reason="nnU-Net v2 is not installed")
from hws_nnunet.facts.versions import STATE
from tests.core.test_sampler import assert_same_state
from tests.workspaces import DEVICE, devices_of, first_difference

SCRIPT = Path(__file__).with_name("train_steps.py")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
TRAIN = ["-m", "hws_nnunet.nnunetv2.torchrun", 1, "3d_four", 0, "-tr", "ShortHardnessWeighted", "-device", DEVICE]
FORKS = ["--start-method", "fork", "--run-path"]  # ranks of torchrun that need not import all again
NEUTRAL = {"beta": 0, "structure_beta": 0}
LONG = pytest.mark.skipif(not os.environ.get("HWS_LONG_TESTS"), reason="takes minutes: HWS_LONG_TESTS=1 runs it")


def first_rank(agent):
    """Return the process of a rank, which torchrun's agent started."""
    return [int(Path(f"/proc/{agent}/task/{agent}/children").read_text().split()[0])]


@pytest.fixture(scope="module")
def steps(workspace):
    """Train five steps on two ranks: stock, neutral, weighted; and on four; return ``{name: results by rank}``."""
    jobs = {}
    for name, trainer, settings in (
        ("stock", "ShortStock", None),
        ("neutral", "ShortHardnessWeighted", NEUTRAL),
        ("weighted", "ShortHardnessWeighted", {}),
        ("dice_ce", "ShortHardnessWeighted", {"draw_by": "dice_ce"}),
        ("four ranks", "ShortHardnessWeighted", {}),
    ):
        config = None
        if settings is not None:
            config = str(workspace.root / f"ddp_{name}.yaml")
            Path(config).write_text(yaml.safe_dump(settings))
        out = str(workspace.root / f"ddp_{name}.pt")
        jobs[name] = {"trainer": trainer, "dataset": 1, "configuration": "3d_four", "steps": 5}
        jobs[name] |= {"config": config, "out": out}
    ranks = {name: 4 if name == "four ranks" else 2 for name in jobs}
    file = workspace.root / "ddp_jobs.json"
    for count in (2, 4):
        file.write_text(json.dumps([job for name, job in jobs.items() if ranks[name] == count]))
        workspace.run(*TORCHRUN, count, *FORKS, SCRIPT, file, nnUNet_n_proc_DA="0")
    return {
        name: [torch.load(f"{job['out']}.{rank}", weights_only=False) for rank in range(ranks[name])]
        for name, job in jobs.items()
    }


@pytest.mark.slow
def test_neutral_settings_equal_stock_ddp_bit_for_bit(steps):
    for stock, neutral in zip(steps["stock"], steps["neutral"], strict=True):
        assert first_difference(stock, neutral) is None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["neutral", "weighted", "dice_ce", "four ranks"])
def test_tables_and_networks_are_equal_over_ranks(steps, name):
    one, *others = steps[name]
    assert one["fault"] == ""
    assert one["state"]["version"] == 5
    assert one["state"]["visits"].sum() == 5 * 4
    for other in others:
        assert other["fault"] == ""
        states = [{key: value for key, value in rank["state"].items() if key != "order"} for rank in (one, other)]
        assert_same_state(*states)
        for key, weight in one["weights"].items():
            assert torch.equal(weight, other["weights"][key])


@pytest.mark.slow
def test_ranks_share_out_the_first_sweep(steps):
    drawn = [[step["keys"] for step in rank["batches"]] for rank in steps["weighted"]]
    cases = len(steps["weighted"][0]["state"]["names"])
    first = np.concatenate([np.ravel(step) for pair in zip(*drawn, strict=True) for step in pair])[:cases]
    assert len(set(first)) == cases


@LONG
@pytest.mark.parametrize(("ranks", "then"), [(2, 3)] if DEVICE == "cpu" else [(1, 1), (2, 1)])
def test_torchrun_trains_is_killed_goes_on_with_other_ranks_and_validates(workspace, ranks, then):
    if DEVICE != "cpu" and torch.cuda.device_count() < ranks:
        pytest.skip(f"needs {ranks} GPUs")
    fold = workspace.fold(1, "ShortHardnessWeighted", "3d_four")
    shutil.rmtree(fold, ignore_errors=True)
    # The first rank's own word, with the time before it, comes when it has saved; another rank may be ahead.
    log = workspace.kill_when(
        ": Epoch 1", [str(part) for part in (*TORCHRUN, ranks, *TRAIN)], which=first_rank, SHORT_EPOCHS="3"
    )
    assert f"worker {ranks - 1} batch_size {4 // ranks}" in log
    assert "Signal 9 (SIGKILL)" in log
    assert (fold / "checkpoint_latest.pth").exists()
    assert not (fold / "checkpoint_final.pth").exists()
    done = workspace.run(*TORCHRUN, then, *TRAIN, "--c", SHORT_EPOCHS="3").stdout
    assert "Hardness weighted sampling goes on after 10 steps" in done
    state = torch.load(fold / "checkpoint_final.pth", weights_only=False)[STATE]
    assert state["version"] == 30
    assert state["visits"].sum() == 30 * 4
    assert devices_of(fold / "checkpoint_final.pth", "optimizer_state") == {DEVICE}
    assert (fold / "validation" / "summary.json").exists()
    lines = (fold / "hardness_epochs.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["epoch", "0", "1", "2"]
    assert "WARNING" not in done
    workspace.run(*TORCHRUN, ranks, *TRAIN, "--val")


@LONG
def test_a_stock_trainer_trains_too(workspace):
    stock = [*TRAIN[:5], "-tr", "ShortStock", "-device", "cpu"]
    workspace.run(*TORCHRUN, 2, *stock, SHORT_EPOCHS="1", SHORT_STEPS="2")
    assert (workspace.fold(1, "ShortStock", "3d_four") / "checkpoint_final.pth").exists()


@pytest.mark.slow
def test_mistakes_are_told(workspace):
    module = TRAIN[:2]
    alone = workspace.run(sys.executable, *module, 1, "3d_four", 0, check=False)
    assert "not started by torchrun; expected: torchrun --nproc-per-node 4 -m" in alone.stdout
    gpus = workspace.run(sys.executable, *TRAIN, "-num_gpus", 2, check=False)
    assert gpus.returncode
    assert "-num_gpus given: torchrun says how many processes there are" in gpus.stdout
    assert "-pretrained_weights" in workspace.run(sys.executable, *module, "--help").stdout


@pytest.mark.parametrize("rank", [0, 1])
def test_fewer_samples_than_processes_are_told_once_before_the_training(monkeypatch, rank, capsys):
    """And before any process ends: torchrun would end the one that tells it."""
    from hws_nnunet.nnunetv2 import torchrun

    trainer = SimpleNamespace(configuration_manager=SimpleNamespace(batch_size=2), configuration_name="3d_fullres")
    monkeypatch.setattr(torchrun.run_training, "get_trainer_from_args", lambda: trainer)
    monkeypatch.setattr(torchrun.dist, "get_world_size", lambda: 4)
    monkeypatch.setattr(torchrun.dist, "get_rank", lambda: rank)
    said = []
    monkeypatch.setattr(torchrun.dist, "barrier", lambda: said.append(capsys.readouterr().err))
    with pytest.raises(SystemExit) as ended, torchrun.trainers_on(torch.device("cpu")):
        torchrun.run_training.get_trainer_from_args()
    assert ended.value.code == 1
    (told,) = said
    assert told.startswith("" if rank else "the plans of 3d_fullres have batches of 2, too few for 4 processes")
    assert ("start at most 2, train one fold on each GPU, or give the plans" in told) == (rank == 0)


@pytest.mark.parametrize(
    ("gpus", "message"), [(0, "PyTorch finds no GPU here"), (1, "process 1 of this machine has no GPU, there are 1: ")]
)
def test_a_process_without_a_gpu_is_told_how_to_train_without(monkeypatch, gpus, message):
    from hws_nnunet.nnunetv2 import torchrun

    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(SystemExit, match=f"^{message}.* or train with -device cpu$"):
        torchrun.join("cuda")
    with pytest.raises(SystemExit, match="-device mps given"):
        torchrun.join("mps")
