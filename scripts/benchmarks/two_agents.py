"""Several torchrun agents train nnU-Net on real fetal brains; a process is killed, and the training goes on with --c.

    python scripts/benchmarks/two_agents.py --data ATLAS [--nodes N] [--processes N] [--out FOLDER]

ATLAS is the spina bifida atlas (Zenodo record 5524312). An agent is what runs on each machine of a cluster; here all
run on this one, on its CPU, with a rendezvous on a free port. The training is short: three epochs of ten steps, and
validation. Once its first checkpoint is there, a process of the last agent gets SIGKILL. All agents have to end with an
error; started again with --c, they have to end the training. Prints a line for each thing that has to hold, and exits
with 0 if all do. Logs are in the folder given. Needs Linux, nnU-Net 2.8 and a checkout, whose tests have the short
trainer. Took five and a half minutes on two cores.
"""

from __future__ import annotations

import argparse
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

import atlas
import numpy as np
import torch
from experiments import write_json
from nnunet_runs import environment

from hws_nnunet.datasets.raw_v2 import dataset_name

TRAINERS = Path(__file__).parents[2] / "tests" / "nnunetv2" / "trainers"
TRAINER, CONFIGURATION, FOLD = "ShortHardnessWeighted", "3d_ranks", 0
EPOCHS, STEPS = 3, 10
CLOSED = "Connection (?:closed|reset) by peer|The connection to the C10d store has failed"
"""What a process says whose partner has died, and an agent that another one was the first to leave."""
PATIENCE = 900
"""Seconds after which what has not come counts as failed."""
BEGIN = time.monotonic()


def tell(text: str) -> None:
    print(f"{time.monotonic() - BEGIN:5.0f} s  {text}", flush=True)


class Job:
    """The agents of one job, each with a log; the first one keeps the rendezvous.

    Args:
        logs: a file for each agent.
        processes: of each.
        options: of the training, beside those that are always given.
        env: of the agents.

    Raises:
        SystemExit: an agent ended at once, or did not begin.
    """

    def __init__(self, logs: list[Path], processes: int, options: list[str], env: dict[str, str]):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        command = ["-m", "torch.distributed.run", "--nnodes", len(logs), "--nproc-per-node", processes]
        command += ["--rdzv-id", logs[0].stem, "--rdzv-backend", "c10d", "--rdzv-endpoint", f"localhost:{port}"]
        command += ["-m", "hws_nnunet.nnunetv2.torchrun", atlas.DATASET, CONFIGURATION, FOLD]
        command = [sys.executable, *map(str, command), "-tr", TRAINER, "-device", "cpu", *options]
        tell(" ".join(command))
        self.logs, self.agents, self._told = logs, [], set()
        for log in logs:
            with open(log, "w") as file:
                self.agents.append(subprocess.Popen(command, env=env, stdout=file, stderr=subprocess.STDOUT))
            self.wait_for(f"the rendezvous at port {port}", lambda: listens(port))

    def wait_for(self, what: str, there: Callable[[], bool]) -> None:
        """Wait for something that comes while all agents run.

        Raises:
            SystemExit: it did not.
        """
        end = time.monotonic() + PATIENCE
        while not there():
            if any(agent.poll() is not None for agent in self.agents) or time.monotonic() > end:
                self.end()
                sys.exit(f"FAILED  {what} did not come; logs: {', '.join(map(str, self.logs))}")
            self.tell_progress()
            time.sleep(0.5)

    def wait(self) -> list[int | None]:
        """Return the agents' exit codes, None for one that had to be ended."""
        end = time.monotonic() + PATIENCE
        while any(agent.poll() is None for agent in self.agents) and time.monotonic() < end:
            self.tell_progress()
            time.sleep(0.5)
        codes = [agent.poll() for agent in self.agents]
        self.end()
        return codes

    def said(self, agent: int) -> str:
        return self.logs[agent].read_text(errors="replace")

    def tell_progress(self) -> None:
        """Print what the training has come to since."""
        for place, agent in enumerate(self.agents):
            lines = re.findall(r"^(?:Epoch \d+|predicting \S+|Hardness .* goes on .*)$", self.said(place), re.MULTILINE)
            if agent.poll() is not None:
                lines.append(f"agent {place} has ended with {agent.poll()}")
            for line in lines:
                if line not in self._told:
                    self._told.add(line)
                    tell(line)

    def end(self) -> None:
        """End what still runs; agents end their processes, which takes half a minute where these do not listen."""
        for agent in self.agents:
            if agent.poll() is None:
                agent.terminate()
        for agent in self.agents:
            agent.wait(120)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("localhost", port)) == 0


