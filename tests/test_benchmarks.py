"""The experiments' scripts: what they share, and one of them as a user runs it, in short."""

import json
import os
import subprocess
import sys
import tarfile
from collections import deque
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from hws_nnunet import HardnessWeightedSampler, Settings
from tests import forks
from tests.jobs import square_root

SCRIPTS = Path(__file__).parents[1] / "scripts" / "benchmarks"


@pytest.fixture
def experiments(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.delitem(sys.modules, "digits", raising=False)  # an example has that name, too
    import experiments

    return experiments


def test_intervals(experiments):
    rng = np.random.default_rng(0)
    other = rng.normal(size=60)
    assert experiments.paired_interval(other + 0.25, other) == pytest.approx((0.25, 0.25, 0.25))
    ours = other + rng.normal(0.5, 1, 60)
    difference, low, high = experiments.paired_interval(ours, other, level=0.9)
    error = np.std(ours - other, ddof=1) / np.sqrt(60)
    assert difference == pytest.approx(np.mean(ours - other))
    assert (low, high) == pytest.approx((difference - 1.645 * error, difference + 1.645 * error), abs=0.2 * error)


def test_intervals_resample_seeds_and_the_cases_that_they_share(experiments):
    rng = np.random.default_rng(0)
    by_case, by_seed = rng.normal(size=16), rng.normal(size=5)
    zero = np.zeros((5, 16))

    def width(effect):
        _, low, high = experiments.paired_interval(effect, np.zeros_like(effect))
        return high - low

    assert width(zero + by_case) == pytest.approx(width(by_case), rel=0.1), "five seeds do not make more cases"
    assert width(zero + by_seed[:, None]) == pytest.approx(width(by_seed), rel=0.1)
    assert width(zero + 1) == 0
    own = experiments.paired_interval(zero + by_case, zero, shared=False)
    assert own[2] - own[1] == pytest.approx(width(by_case) / 5**0.5, rel=0.2), "each seed has cases of its own"


@pytest.mark.slow
def test_a_failed_run_does_not_lose_the_others(experiments, tmp_path):
    jobs = [{"name": name, "value": value} for name, value in (("bad", -1), ("good", 1), ("fine", 2))]
    with pytest.raises(RuntimeError, match="failed runs: 1\nbad: "):
        experiments.run_all(square_root, jobs, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fine.json", "good.json"]
    changed = [{"name": "good", "value": 4}]
    assert experiments.run_all(square_root, changed, tmp_path) == [{"name": "good", "value": 4, "root": 2}]


def test_folds_of_the_phantom(experiments):
    import phantom

    folds, seeds, rare_names = phantom.splits(), phantom.MAX_SEEDS, phantom.EXPERIMENT.rare
    assert len(folds) == 3 * seeds
    pairs = set()
    for plain, static, wrong in zip(folds[:seeds], folds[seeds : 2 * seeds], folds[2 * seeds :], strict=True):
        rare = [case for case in plain["train"] if case in rare_names]
        assert len(set(rare)) == phantom.RARE
        assert len(plain["train"]) == phantom.COMMON + phantom.RARE
        assert not set(plain["train"]) & set(plain["val"])
        assert sum(case in rare_names for case in plain["val"]) == phantom.HELD_OUT == len(plain["val"]) / 2
        assert sorted(static["train"]) == sorted(plain["train"] + rare * (phantom.TIMES - 1))
        assert len(wrong["train"]) == len(plain["train"])
        (spoiled,) = set(wrong["train"]) - set(plain["train"])
        assert spoiled.startswith("spoiled")
        assert plain["val"] == static["val"] == wrong["val"]
        pairs.add(frozenset(rare))
    assert len(pairs) == seeds, "no two seeds train on the same rare cases"


def test_spoiled_twins_have_other_labels(experiments, tmp_path):
    import phantom

    from hws_nnunet.datasets import make_phantom

    made = make_phantom(tmp_path, cases=len(phantom.NAMES), rare=0, test_cases=0, rare_test_cases=0, shape=(16, 16, 16))
    cases = {case.name: case for case in phantom.with_spoiled(made).cases}
    assert len(cases) == len(phantom.NAMES) + phantom.MAX_SEEDS
    twin, original = cases["spoiled001"], cases[phantom.COMMON_NAMES[1]]
    assert twin.images == original.images
    labels = [np.asanyarray(nib.load(case.label).dataobj) for case in (twin, original)]
    assert np.array_equal(np.bincount(labels[0].ravel()), np.bincount(labels[1].ravel()))
    assert (labels[0] != labels[1]).mean() > 0.2


def test_folds_of_the_atlas(experiments):
    import atlas

    folds, seeds = atlas.splits(), len(atlas.PAIRS)
    assert len(folds) == 2 * seeds
    for plain, static in zip(folds[:seeds], folds[seeds:], strict=True):
        assert not set(plain["train"]) & set(plain["val"])
        assert sorted(plain["train"] + plain["val"]) == sorted(atlas.RARE + atlas.COMMON)
        assert sum(case in atlas.EXPERIMENT.rare for case in plain["train"]) == 2
        assert sum(case in atlas.EXPERIMENT.rare for case in plain["val"]) == 3 == len(plain["val"]) / 2
        assert set(static["train"]) == set(plain["train"])
        assert len(static["train"]) == len(plain["train"]) + 2 * 4


def test_jobs_of_an_experiment(experiments, tmp_path):
    import phantom

    arms = ["uniform", "ours", "ours, spoiled labels", "static oversampling"]
    jobs = {job["name"]: job for job in phantom.EXPERIMENT.jobs(tmp_path, 2, arms)}
    assert len(jobs) == 8
    seeds = phantom.MAX_SEEDS
    assert {job["arm"]: job["fold"] for job in jobs.values() if job["seed"] == 1001} == {
        "uniform": 1,
        "ours": 1,
        "static oversampling": 1 + seeds,
        "ours, spoiled labels": 1 + 2 * seeds,
    }
    ours = next(job for job in jobs.values() if job["arm"] == "ours")
    assert ours["trainer"] == "HardnessWeightedTrainer"
    assert ours["settings"] == Settings(ess=0.5).model_dump(), "a run is not taken for one with other defaults"
    assert ours["base"] == str(tmp_path / "results" / "base-0" / "base.pth")
    assert ours["evaluate"] == [26, 36]
    (scratch,) = phantom.EXPERIMENT.jobs(tmp_path, 1, ["ours"], scratch=True)
    assert scratch["base"] is None
    assert scratch["evaluate"] == [18, 36]
    assert scratch["name"] not in jobs


def test_section_of_an_experiment_with_groups(experiments, script, tmp_path):
    rng = np.random.default_rng(0)
    rare = [True] * 8 + [False] * 8
    cases = [f"case{i}" for i in range(16)]

    def rows(gain, **more):
        return [
            {
                "seed": seed,
                "steps": [1050, 1300],
                "cases": cases,
                "dice": (dice + gain * np.array(rare) * np.array([[0.5], [1.0]])).tolist(),
                **more,
            }
            for seed, dice in enumerate(uniform)
        ]

    uniform = rng.uniform(0.5, 0.8, (5, 2, 16))
    arms = {
        "base": [{"seed": seed, "steps": [800], "cases": cases, "dice": [[0.4] * 16]} for seed in range(5)],
        "uniform": rows(0),
        "ours": rows(0.1, rare_share=0.3, ess=0.5, beta=7.0),
        "uniform, spoiled labels": rows(-0.2),
        "ours, spoiled labels": rows(-0.25, rare_share=0.2, ess=0.5, beta=9.0),
    }
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "phantom.json").write_text(json.dumps({"rare": rare, "arms": arms}))
    script(SCRIPTS / "phantom.py", "--show", "--docs", tmp_path)
    report = (tmp_path / "benchmarks.md").read_text()
    assert "- phantom, rare group: +10.0 points, interval from +10.0 (bar: +8): reached" in report
    assert "- phantom, spoiled labels, mean: -2.5 points, interval from -3.8 (bar: -1): NOT reached" in report
    assert "(+5.0; +2.5 to +7.5)" in report, "half of the cases gained 10"
    assert "| 30% | 0.50 | 7.0 |" in report
    assert "500 steps from a checkpoint of 800 uniform ones" in report
    assert "| base " not in report
    end = 100 * np.sort(uniform[:, 1], axis=-1)
    fractional = ((end[:, 0] + 0.6 * end[:, 1]) / 1.6).mean()
    row = next(line for line in report.splitlines() if line.startswith("| uniform |"))
    assert row.split(" | ")[4] == f"{fractional:.1f}", "a tenth of 16 cases is 1.6 of them, as in the report"
    assert "the worst 1.6 (the last one counts by its share)" in report
    assert (tmp_path / "benchmarks" / "phantom.png").stat().st_size > 10_000


def test_a_section_replaces_itself_alone(experiments, tmp_path):
    from page import Section

    def section(name, said):
        return Section(name, name.title(), f"{name}.py", lambda found, _: ([f"- {said}"], [*found]), figure=False)

    (tmp_path / "benchmarks").mkdir()
    page = tmp_path / "benchmarks.md"
    page.write_text("# Benchmarks\n\nBy hand.\n")
    assert not section("one", "first").write(tmp_path), "there are no results"
    for name in ("one", "two"):
        (tmp_path / "benchmarks" / f"{name}.json").write_text(json.dumps([f"of {name}"]))
        assert section(name, "first").write(tmp_path)
    before = page.read_text()
    assert section("one", "second").write(tmp_path)
    after = page.read_text()
    assert after == before.replace("- first", "- second", 1)
    assert "## One\n\n`python scripts/benchmarks/one.py`\n\n- second\n\nof one\n" in after
    assert after.startswith("# Benchmarks\n\nBy hand.\n")


def test_the_page_holds_every_result(experiments):
    """What is measured is shown: each file of results belongs to a section, and the page has all sections."""
    import importlib

    import page

    text = (page.DOCS / "benchmarks.md").read_text()
    sections = [part for name in page.EXPERIMENTS for part in importlib.import_module(name).SECTIONS]
    for section in sections:
        assert section.read(page.DOCS / "benchmarks", section.name), f"{section.name} has no results"
        block = text.split(f"<!-- {section.name} -->\n")[1].split(f"\n<!-- /{section.name} -->")[0]
        assert block.startswith(f"## {section.title}\n\n`python scripts/benchmarks/{section.command}`\n")
    names = {section.name for section in sections} - {"growth"}
    variants = {"hippocampus-scanner"}
    for file in (page.DOCS / "benchmarks").glob("*.json"):
        assert file.stem in names or any(file.stem.startswith(f"{name}-") for name in variants), file.name


@pytest.mark.slow
def test_digits_in_short_and_their_section(tmp_path):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")

    def run(script, *options):
        done = forks.run([sys.executable, SCRIPTS / script, *options])
        assert done.returncode == 0, done.stdout[-3000:]

    digits = ("digits.py", "--quick", "--arms", "uniform", "paper", "ours", "--work", tmp_path)
    run(*digits)
    docs = tmp_path / "quick"
    file = docs / "benchmarks" / "digits.json"
    found = json.loads(file.read_text())
    assert {"uniform", "paper", "ours"} <= {run["arm"] for run in found["runs"]}
    assert all(np.shape(run["worst"]) == (2, 6) for run in found["runs"])
    runs = {path: path.stat().st_mtime_ns for path in docs.glob("*.json")}
    next(iter(runs)).unlink()  # as if it had been cut off
    before = file.read_text()
    run(*digits)
    assert file.read_text() == before, "a run is its seed's"
    assert sum(path.stat().st_mtime_ns != runs[path] for path in docs.glob("*.json")) == 1
    assert "| ours, 5 % of labels spoiled |" in (docs / "benchmarks.md").read_text()
    assert (docs / "benchmarks" / "digits.png").stat().st_size > 10_000


def test_feedback_tells_lags_and_how_far_draws_are_from_what_was_meant(experiments):
    from nnunet_feedback import Feedback

    def follow(shown, **settings):
        """Draw five batches ahead of the answers; show the feedback what was drawn, or something else."""
        rng = np.random.default_rng(0)
        sampler = HardnessWeightedSampler([str(i) for i in range(10)], Settings(**settings))
        losses, waiting, feedback = np.linspace(0.5, 1.0, 10), deque(), Feedback(sampler)
        for _ in range(3000):
            while len(waiting) < 6:
                waiting.append(sampler.draw_cases(2, rng))
            drawn = waiting.popleft()
            version = sampler.table.version
            sampler.update(drawn.ids, losses[drawn.ids], version=drawn.version)
            feedback.step(drawn._replace(ids=shown(drawn.ids)), version)
        return feedback.summary()

    right = follow(lambda ids: ids)
    assert right["lag"] == [5, 5]
    assert right["steps_until_all_seen"] == 5
    assert right["total_variation"] < 0.04
    assert right["weighted_draws"] == pytest.approx(6000, abs=30)
    assert right["ess"][-1] == pytest.approx(0.8, abs=0.02)
    wrong = follow(lambda ids: [0, 1])
    assert wrong["total_variation"] > 0.5
    assert wrong["longest_run"] == 3000
    assert wrong["steps_until_all_seen"] is None


@pytest.mark.slow
@pytest.mark.parametrize(("nnunet", "regions"), [("v1", False), ("v2", False), ("v2", True)])
def test_a_whole_step_starts_few_operations_more_than_stock_ones(experiments, nnunet, regions):
    """Measured as the benchmark does, with the hosts' own trainers in a process of their own."""
    import step

    pytest.importorskip({"v1": "nnunet", "v2": "nnunetv2"}[nnunet])
    shape = {"features": (4, 8, 8), "patch": (16, 16, 16), "classes": 3, "regions": regions}
    job = {"nnunet": nnunet, "network": "small", "shape": shape, "device": "cpu", "compiled": False}
    row = step.measured({**job, "steps": 2, "blocks": 2})
    assert {arm: len(seconds) for arm, seconds in row["seconds"].items()} == dict.fromkeys(step.ARMS, 2)
    assert all(seconds > 0 for arm in row["seconds"].values() for seconds in arm)
    operations = {arm: found["kernels"] for arm, found in row["a_step"].items()}
    assert operations["stock"] > 100
    assert 4 <= operations["ours"] - operations["stock"] <= 8
    assert operations["ours, dice_ce"] == operations["ours"]


def test_ratios_of_steps_and_what_was_to_be_reached(experiments, tmp_path):
    import step

    seconds = {"stock": [1.0, 2.0, 1.0], "ours": [1.02, 2.2, 1.0], "ours, dice_ce": [1.05, 2.1, 1.06]}
    common = {"nnunet": "v2", "network": "small", "shape": step.NETWORKS["small"], "compiled": False, "steps": 5}
    a_step = {arm: {"kernels": 400 + 8 * i} for i, arm in enumerate(step.ARMS)}
    on_cpu = {**common, "device": "cpu", "on": "cpu, one core", "made_by": "PyTorch 2", "seconds": seconds}
    more = {arm: {**of, "gpu_ms": 7.0 + i, "peak_MiB": 90.0 + 1.5 * i} for i, (arm, of) in enumerate(a_step.items())}
    on_gpu = {**on_cpu, "device": "cuda", "on": "a card", "compiled": True, "a_step": more}
    bars, _ = step.section([{**on_cpu, "a_step": a_step}], tmp_path)
    assert bars[0] == "- nnU-Net v2, small network, cpu, one core, ours: 1.020 of stock's time (bar: 1.02): reached"
    assert bars[1].endswith("ours, dice_ce: 1.050 of stock's time (bar: 1.04): NOT reached")
    assert bars[2].startswith("- on a GPU: not measured")
    bars, lines = step.section([{**on_cpu, "a_step": a_step}, on_gpu], tmp_path)
    assert "- nnU-Net v2, small network, compiled, a card, ours: +1.5 MiB (bar: +2): reached" in bars
    assert "- nnU-Net v2, small network, compiled, a card, ours, dice_ce: +3.0 MiB (bar: +2): NOT reached" in bars
    assert not any("not measured" in bar for bar in bars)
    rows = [line for line in lines if line.startswith("|")]
    assert len({line.count("|") for line in rows}) == 1, "every row has the table's columns"
    assert "1.000 to 1.100 (3 blocks of 5) | 400 +8 |" in rows[2]
    assert rows[-1].endswith("| 400 +16 | 7.0 +2.00 | 90.0 +3.00 |")


def test_ratios_of_epochs(experiments, tmp_path):
    import overhead

    seconds = {"stock": [0.1, 0.2], "ours": [0.11, 0.18]}
    bars, lines = overhead.section({"device": "cpu", "seconds": seconds, "draw_microseconds": 95.6}, tmp_path)
    assert bars == []
    assert lines[-1] == "| cpu | 150 | 145 | 1.000 (0.900 to 1.100, 2 pairs) | 96 |"


@pytest.mark.slow
def test_scale_in_short_and_its_section(experiments, tmp_path):
    import scale
    import simulated

    wanted = scale.jobs(1, quick=True)
    runs = [{**simulated.training(job), **job} for job in wanted]
    even = [run for run in runs if run["spread"] == 0]
    spread = [run for run in runs if run["spread"] > 0]
    assert len(even) == scale.MORE, "one training of few cases tells little"
    assert np.mean([np.mean(run["ess"]) for run in even]) > 0.9
    assert spread[0]["tilt"][-1] > 0.3
    bars, lines = scale.section(runs, tmp_path / "scale.png")
    assert any("equally hard, ESS in force" in bar for bar in bars)
    assert any(line.startswith("| 100 | 0.05 | 10 epochs |") for line in lines)
    assert (tmp_path / "scale.png").stat().st_size > 10_000


@pytest.mark.slow
def test_groups_in_short_and_their_section(experiments, tmp_path):
    import groups

    runs = [{**groups.training(job), **job} for job in groups.jobs(1, quick=True)]
    found = {(run["kind"], run["arm"]): run for run in runs}
    assert found["between", "pooled as losses say"]["times_early"] > found["between", "no groups"]["times_early"] + 1
    assert found["within", "pooled entirely"]["tilt"] < 0.2 < 0.5 < found["within", "pooled as losses say"]["tilt"]
    bars, lines = groups.section(runs, tmp_path / "groups.png")
    assert bars == []
    assert sum(line.startswith(("| between | 100 |", "| both | 100 |", "| within | 100 |")) for line in lines) == 9
    assert (tmp_path / "groups.png").stat().st_size > 10_000


def test_sections_of_the_loader_and_of_several_processes(experiments, tmp_path):
    import gather
    import loader

    rows = [
        {"batch": 64, "workers": 0, "sampler": name, "samples_a_second": 1000, "of_plain": [at - 0.01, at, at + 0.01]}
        for name, at in (("plain", 1.0), ("ours", 0.97))
    ]
    bars, lines = loader.section(rows, tmp_path / "loader.png")
    assert bars == [
        "- loader, batches of 64, 0 workers: 0.970 of the plain sampler's samples a second (bar: 0.98): NOT reached"
    ]
    assert "| 64 | 0 | ours | 1,000 | 0.970 (0.960 to 0.980) |" in lines
    rows = [{"ranks": n, "cores": 2, "bytes": 176, "gather": [900.0, 1500.0], "update": [90.0, 99.0]} for n in (2, 4)]
    bars, lines = gather.section(rows, tmp_path / "gather.png")
    assert bars == []
    assert "| 4 | 176 | 900 (1500) | 90 (99) |" in lines
    assert {path.name for path in tmp_path.iterdir()} == {"loader.png", "gather.png"}


PYTHON_OF_A_GPU_MACHINE = f"""#!/bin/sh
case "$*" in
    *register) ;;
    *tarfile*) exec {sys.executable} "$@" ;;
    *"-m cuda"*) echo 3 passed; echo $PYTHONPATH ;;
    *nnunetv2/test_end*) exit 3 ;;
    *atlas.py*--quick*) cd $7/quick && ls && echo $@ && echo a line > evaluations.jsonl; sleep 600 ;;
    *atlas.py*) cd $7/work && ls && echo $@ && echo another > evaluations.jsonl; sleep 600 ;;
esac
"""


def test_parts_on_a_gpu_machine_end_with_their_time_and_keep_what_they_measured(tmp_path):
    """From a packed archive, with a Python in front of the others that is quick, fails, or takes too long."""
    out, packed = tmp_path / "out", tmp_path / "on_gpu"
    for name in ("code/scripts/benchmarks/atlas.py", "code/tests/test_it.py", "data/prepared", "site/bin/none"):
        (packed / name).parent.mkdir(parents=True, exist_ok=True)
        (packed / name).write_text("pytest.mark.cuda")
    with tarfile.open(tmp_path / "on_gpu.tar.xz", "w:xz") as archive:
        archive.add(packed, packed.name)
    python = tmp_path / "python3"
    python.write_text(PYTHON_OF_A_GPU_MACHINE)
    python.chmod(0o755)
    script = (SCRIPTS / "on_gpu.sh").read_text()
    assert "measured trainings 9 " in script
    (tmp_path / "on_gpu.sh").write_text(script.replace("measured trainings 9 ", "measured trainings 0.02 "))
    env = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "QUICK": "--quick"}

    def run(*parts, **more):
        command = ["bash", tmp_path / "on_gpu.sh", "run", out, *parts]
        done = subprocess.run(command, env={**env, **more}, cwd=tmp_path, capture_output=True, text=True)
        return done.returncode, [line for line in done.stdout.splitlines() if "at most" not in line]

    code, said = run()
    assert code == 1
    quick = out / "quick"
    unpacked = quick / "work" / "on_gpu"
    assert said[:3] == ["  3 passed", f"  {unpacked}/code:{unpacked}/site", "tests: done"]
    assert said[3:7] == [
        "step: left out, there is no scripts/benchmarks/step.py",
        "v2: FAILED, exit code 3",
        "v1: done",
        "torchrun: done",
    ]
    assert said[7] == "  prepared", "what was packed is where the trainings look for it"
    assert said[8].startswith(f"  scripts/benchmarks/atlas.py --device cuda --docs {quick} --work {quick}/work/")
    assert said[9:] == ["trainings: NOT FINISHED in its time"]
    assert (quick / "evaluations.jsonl").read_text() == "a line\n"
    assert [path.name for path in out.iterdir()] == ["quick"], "what was measured in short is not among the rest"
    assert run("v1", "torchrun") == (0, ["v1: done", "torchrun: done"])
    assert run("v1", "v3") == (2, ["there is no part v3; there are tests step v2 v1 torchrun trainings"])
    code, said = run("trainings", QUICK="", HWS_ATLAS="an atlas")
    assert said[0] == "  prepared", "after a quick run, too"
    assert f" --docs {out} --work {out}/work/trainings --data {tmp_path}/an atlas --scratch " in said[1]
    assert (code, said[2:]) == (1, ["trainings: NOT FINISHED in its time"])
    assert (out / "evaluations.jsonl").read_text() == "another\n"
