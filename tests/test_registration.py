import importlib.metadata
import importlib.util
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hws_nnunet import registration
from hws_nnunet.commands import main as cli
from hws_nnunet.facts import versions
from hws_nnunet.facts.versions import V1, V2
from tests import forks

run = CliRunner().invoke
NAMES = {
    "v1": "hws_nnunet.nnunetv1.trainer.HardnessWeightedTrainer",
    "v2": "hws_nnunet.nnunetv2.trainer.HardnessWeightedTrainer",
}


@pytest.fixture(params=[V1, V2], ids=["v1", "v2"])
def either(request):
    """A version of nnU-Net, which has to be installed."""
    if request.param not in versions.installed():
        pytest.skip(f"nnU-Net {request.param.version} is not installed")
    return request.param


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A stand-in for nnU-Net's trainer folders, so that the real ones stay as the user has them."""
    monkeypatch.setattr(versions.Host, "trainer_folder", lambda self: tmp_path)
    return tmp_path


@pytest.fixture
def real_file(either):
    """Our module in the real folder, put back afterwards as it was."""
    path = either.trainer_folder() / "hws_nnunet_trainers.py"
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


def find_in_a_fork(host, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "run", lambda command, **_: forks.run(command, merged=False))
        return registration.find(host)


@pytest.mark.slow
def test_nnunet_finds_what_is_registered_and_nothing_else_changes(either, real_file, monkeypatch):
    monkeypatch.delenv("nnUNet_extTrainer", raising=False)
    registration.unregister(either)
    with pytest.raises(registration.RegistrationError, match=r"nnU-Net v\d does not find HardnessWeightedTrainer"):
        find_in_a_fork(either, monkeypatch)
    before = set(real_file.parent.iterdir())
    registration.register(either)
    assert set(real_file.parent.iterdir()) - before == {real_file}
    assert registration.find(either) == NAMES[either.version]
    assert registration.unregister(either) == real_file
    assert registration.unregister(either) is None
    assert set(real_file.parent.iterdir()) == before


@pytest.mark.slow
@pytest.mark.parametrize("either", [V2], indirect=True, ids=["v2"])
def test_the_external_folder_does_too(either, real_file, monkeypatch):
    from packaging.version import Version

    if V2.check_version() < Version("2.8"):
        pytest.skip("nnUNet_extTrainer came with nnunetv2 2.8")
    registration.unregister(V2)
    monkeypatch.setenv("nnUNet_extTrainer", str(V2.trainers_path()))
    assert find_in_a_fork(V2, monkeypatch) == NAMES["v2"]


CODE = """
    import importlib.util, sys
    {before}
    spec = importlib.util.spec_from_file_location("registered", {path!r})
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert not hasattr(module, "nnUNetTrainer")
    loaded = [name for name in sys.modules if name.split(".")[0] in ("torch", "numpy", "nnunet", "nnunetv2")]
    assert not loaded, loaded
    {after}
"""
PATHS = [str(host.trainers_path() / "hws_nnunet_trainers.py") for host in (V1, V2)]
each_module = pytest.mark.parametrize("path", PATHS, ids=["v1", "v2"])


@each_module
def test_the_module_costs_nothing_until_it_is_asked(path):
    done = python(CODE.format(path=path, before="", after=""))
    assert done.returncode == 0, done.stderr


@each_module
@pytest.mark.parametrize("broken", ["raise ImportError('gone')", "1 / 0", None])
def test_it_never_breaks_nnunet_when_the_package_is_gone_or_broken(tmp_path, broken, path):
    if broken is None:
        before = "sys.modules['hws_nnunet'] = None  # as if it were not installed"
    else:
        (tmp_path / "hws_nnunet").mkdir()
        (tmp_path / "hws_nnunet" / "__init__.py").write_text(broken)
        before = f"sys.path.insert(0, {str(tmp_path)!r})"
    done = python(CODE.format(path=path, before=before, after="module.HardnessWeightedTrainer"))
    assert done.returncode == 1
    assert "ImportError: HardnessWeightedTrainer needs hws-nnunet, which cannot be imported" in done.stderr
    assert "pip install" in done.stderr
    assert f"or remove {path}" in done.stderr