def children(process: int) -> list[int]:
    """Return the processes that a process has started and that run."""
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def runs(process: int) -> bool:
    """Return whether a process has not ended; one that only waits to be asked for its exit code has."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def tracked(checkpoint: Path) -> dict:
    """Return the sampler's state in a checkpoint of nnU-Net's, which holds numpy's numbers beside it."""
    scalar, (double, _) = np.float64(0).__reduce__()
    safe = [scalar, np.dtype, type(double), type(np.dtype(np.float32))]
    with torch.serialization.safe_globals(safe):
        return torch.load(checkpoint, map_location="cpu", weights_only=True)["hardness_weighted_sampling"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the atlas's folder")
    parser.add_argument("--nodes", type=int, default=2, help="how many agents")
    parser.add_argument("--processes", type=int, default=2, help="of each agent")
    parser.add_argument("--out", type=Path, default=Path("benchmark-results") / "two_agents")
    args = parser.parse_args()
    out = args.out.resolve()
    work, logs = out / "work", out / "logs"
    tell("the atlas: check, plan and preprocess, unless it was")
    atlas.prepare(work, args.data)
    shutil.rmtree(work / "results", ignore_errors=True)
    logs.mkdir(exist_ok=True)
    folder = work / "preprocessed" / dataset_name(atlas.DATASET, atlas.NAME)
    plans = json.loads((folder / "nnUNetPlans.json").read_text())
    batch = args.nodes * args.processes
    plans["configurations"][CONFIGURATION] = {"inherits_from": atlas.CONFIGURATION, "batch_size": batch}
    write_json(folder / "nnUNetPlans.json", plans)
    fold = work / "results" / folder.name / f"{TRAINER}__nnUNetPlans__{CONFIGURATION}" / f"fold_{FOLD}"
    env = {**os.environ, **environment(work), "nnUNet_extTrainer": str(TRAINERS), "nnUNet_n_proc_DA": "1"}
    env |= {"SHORT_EPOCHS": str(EPOCHS), "SHORT_STEPS": str(STEPS), "PYTHONUNBUFFERED": "1"}
    env.pop("HWS_CONFIG", None)
    held: list[bool] = []

    def check(text: str, holds: bool) -> None:
        held.append(holds)
        tell(f"{'holds ' if holds else 'FAILED'}  {text}")

    def started(name: str, *options: str) -> Job:
        return Job([logs / f"{name}_agent{i}.log" for i in range(args.nodes)], args.processes, list(options), env)

    job = started("killed")
    job.wait_for("the first checkpoint", (fold / "checkpoint_latest.pth").exists)
    ranks = [rank for agent in job.agents for rank in children(agent.pid)]
    started_by_ranks = [process for rank in ranks for process in children(rank)]
    victim = ranks[-1]
    os.kill(victim, signal.SIGKILL)
    tell(f"process {victim} of agent {args.nodes - 1} is killed")
    codes = job.wait()
    for i, code in enumerate(codes):
        check(f"agent {i} ended with an error (exit code: {code})", bool(code))
        pattern = f"Signal 9 \\(SIGKILL\\) received by PID {victim}" if i == args.nodes - 1 else CLOSED
        named = re.search(pattern, job.said(i))
        check(f"agent {i} names the failure: {named[0] if named else f'no {pattern!r} in its log'}", bool(named))
    left = [process for process in started_by_ranks if runs(process)]
    check(f"none of their {len(started_by_ranks)} data-loading workers has stayed behind (left: {left})", not left)
    check("the training was cut off: there is no last checkpoint", not (fold / "checkpoint_final.pth").exists())
    before = int(tracked(fold / "checkpoint_latest.pth")["visits"].sum())
    steps = before // batch
    check(f"the checkpoint holds {before} visits, those of {steps} steps", steps > 0 and before == steps * batch)

    job = started("resumed", "--c")
    for i, code in enumerate(job.wait()):
        check(f"agent {i} ended without an error (exit code: {code})", code == 0)
    goes_on = f"goes on after {steps} steps"
    check(f"the log says that it {goes_on}", any(goes_on in job.said(i) for i in range(args.nodes)))
    last, summary = fold / "checkpoint_final.pth", fold / "validation" / "summary.json"
    check("the last checkpoint and the validation are there", last.exists() and summary.exists())
    if held[-1]:
        state = tracked(last)
        after = int(state["visits"].sum())
        check(f"visits grew from {before} to {after}, of {EPOCHS} epochs", before < after == EPOCHS * STEPS * batch)
        check("all cases have been seen", bool((state["visits"] > 0).all()))
        cases = [Path(case["prediction_file"]).name for case in json.loads(summary.read_text())["metric_per_case"]]
        wanted = sorted(f"{case}.nii.gz" for case in atlas.splits()[FOLD]["val"])
        check(f"validation has each of the {len(wanted)} cases", sorted(cases) == wanted)
    tell("all holds" if all(held) else f"{held.count(False)} of {len(held)} FAILED; logs: {logs}")
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
