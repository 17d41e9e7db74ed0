"""What the commands say of themselves, and what they import to say it."""

import re
import subprocess
import sys

import pytest
import typer.main
from typer.testing import CliRunner

from hws_nnunet.commands import main as cli

HEAVY = (
    *("torch", "nnunet", "nnunetv2", "batchgenerators", "scipy", "matplotlib", "monai", "pandas", "statsmodels"),
    *("jinja2", "nibabel", "numpy", "yaml", "PIL", "tqdm"),
)
"""But pydantic, which some versions of typer import themselves."""


def commands(group=None, path=()):
    group = typer.main.get_command(cli.app) if group is None else group
    yield path
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*path, name)) if hasattr(command, "commands") else [(*path, name)]


COMMANDS = list(commands())


def fresh(*lines):
    code = "\n".join(("import sys", "from typer.testing import CliRunner", *lines))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_help_waits_for_no_library(tmp_path):
    """In one process, in this order: all help, then commands that need little."""
    (tmp_path / "hardness.csv").write_text(
        "case,hardness,probability,visits,drawn,last_epoch_seen,stalled\na,0.5,1,3,1,2,0\n"
    )
    (tmp_path / "hardness_epochs.csv").write_text("epoch,cases,ess\n0,1,1\n")
    assert len(COMMANDS) > 15
    found = fresh(
        "from hws_nnunet.commands.main import app",
        f"heavy = {HEAVY}",
        "there = lambda: [name for name in heavy if name in sys.modules]",
        "def run(*words):",
        "    done = CliRunner().invoke(app, words)",
        "    assert done.exit_code == 0, (words, done.output, done.exception)",
        f"for command in {COMMANDS}:",
        "    run(*command, '--help')",
        "    print(command, there())",
        "run('--version')",
        "run('trainers-path')",
        "print('trainers-path', there())",
        f"run('hardness', {str(tmp_path)!r})",
        "print('hardness', sorted({'torch', 'scipy', 'matplotlib', 'nibabel'} & set(there())))",
        f"run('watch', '--once', {str(tmp_path)!r})",
        "print('watch', sorted({'torch', 'scipy', 'matplotlib', 'nibabel'} & set(there())))",
    )
    assert [line for line in found if not line.endswith(" []")] == []
    assert len(found) == len(COMMANDS) + 3


def test_the_front_door_is_lazy_and_whole():
    found = fresh(
        "import hws_nnunet, hws_nnunet.datasets",
        "print('torch' in sys.modules, 'nibabel' in sys.modules)",
        "print(set(hws_nnunet.__all__) <= set(dir(hws_nnunet)))",
        "from hws_nnunet import Settings",
        "print('torch' in sys.modules, hasattr(hws_nnunet, 'nothing'))",
    )
    assert found == ["False False", "True", "False False"]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_examples_can_be_pasted(command):
    """They stand in the help as they stand in the docstring, on lines of their own, however narrow the terminal."""
    shown = CliRunner().invoke(cli.app, [*command, "--help"], terminal_width=60).output
    wanted = typer.main.get_command(cli.app)
    for name in command:
        wanted = wanted.commands[name]
    examples = re.findall(r"^ +(?:export |hws-nnunet |nnUNet).*$", wanted.help, flags=re.MULTILINE)
    assert examples
    lines = [line.strip() for line in shown.splitlines()]
    assert [line for line in examples if line.strip() not in lines] == []
    assert "\b" not in shown


def test_the_schemes_of_brats_are_explained():
    from hws_nnunet.datasets.brats_labels import SCHEMES

    shown = CliRunner().invoke(cli.app, ["prepare", "brats", "--help"]).output
    for name, scheme in SCHEMES.items():
        (line,) = re.findall(rf"^ +{name}  +(.*)$", shown, flags=re.MULTILINE)
        for old, new in scheme.label_map.items():
            assert not new or re.search(rf"\b{old} \w|the same", line), line


def test_summaries_are_not_cut_and_completion_is_offered():
    shown = CliRunner().invoke(cli.app, ["--help"]).output + CliRunner().invoke(cli.app, ["prepare", "--help"]).output
    assert not re.search(r"\w\.\.\.", shown)
    assert "--install-completion" in shown
    assert "of some size: microseconds" in " ".join(shown.split())


def test_the_packaged_settings_are_printed(tmp_path):
    from hws_nnunet.config import read_settings
    from hws_nnunet.files import packaged

    names = [file.stem for file in packaged("configs").glob("*.yaml")]
    told = CliRunner().invoke(cli.app, ["config", "--help"]).output
    assert all(f"'{name}'" in told for name in names)
    for words in ([], *([name] for name in names)):
        printed = CliRunner().invoke(cli.app, ["config", *words])
        assert printed.exit_code == 0, printed.exception
        file = packaged("configs", f"{(words or ['default'])[0]}.yaml")
        assert printed.output == file.read_text(encoding="utf-8")
        (tmp_path / "my.yaml").write_text(printed.output)
        assert read_settings(tmp_path / "my.yaml") == read_settings(file)
    error = CliRunner().invoke(cli.app, ["config", "liver"]).exception
    assert str(error) == "the package has no settings 'liver', expected one of: brats, default, fetal_brain"