@each_module
@pytest.mark.parametrize(
    ("name", "error", "told"),
    [
        ("HardnesWeightedTrainer", "RuntimeError('no trainer')", True),
        ("HardnessWeightedTrainer_10epochs", "RuntimeError('no trainer')", True),
        ("HardnessWeightedTrainer_10epochs", "RuntimeError('out of memory')", False),  # it was somebody's own
        ("nnUNetTrainer", "RuntimeError('no trainer')", False),
    ],
)
def test_a_misspelt_name_is_told_below_nnunets_error(path, name, error, told):
    done = python(CODE.format(path=path, before="", after=f"hasattr(module, {name!r}); raise {error}"))
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"hws-nnunet has no trainer {name}; it has HardnessWeightedTrainer, ") == told
    assert (last == error.replace("('", ": ").replace("')", "")) == (not told)


def test_all_names_lead_somewhere(either):
    spec = importlib.util.spec_from_file_location("registered", either.trainers_path() / "hws_nnunet_trainers.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    trainer = importlib.import_module(f"hws_nnunet.nnunet{either.version}.trainer")
    made = {name for name in dir(trainer) if name.startswith("HardnessWeightedTrainer")}
    assert made == set(module._TRAINERS)
    for name in (*module._TRAINERS, *module._DEMO):
        assert getattr(module, name).__name__ == name


def test_a_file_that_is_not_ours_stays(folder, either):
    target = folder / "hws_nnunet_trainers.py"
    target.write_text("somebody's own")
    for change in (registration.register, registration.unregister):
        with pytest.raises(registration.RegistrationError, match="is not ours"):
            change(either)
    assert target.read_text() == "somebody's own"


def test_registering_twice_renews_the_module(folder, either):
    target = registration.register(either)
    target.write_text(target.read_text() + "# older\n")
    registration.register(either)
    assert "older" not in target.read_text()


@pytest.mark.parametrize(
    ("either", "instead"),
    [(V1, "in an environment of your own"), (V2, "export nnUNet_extTrainer=$(hws-nnunet trainers-path v2)")],
    indirect=["either"],
    ids=["v1", "v2"],
)
def test_a_folder_that_cannot_be_written(folder, monkeypatch, either, instead):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "write_text", refuse)
    monkeypatch.setattr(versions, "installed", lambda: [either])
    result = run(cli.app, ["register"])
    assert isinstance(result.exception, registration.RegistrationError)
    assert instead in str(result.exception)
    assert not list(folder.iterdir())


def test_an_older_nnunet_is_refused(monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1.6.5" if name == "nnunet" else "2.5.2")
    with pytest.raises(RuntimeError, match=r"nnunetv2 2\.5\.2 is installed, .* needs 2\.6 or newer"):
        V2.check_version()
    with pytest.raises(RuntimeError, match=r"nnunet 1\.6\.5 is installed, .* needs 1\.7\.1"):
        V1.check_version()
    for host in (V1, V2):
        with pytest.raises(RuntimeError, match="is installed"):
            registration.register(host)


def test_no_nnunet(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", missing)
    with pytest.raises(RuntimeError, match="nnU-Net v2 is not installed: pip install"):
        V2.check_version()
    with pytest.raises(RuntimeError, match="nnU-Net v1 is not installed: pip install"):
        V1.check_version()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert versions.installed() == []
    assert "no nnU-Net is installed" in str(run(cli.app, ["register"]).exception)


@pytest.mark.parametrize("host", [V1, V2], ids=["v1", "v2"])
def test_trainers_path(host):
    result = run(cli.app, ["trainers-path", host.version])
    assert result.stdout.strip() == str(host.trainers_path())
    assert (host.trainers_path() / "hws_nnunet_trainers.py").is_file()
