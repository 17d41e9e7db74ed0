"""All that needs a GPU, in one go of 25 minutes: tests, overhead and memory at full patch size, a long training.

    python scripts/benchmarks/on_gpu.py --data HIPPOCAMPUS [--wheels FOLDER] [--device cuda] [--quick] [--out FOLDER]

Runs, one after the other, each told with its time and its log:

1. the tests that need CUDA;
2. ``overhead.py`` with nnU-Net's planned network and patches of 128 x 128 x 128: our share of the training process's
   time (bar: 2 %), epoch time and peak memory, ours to stock;
3. ``hippocampus.py``, a rare scanner, with 20 times the steps, uniform sampling and ours.

HIPPOCAMPUS is that of ``hippocampus.py``. Where nothing can be downloaded, FOLDER holds wheels, which are installed
into an environment of their own. Make it on a machine of the same kind, with Python of the same version, in a checkout:

    pip wheel --wheel-dir FOLDER '.[v2,dev]'

What is left of the time limits each step; one that is over its limit is ended, and the next begins. Copy the results,
``benchmarks/*.json`` in the output folder, to ``docs/benchmarks``, then run ``page.py``. ``--quick --device cpu`` shows
in some minutes that it runs, on any machine, with a small network.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts" / "benchmarks"
SHARES = (0.1, 0.4, 0.5)
"""Of the time, at most, for each step; what one leaves is the next ones'."""


def steps(args: argparse.Namespace, python: str) -> list[tuple[str, list[str]]]:
    """Return names and commands."""
    training = ["--condition", "scanner", "--seeds", "1", "--arms", "uniform", "ours", "--longer", "20"]
    measured = {
        "overhead": [] if args.quick else ["--network", "planned", "--patch", "128", "--pairs", "2"],
        "hippocampus": [*training, "--data", str(args.data), "--processes", "1"],
    }
    common = ["--docs", str(args.out), "--device", args.device, *["--quick"] * args.quick]
    return [
        ("tests", [python, "-m", "pytest", "-q", "-m", "cuda", str(ROOT / "tests")]),
        *(
            (name, [python, str(SCRIPTS / f"{name}.py"), *given, *common, "--work", str(args.out / name)])
            for name, given in measured.items()
        ),
    ]


def installed(wheels: Path, out: Path) -> str:
    """Install the wheels into an environment in ``out``; return its interpreter."""
    folder = out / "environment"
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    offline = ["--no-index", "--find-links", str(wheels)]
    subprocess.run([python, "-m", "pip", "install", "-q", *offline, "hws-nnunet[v2,dev]"], check=True)
    return python


def run(name: str, command: list[str], log: Path, limit: float) -> bool:
    """Run a command, tell how it ended, and return whether well; one over its limit is ended with all it started."""
    print(f"{name}: at most {limit / 60:.0f} min, log in {log}", flush=True)
    begin = time.monotonic()
    with open(log, "w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, cwd=ROOT, start_new_session=True)
        try:
            ended = {0: "done", 5: "nothing to do"}.get(code := process.wait(limit), f"FAILED, exit code {code}")
        except subprocess.TimeoutExpired:
            ended = "NOT FINISHED in its time"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()
    print(f"{name}: {ended}, {time.monotonic() - begin:.0f} s", flush=True)
    print("  " + "\n  ".join(log.read_text(errors="replace").splitlines()[-4:]), flush=True)
    return not ended.startswith(("FAILED", "NOT"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the hippocampus data")
    parser.add_argument("--wheels", type=Path, help="folder of wheels to install from")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=25.0, help="for all of it")
    parser.add_argument("--quick", action="store_true", help="a few steps of each: does it run?")
    parser.add_argument("--out", type=Path, default=Path("benchmark-results/gpu"))
    args = parser.parse_args()
    args.out, args.data = args.out.resolve(), args.data.resolve()
    if not args.data.is_dir():
        parser.error(f"--data: expected a folder, given: {args.data}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the step under way is ended, too
    end = time.monotonic() + 60 * args.minutes
    args.out.mkdir(parents=True, exist_ok=True)
    python = installed(args.wheels, args.out) if args.wheels else sys.executable
    well, shares = [], list(SHARES)
    for name, command in steps(args, python):
        left = end - time.monotonic()
        well.append(run(name, command, args.out / f"{name}.log", max(1.0, left * shares[0] / sum(shares))))
        del shares[0]
    found = ", ".join(sorted(map(str, args.out.glob("benchmarks/*.json"))))
    print(f"{sum(well)} of {len(well)} done; results: {found or 'none'}")
    return 0 if all(well) else 1


if __name__ == "__main__":
    sys.exit(main())
