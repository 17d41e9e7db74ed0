"""The container recipes, line by line: what they copy is there and enough, and both do the same."""

import re
from pathlib import Path

import pytest

from hws_nnunet.commands.main import app

ROOT = Path(__file__).parents[1]
RECIPES = {"Dockerfile": r"^COPY (.+) /opt/hws-nnunet\S*$", "apptainer.def": r"^    (\S+) /opt/hws-nnunet/\S*$"}
pytestmark = pytest.mark.skipif(not (ROOT / "containers").is_dir(), reason="the recipes are in a checkout alone")


def text_of(recipe):
    return (ROOT / "containers" / recipe).read_text(encoding="utf-8")


def copied(recipe):
    return {name for names in re.findall(RECIPES[recipe], text_of(recipe), re.MULTILINE) for name in names.split()}


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_is_copied_is_there_and_is_what_a_wheel_is_made_of(recipe):
    assert all((ROOT / name).exists() for name in copied(recipe))
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    needed = {"pyproject.toml", "hatch_build.py", *re.findall(r'^readme = "(.+)"', project, re.MULTILINE)}
    needed |= set(re.findall(r'^license-files = \["(.+)"\]', project, re.MULTILINE))
    needed |= set(re.findall(r'^packages = \["(.+?)"\]\n\n\[tool.hatch.build.targets.wheel', project, re.MULTILINE))
    needed |= set(
        re.search(r"for folder in \((.+?)\)", (ROOT / "hatch_build.py").read_text())[1].replace('"', "").split(", ")
    )
    assert copied(recipe) == needed


@pytest.mark.parametrize("recipe", RECIPES)
def test_extras_and_commands_are_there(recipe):
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (extras,) = re.findall(r'"/opt/hws-nnunet\[(.+)\]"', text_of(recipe))
    assert all(re.search(rf"^{extra} = \[", project, re.MULTILINE) for extra in extras.split(","))
    commands = {command.name or command.callback.__name__ for command in app.registered_commands}
    used = re.findall(r"&& hws-nnunet (\w+)$", text_of(recipe), re.MULTILINE)
    assert used == ["register"]
    assert set(used) <= commands


def test_both_recipes_do_the_same():
    docker, apptainer = map(text_of, RECIPES)
    for line in (r"^FROM (.+)$|^From: (.+)$", r"(pip install .+)$", r"(apt-get update .+)$", r"(nnUNet_raw=.+)$"):
        (one,), (other,) = (
            [next(filter(None, found)) if isinstance(found, tuple) else found for found in re.findall(line, text, re.M)]
            for text in (docker, apptainer)
        )
        assert one == other
