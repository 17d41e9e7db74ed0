"""What the wheel holds, and that it works away from the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


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
