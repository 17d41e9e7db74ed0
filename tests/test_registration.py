import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hws_nnunet import cli, registration
from hws_nnunet.nnunetv2 import host

nnunetv2 = pytest.importorskip("nnunetv2", reason="nnU-Net v2 is not installed")
run = CliRunner().invoke


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A stand-in for nnU-Net's trainer folder, so that the real one stays as the user has it."""
    monkeypatch.setattr(registration, "trainer_folder", lambda: tmp_path)
    return tmp_path


@pytest.fixture
def installed():
    """The real folder, put back afterwards as it was."""
    path = registration.trainer_folder() / "hws_nnunet_trainers.py"
    before = path.read_bytes() if path.exists() else None
    yield path
    if before is None:
        path.unlink(missing_ok=True)
    else:
        path.write_bytes(before)


def python(code, **env):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **env},
    )


@pytest.mark.slow
def test_nnunet_finds_what_is_registered_and_nothing_else_changes(installed, monkeypatch):
    monkeypatch.delenv("nnUNet_extTrainer", raising=False)
    registration.unregister()
    with pytest.raises(registration.RegistrationError, match="nnU-Net does not find HardnessWeightedTrainer"):
        registration.find()
    before = set(installed.parent.iterdir())
    registration.register()
    assert set(installed.parent.iterdir()) - before == {installed}
    assert registration.find() == "hws_nnunet.nnunetv2.trainer.HardnessWeightedTrainer"
    assert registration.unregister() == installed
    assert registration.unregister() is None
    assert set(installed.parent.iterdir()) == before


@pytest.mark.slow
def test_the_external_folder_does_too(installed):
    from packaging.version import Version

    if host.check_version() < Version("2.8"):
        pytest.skip("nnUNet_extTrainer came with nnunetv2 2.8")
    registration.unregister()
    done = python(registration._FIND, nnUNet_extTrainer=str(registration.trainers_path()))
    assert "found hws_nnunet.nnunetv2.trainer HardnessWeightedTrainer" in done.stdout, done.stderr


CODE = """
    import importlib.util, sys
    {before}
    spec = importlib.util.spec_from_file_location("registered", {path!r})
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert not hasattr(module, "nnUNetTrainer")
    loaded = [name for name in sys.modules if name.split(".")[0] in ("torch", "numpy", "nnunetv2")]
    assert not loaded, loaded
    {after}
"""
PATH = str(registration.trainers_path() / "hws_nnunet_trainers.py")


def test_the_module_costs_nothing_until_it_is_asked():
    done = python(CODE.format(path=PATH, before="", after=""))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("broken", ["raise ImportError('gone')", "1 / 0", None])
def test_it_never_breaks_nnunet_when_the_package_is_gone_or_broken(tmp_path, broken):
    if broken is None:
        before = "sys.modules['hws_nnunet'] = None  # as if it were not installed"
    else:
        (tmp_path / "hws_nnunet").mkdir()
        (tmp_path / "hws_nnunet" / "__init__.py").write_text(broken)
        before = f"sys.path.insert(0, {str(tmp_path)!r})"
    done = python(CODE.format(path=PATH, before=before, after="module.HardnessWeightedTrainer"))
    assert done.returncode == 1
    assert "ImportError: HardnessWeightedTrainer needs hws-nnunet, which cannot be imported" in done.stderr
    assert "pip install" in done.stderr
    assert f"or remove {PATH}" in done.stderr


def test_all_names_lead_somewhere():
    from hws_nnunet.nnunetv2 import trainer

    text = Path(PATH).read_text()
    names = [name for name in dir(trainer) if name.startswith("HardnessWeightedTrainer")]
    assert len(names) == 4
    for name in names:
        assert f'"{name}"' in text


def test_a_file_that_is_not_ours_stays(folder):
    target = folder / "hws_nnunet_trainers.py"
    target.write_text("somebody's own")
    for change in (registration.register, registration.unregister):
        with pytest.raises(registration.RegistrationError, match="is not ours"):
            change()
    assert target.read_text() == "somebody's own"


def test_registering_twice_renews_the_module(folder):
    target = registration.register()
    target.write_text(target.read_text() + "# older\n")
    registration.register()
    assert "older" not in target.read_text()


def test_a_folder_that_cannot_be_written(folder, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "write_text", refuse)
    result = run(cli.app, ["register"])
    assert isinstance(result.exception, registration.RegistrationError)
    assert "export nnUNet_extTrainer=$(hws-nnunet trainers-path v2)" in str(result.exception)
    assert not list(folder.iterdir())


def test_an_older_nnunet_is_refused(monkeypatch):
    monkeypatch.setattr(host.importlib.metadata, "version", lambda name: "2.5.2")
    with pytest.raises(RuntimeError, match=r"nnunetv2 2\.5\.2 is installed, .* needs 2\.6 or newer"):
        host.check_version()
    with pytest.raises(RuntimeError, match=r"needs 2\.6 or newer"):
        registration.register()


def test_no_nnunet(monkeypatch):
    def missing(name):
        raise host.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(host.importlib.metadata, "version", missing)
    with pytest.raises(RuntimeError, match="nnU-Net v2 is not installed: pip install"):
        host.check_version()


def test_trainers_path():
    result = run(cli.app, ["trainers-path", "v2"])
    assert result.stdout.strip() == str(registration.trainers_path())
    assert (registration.trainers_path() / "hws_nnunet_trainers.py").is_file()
