"""On real fetal brains, by nnU-Net's own commands on a CPU: train, be killed, resume, validate, predict. Takes minutes.

    HWS_ATLAS=ATLAS HWS_LONG_TESTS=1 python -m pytest -s tests/test_atlas.py

ATLAS is the spina bifida atlas (Zenodo record 5524312, folders of srr, mask and parcellation). What the documentation
says of it is printed: seconds of the commands, Dice of the validation cases, what was predicted.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
import pytest
import torch

from hws_nnunet.facts.versions import STATE
from tests.datasets.test_fetal import ATLAS
from tests.nnunetv1.conftest import WorkspaceV1
from tests.nnunetv2.conftest import WorkspaceV2
from tests.workspaces import left_of_session

pytestmark = [
    pytest.mark.skipif(not os.environ.get("HWS_LONG_TESTS"), reason="takes minutes: HWS_LONG_TESTS=1 runs it"),
    pytest.mark.skipif(not ATLAS.is_dir(), reason=f"the atlas is not at {ATLAS} (HWS_ATLAS names another place)"),
]
TRAINER, NUMBER = "HardnessWeightedTrainer_5epochs", 501
STRUCTURES, TRAINED, LEAST = 8, 500, 0.4
"""How many there are; steps before the training is killed; smallest mean Dice after five short epochs."""

AGENTS, RANKS, EPOCHS, STEPS = 2, 2, 3, 10
CLOSED = "Connection (?:closed|reset) by peer|The connection to the C10d store has failed"
"""What a process says whose partner has died, and an agent that another one was the first to leave."""


class Host(NamedTuple):
    """One version of nnU-Net: its commands on the atlas's data set, and where it writes."""

    space: object
    prepare: tuple
    train: tuple
    resume: str
    starts: str
    images: Path
    fold: Path
    predict: Callable


def v2(root):
    space, name, small = WorkspaceV2(root), "Dataset501_FetalBrain", "3d_small"
    plans = space.folders["nnUNet_preprocessed"] / name / "nnUNetPlans.json"
    return Host(
        space,
        (
            ("hws-nnunet", "prepare", "fetal", ATLAS, "--dataset-id", NUMBER),
            ("nnUNetv2_extract_fingerprint", "-d", NUMBER, "--verify_dataset_integrity", "-np", 2),
            ("nnUNetv2_plan_experiment", "-d", NUMBER),
            ("hws-nnunet", "small-configuration", plans, "--name", small),
            ("nnUNetv2_preprocess", "-d", NUMBER, "-c", small, "-np", 2),
        ),
        ("nnUNetv2_train", NUMBER, small, 0, "-tr", TRAINER, "-device", "cpu"),
        "--c",
        "Epoch 2",
        space.folders["nnUNet_raw"] / name / "imagesTr",
        space.folders["nnUNet_results"] / name / f"{TRAINER}__nnUNetPlans__{small}" / "fold_0",
        lambda new, out: (
            *("nnUNetv2_predict", "-i", new, "-o", out, "-d", NUMBER, "-f", 0, "-c", small),
            *("-tr", TRAINER, "-device", "cpu", "-npp", 1, "-nps", 1),
        ),
    )


def v1(root):
    from hws_nnunet.nnunetv1.small_plans import next_command

    space, name, plans = WorkspaceV1(root), "Task501_FetalBrain", "nnUNetPlans_pretrained_small"
    folder, threads = space.folders["nnUNet_preprocessed"] / name, ("-tl", 1, "-tf", 2)
    return Host(
        space,
        (
            ("hws-nnunet", "prepare", "fetal", ATLAS, "--dataset-id", NUMBER, "--nnunet", "v1"),
            ("nnUNet_plan_and_preprocess", "-t", NUMBER, "--verify_dataset_integrity", "-no_pp", *threads),
            ("hws-nnunet", "small-plans", folder / "nnUNetPlansv2.1_plans_3D.pkl"),
            (*next_command(folder / "small.pkl", NUMBER), *threads),
        ),
        ("nnUNet_train", "3d_fullres", TRAINER, name, 0, "-p", plans),
        "-c",
        "epoch:  2",
        space.folders["nnUNet_raw_data_base"] / "nnUNet_raw_data" / name / "imagesTr",
        space.folders["RESULTS_FOLDER"] / "nnUNet" / "3d_fullres" / name / f"{TRAINER}__{plans}" / "fold_0",
        lambda new, out: (
            *("nnUNet_predict", "-i", new, "-o", out, "-t", NUMBER, "-f", 0, "-m", "3d_fullres", "-tr", TRAINER),
            *("-p", plans, "--num_threads_preprocessing", 1, "--num_threads_nifti_save", 1),
        ),
    )


@pytest.fixture(scope="module", params=[v2, v1], ids=["v2", "v1"])
def host(request, tmp_path_factory):
    """The atlas, prepared, planned and preprocessed."""
    pytest.importorskip({"v2": "nnunetv2", "v1": "nnunet"}[request.param.__name__])
    made = request.param(tmp_path_factory.mktemp("atlas"))
    timed(made, ("hws-nnunet", "register"), *made.prepare)
    return made


