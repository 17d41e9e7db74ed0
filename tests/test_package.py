"""What the wheel holds and needs, and that it works away from the checkout."""

import os
import re
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version

from hws_nnunet import extras

ROOT = Path(__file__).parents[1]

AROUND_THE_LOOP = """
import torch
from torch.utils.data import TensorDataset

network, epochs = torch.nn.Linear(3, 4), 2
dataset = TensorDataset(torch.randn(64, 3), torch.randint(4, (64,)))
criterion, optimiser = torch.nn.CrossEntropyLoss(), torch.optim.SGD(network.parameters(), lr=0.1)
{}
print(int(sampler.sampler.table.visits.min()), int(sampler.sampler.table.visits.sum()))
"""


@pytest.fixture(scope="module")
def project():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 and newer read pyproject.toml")
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def needed(requirements):
    """Return the names of distributions that are required, by one another too."""
    names = set()
    waiting = [Requirement(requirement) for requirement in requirements]
    while waiting:
        requirement = waiting.pop()
        if requirement.name in names or not (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            continue
        try:
            more = distribution(requirement.name).requires
        except PackageNotFoundError:  # of another system, or part of another wheel
            continue
        names.add(requirement.name)
        waiting += map(Requirement, more or ())
    return names


@pytest.fixture(scope="module")
def bare(project, tmp_path_factory):
    """Return a folder with this package and what it requires without an extra, in place of site-packages."""
    site = tmp_path_factory.mktemp("bare")
    (site / "hws_nnunet").symlink_to(ROOT / "hws_nnunet")
    for name in needed(project["dependencies"]):
        files = distribution(name).files
        for top in {file.parts[0] for file in files} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(distribution(name).locate_file(top))
    return site


def run_bare(bare, code):
    command = [sys.executable, "-S", "-W", "ignore", "-c", code]  # -S: nothing else that is installed
    env = {**os.environ, "PYTHONPATH": str(bare)}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=bare, env=env)


def test_the_readmes_loop_needs_no_extra(bare):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    loop = re.search(r"## Any PyTorch loop.*?```python\n(.*?)```", text, re.DOTALL)[1]
    done = run_bare(bare, AROUND_THE_LOOP.format(loop))
    assert done.returncode == 0, done.stderr
    least, visits = map(int, done.stdout.split())
    assert least > 0
    assert visits == 2 * 64


@pytest.mark.parametrize(
    "how", ["from hws_nnunet.commands.main import main; main()", "import hws_nnunet.commands.watch"]
)
def test_a_command_without_its_extra_names_the_extra(bare, how):
    done = run_bare(bare, how)
    assert done.returncode == 1
    assert re.fullmatch(
        r"error: the command hws-nnunet needs .*typer, which the extra nnunetv2 brings: "
        r"pip install 'hws-nnunet\[nnunetv2\]'\n",
        done.stderr,
    )


def test_a_part_without_its_extra_names_the_extra(bare):
    done = run_bare(bare, "import hws_nnunet.report")
    assert done.returncode == 1
    assert re.search(r"RuntimeError: the report needs .*pandas.* pip install 'hws-nnunet\[report\]'", done.stderr)


def test_what_is_asked_for_is_what_the_extras_bring(project):
    brought = {
        extra: {Requirement(text).name.lower() for text in project["optional-dependencies"][extra]}
        for extra in ("commands", "nnunetv1", "nnunetv2", "report")
    }
    assert set(extras.COMMANDS) == brought["commands"]
    assert set(extras.REPORT) == brought["report"] - {"hws-nnunet", "scipy"}
    of_commands = ("nnunetv1", "nnunetv2", "report")
    assert all("hws-nnunet[commands]" in project["optional-dependencies"][extra] for extra in of_commands)


def test_no_extra_is_called_like_a_version(project):
    for extra in project["optional-dependencies"]:  # pip 24.1 to 25.3 ends in InvalidVersion where one is, as v2 was
        with pytest.raises(InvalidVersion):
            Version(extra)


@pytest.mark.slow
def test_a_wheel_installed_away_from_the_checkout(tmp_path):
    if not (ROOT / "pyproject.toml").is_file():
        pytest.skip("needs the checkout")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", tmp_path, ROOT], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    top = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name.split("-")[0] for name in top} == {"hws_nnunet"}, "no generic names in site-packages"
    site = tmp_path / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", site, wheel], check=True)
    code = (
        "import hws_nnunet; from hws_nnunet.files import packaged; from hws_nnunet.facts.versions import V1, V2; "
        "print(hws_nnunet.__file__); print(packaged('configs', 'default.yaml')); "
        "print(V1.trainers_path()); print(V2.trainers_path())"
    )
    env = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path, env=env
    )
    package = site / "hws_nnunet"
    assert [Path(line) for line in done.stdout.split()] == [
        package / "__init__.py",
        package / "configs" / "default.yaml",
        package / "trainers" / "nnunetv1",
        package / "trainers" / "nnunetv2",
    ]
    assert (package / "py.typed").exists()
    assert (package / "trainers" / "nnunetv2" / "hws_nnunet_trainers.py").read_bytes() == (
        ROOT / "trainers" / "nnunetv2" / "hws_nnunet_trainers.py"
    ).read_bytes()
