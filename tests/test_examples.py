"""The examples, and the README's loop, run, and say what they did."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.data import TensorDataset

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


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")
def test_the_loop_of_the_readme():
    text = (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
    code = re.search(r"## Any PyTorch loop.*?```python\n(.*?)```", text, re.DOTALL)[1]
    network = torch.nn.Linear(3, 4)
    names = {
        "dataset": TensorDataset(torch.randn(64, 3), torch.randint(4, (64,))),
        "network": network,
        "criterion": torch.nn.CrossEntropyLoss(),
        "optimiser": torch.optim.SGD(network.parameters(), lr=0.1),
        "epochs": 2,
    }
    exec(compile(code, "README.md", "exec"), names)
    assert names["sampler"].sampler.table.visits.sum() == 2 * 64
    assert (names["sampler"].sampler.table.visits > 0).all()
