"""An experiment through nnU-Net, in short: a uniform base, then arms that go on from its checkpoint."""

import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("nnunetv2", reason="nnU-Net v2 is not installed")

pytestmark = pytest.mark.slow
SCRIPTS = Path(__file__).parents[2] / "scripts" / "benchmarks"
PROGRAM = """
import json, sys
from pathlib import Path
sys.path.insert(0, {scripts!r})
from nnunet_runs import Experiment, run_job
rare = frozenset({{"case00", "case01", "case02", "case03"}})
work = Path({work!r})
experiment = Experiment("small", 1, "3d_small", rare, 5, 1, 2, 3, lambda work, data: None)
base = experiment.bases(work, 1)[0]
jobs = [base, *experiment.jobs(work, 1, ["uniform", "ours", "ours, Dice + top-k loss"])]
print("RESULT", json.dumps(experiment.summarise([run_job(job) for job in jobs])))
"""


def test_arms_go_on_from_one_checkpoint(workspace):
    program = PROGRAM.format(scripts=str(SCRIPTS), work=str(workspace.root))
    done = workspace.run(sys.executable, "-c", program)
    found = json.loads(done.stdout.split("RESULT ")[1])
    arms = found["arms"]
    assert set(arms) == {"base", "uniform", "ours", "ours, Dice + top-k loss"}
    assert [rows[0]["steps"] for rows in arms.values()] == [[3], [6], [6], [6]]
    assert all(len(rows[0]["dice"][0]) == len(found["rare"]) == len(rows[0]["cases"]) for rows in arms.values())
    results = {
        name: json.loads((workspace.root / "results" / f"{name}-0" / "result.json").read_text())
        for name in ("base", "uniform", "ours", "ours__Dice___top_k_loss")
    }
    assert len(results["ours"]["losses"]) == 1, "one epoch after the base's one"
    assert results["ours"]["settings"]["ess"] == 0.5
    assert sum(results["ours"]["visits"].values()) == 6
    assert results["ours"]["feedback"]["lag"][0] >= 0
    assert set(arms["ours"][0]["ranks"]) == set(results["ours"]["hardness"]) & {f"case0{i}" for i in range(4)}
    topk = results["ours__Dice___top_k_loss"]
    assert sum(topk["visits"].values()) == 6, "a trainer of nnU-Net's own with ours on top"
    assert topk["losses"][0] > results["ours"]["losses"][0] + 0.1, "a tenth of the voxels has more loss than all have"
    assert "visits" not in results["uniform"]
    lines = map(json.loads, (workspace.root / "evaluations.jsonl").read_text().splitlines())
    told = {(line["arm"], line["seed"], line["steps"]): line["dice"] for line in lines}
    assert set(told) == {("base", 0, 3), *((arm, 0, 6) for arm in arms if arm != "base")}
    assert told["ours", 0, 6] == results["ours"]["dice"]["2"]
    log = (workspace.root / "results" / "ours-0" / "log.txt").read_text()
    assert "Hardness weighted sampling" in log