def timed(host, *commands):
    """Run commands; print what they took together, and return what the last one said."""
    begin = time.monotonic()
    for command in commands:
        said = host.space.run(*command, real=True, timeout=3600).stdout
    print(f"\n{' ... '.join(str(command[0]) for command in commands)}: {time.monotonic() - begin:.0f} s")
    return said


def test_trains_is_killed_goes_on_validates_and_predicts(host, tmp_path):
    from hws_nnunet.report.stats.case_weights import held_out_dice

    host.space.kill_when(host.starts, [str(part) for part in host.train], patience=1800)
    assert any(path.suffix in (".pth", ".model") for path in host.fold.iterdir())
    said = timed(host, (*host.train, host.resume))
    print(*re.findall(r"goes on after \d+ steps|Hardest cases: .*", said), sep="\n")
    assert f"Hardness weighted sampling goes on after {TRAINED} steps" in said
    dice = held_out_dice([host.fold])
    print("Dice:", dice, "mean:", np.mean(list(dice.values())).round(3))
    assert len(dice) == 3
    assert np.mean(list(dice.values())) > LEAST
    new, out = tmp_path / "new", tmp_path / "predicted"
    new.mkdir()
    for case in dice:
        shutil.copy(host.images / f"{case}_0000.nii.gz", new)
    timed(host, host.predict(new, out))
    for case in dice:
        found = np.unique(np.asanyarray(nib.load(out / f"{case}.nii.gz").dataobj))
        print(f"{case}: labels {found.tolist()}")
        assert set(found) <= set(range(STRUCTURES + 1))
        assert len(found) > STRUCTURES - 2


class Job:
    """The agents of a job, each with a log; the first one keeps the rendezvous."""

    def __init__(self, space, *options):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        command = ["-m", "torch.distributed.run", "--nnodes", AGENTS, "--nproc-per-node", RANKS, "--rdzv-id", port]
        command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"localhost:{port}"]
        command += ["-m", "hws_nnunet.nnunetv2.torchrun", NUMBER, "3d_ranks", 0, "-tr", "ShortHardnessWeighted"]
        command = [sys.executable, *map(str, command), "-device", "cpu", *options]
        env = {**space.env, "SHORT_EPOCHS": str(EPOCHS), "SHORT_STEPS": str(STEPS), "nnUNet_n_proc_DA": "1"}
        self.logs, self.agents = [space.root / f"agent{i}_{port}.log" for i in range(AGENTS)], []
        for log in self.logs:
            with open(log, "w") as file:
                options = {"stdout": file, "stderr": file, "start_new_session": True}
                self.agents.append(subprocess.Popen(command, env=env, **options))

            def listens():
                with socket.socket() as probe:
                    return probe.connect_ex(("localhost", port)) == 0

            self.wait_for(listens)

    def wait_for(self, there, patience=1800):
        end = time.monotonic() + patience
        while not there():
            running = all(agent.poll() is None for agent in self.agents) and time.monotonic() < end
            assert running, "\n".join(log.read_text()[-3000:] for log in self.logs)
            time.sleep(0.2)

    def ends(self):
        """Return exit codes and logs."""
        return [agent.wait(1800) for agent in self.agents], [log.read_text() for log in self.logs]


def test_a_process_of_several_agents_is_killed_and_the_job_goes_on(host):
    if host.resume != "--c":
        pytest.skip("nnU-Net v1 trains on one GPU")
    plans = host.space.folders["nnUNet_preprocessed"] / host.images.parent.name / "nnUNetPlans.json"
    content = json.loads(plans.read_text())
    batch = AGENTS * RANKS
    content["configurations"]["3d_ranks"] = {"inherits_from": "3d_small", "batch_size": batch}
    plans.write_text(json.dumps(content))
    fold = host.space.fold(NUMBER, "ShortHardnessWeighted", "3d_ranks")
    latest, final = fold / "checkpoint_latest.pth", fold / "checkpoint_final.pth"

    job = Job(host.space)
    job.wait_for(latest.exists)
    time.sleep(1)
    ranks = Path(f"/proc/{job.agents[-1].pid}/task/{job.agents[-1].pid}/children").read_text().split()
    os.kill(int(ranks[-1]), signal.SIGKILL)
    begin = time.monotonic()
    codes, logs = job.ends()
    print(f"both agents ended {time.monotonic() - begin:.0f} s after the kill")
    assert all(codes)
    assert re.search(CLOSED, logs[0])
    assert f"Signal 9 (SIGKILL) received by PID {ranks[-1]}" in logs[1]
    for agent in job.agents:
        assert not left_of_session(agent.pid, patience=20), "data-loading workers stayed behind"
    assert not final.exists()
    before = torch.load(latest, weights_only=False)[STATE]["visits"].sum()
    assert before > 0
    assert before % batch == 0

    codes, logs = Job(host.space, "--c").ends()
    assert codes == [0] * AGENTS, logs[0][-3000:]
    assert any(f"goes on after {before // batch} steps" in log for log in logs)
    visits = torch.load(final, weights_only=False)[STATE]["visits"]
    assert visits.sum() == EPOCHS * STEPS * batch
    assert (visits > 0).all()
    validated = json.loads((fold / "validation" / "summary.json").read_text())["metric_per_case"]
    print(f"went on after step {before // batch} of {EPOCHS * STEPS}, validated {len(validated)} cases")
    assert len(validated) == 3
