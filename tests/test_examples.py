"""The examples run, and say what they did."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name, *arguments):
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the examples are in a checkout alone")
@pytest.mark.parametrize(
    ("name", "needs", "steps"), [("digits.py", "sklearn", "300"), ("monai_unet.py", "monai", "18")]
)
def test_example(name, needs, steps):
    pytest.importorskip(needs, reason=f"{needs} is not installed")
    said = run(name, "--steps", steps)
    assert said.splitlines()[0].startswith("uniform")
    assert said.splitlines()[1].startswith("by hardness")
    assert "effective sample size" in said
    assert "--steps" in run(name, "--help")
