import json

import pytest
from typer.testing import CliRunner

from hws_nnunet import registration
from hws_nnunet.commands import main as cli
from hws_nnunet.facts import versions
from hws_nnunet.facts.versions import V1, V2

run = CliRunner().invoke


@pytest.fixture
def sound(tmp_path, monkeypatch):
    """An installation in which everything that is required holds."""
    for name in {name for host in versions.HOSTS.values() for name in host.variables}:
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.delenv("HWS_CONFIG", raising=False)
    monkeypatch.setattr(versions, "installed", lambda: list(versions.HOSTS.values()))
    monkeypatch.setattr(versions.Host, "check_version", lambda host: {"v1": "1.7.1", "v2": "2.8.1"}[host.version])
    monkeypatch.setattr(registration, "find", lambda host: f"hws_nnunet.nnunet{host.version}.trainer")
    return tmp_path


def failures(result):
    return [line.removeprefix("todo").strip() for line in result.output.splitlines() if line.startswith("todo")]


def to_do(result):
    """Return the lines of the list at the end."""
    return result.output.partition("to do, in this order:\n")[2].replace("  ", "").splitlines()


def test_a_sound_installation(sound):
    result = run(cli.app, ["doctor"])
    assert result.exit_code == 0, result.output
    assert failures(result) == []
    assert "all that is required holds" in result.output


def test_a_command_that_knows_no_other_folders_is_told(sound, monkeypatch):
    monkeypatch.setenv("nnUNet_extTrainer", str(sound))
    monkeypatch.setattr(versions.Host, "trainer_folder", lambda host: sound / host.version)
    assert "nnUNetv2_train_pretrained" not in run(cli.app, ["doctor"]).output, "nnU-Net 2.8.1 does not have it"
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **of: of["name"] == "nnUNetv2_train_pretrained")
    result = run(cli.app, ["doctor", "--nnunet", "v2"])
    assert result.exit_code == 0, result.output
    assert "note  nnUNetv2_train_pretrained: looks for trainers in nnU-Net's own folder alone" in result.output
    assert f"PretrainedTrainer into {sound / 'v2'}" in result.output
    monkeypatch.delenv("nnUNet_extTrainer")
    assert "nnUNetv2_train_pretrained" not in run(cli.app, ["doctor"]).output


def test_json(sound):
    checks = json.loads(run(cli.app, ["doctor", "--json"]).output)
    assert {"name", "ok", "found", "remedy", "required"} == set(checks[0])
    assert [check["name"] for check in checks][:6] == [
        "Python",
        "torch",
        "nnU-Net v1",
        "discovery v1",
        "nnU-Net v2",
        "discovery v2",
    ]


@pytest.mark.parametrize("there", ["v1", "v2"])
def test_one_version_will_do(sound, monkeypatch, there):
    monkeypatch.setattr(versions, "installed", lambda: [versions.HOSTS[there]])
    for name in set(V1.variables + V2.variables) - set(versions.HOSTS[there].variables):
        monkeypatch.delenv(name)
    result = run(cli.app, ["doctor"])
    assert result.exit_code == 0, result.output
    assert "not installed; either version will do" in result.output


@pytest.mark.parametrize("used", ["v1", "v2"])
def test_the_version_that_is_not_in_use_is_a_note(sound, monkeypatch, used):
    """Both are installed: only one has folders, and only one is registered."""
    for name in set(V1.variables + V2.variables) - set(versions.HOSTS[used].variables):
        monkeypatch.delenv(name)

    def find(host):
        if host.version != used:
            raise registration.RegistrationError("nnU-Net does not find HardnessWeightedTrainer")
        return "found"

    monkeypatch.setattr(registration, "find", find)
    other = "v1" if used == "v2" else "v2"
    result = run(cli.app, ["doctor"])
    assert result.exit_code == 0, result.output
    assert f"note  discovery {other}" in result.output
    assert f"so nnU-Net {other} is not in use" in result.output
    asked = run(cli.app, ["doctor", "--nnunet", used])
    assert asked.exit_code == 0, asked.output
    assert other not in asked.output.replace("hws_nnunet", "")
    asked = run(cli.app, ["doctor", "--nnunet", other])
    assert asked.exit_code == 1
    assert failures(asked)[0].split(":")[0] == f"discovery {other}"
    assert "is not set" in asked.output


def test_nothing_is_set(sound, monkeypatch):
    for name in V1.variables + V2.variables:
        monkeypatch.delenv(name, raising=False)
    result = run(cli.app, ["doctor"])
    assert result.exit_code == 1
    assert to_do(result) == [
        "export nnUNet_raw=~/nnunet/raw; mkdir -p $nnUNet_raw",
        "export nnUNet_preprocessed=~/nnunet/preprocessed; mkdir -p $nnUNet_preprocessed",
        "export nnUNet_results=~/nnunet/results; mkdir -p $nnUNet_results",
        "# the exports last if they stand in ~/.bashrc, too",
        "hws-nnunet doctor",
    ], "of two versions, none of which is in use, v2's alone"
    assert "so nnU-Net v1 is not in use" in result.output
    asked = to_do(run(cli.app, ["doctor", "--nnunet", "v1"]))
    assert asked[0] == "export nnUNet_raw_data_base=~/nnunet/raw; mkdir -p $nnUNet_raw_data_base"


def test_the_version_asked_for_is_not_installed(sound, monkeypatch):
    monkeypatch.setattr(versions, "installed", lambda: [versions.V2])
    result = run(cli.app, ["doctor", "--nnunet", "v1"])
    assert failures(result) == ["nnU-Net: v1 is not installed"]
    assert "pip install -U 'hws-nnunet[nnunetv1]'" in result.output


def test_neither(sound, monkeypatch):
    monkeypatch.setattr(versions, "installed", list)
    result = run(cli.app, ["doctor"])
    assert result.exit_code == 1
    assert "neither v2 nor v1 is installed" in result.output


def test_every_failure_has_its_mend(sound, monkeypatch):
    def not_found(host):
        raise registration.RegistrationError("nnU-Net does not find HardnessWeightedTrainer")

    def too_old(host):
        if host.version == "v1":
            return "1.7.1"
        raise RuntimeError("nnunetv2 2.5.2 is installed, hardness weighted sampling needs 2.6 or newer")

    monkeypatch.setattr(registration, "find", not_found)
    monkeypatch.setattr(versions.Host, "check_version", too_old)
    monkeypatch.delenv("nnUNet_raw")
    monkeypatch.setenv("nnUNet_results", str(sound / "nowhere"))
    bad = sound / "bad.yaml"
    bad.write_text("betta: 1")
    monkeypatch.setenv("HWS_CONFIG", str(bad))
    result = run(cli.app, ["doctor"])
    assert result.exit_code == 1
    assert [line.split(":")[0] for line in failures(result)] == [
        "discovery v1",
        "nnU-Net v2",
        "nnUNet_raw",
        "nnUNet_results",
        "settings",
    ]
    assert to_do(result) == [
        "hws-nnunet register",
        "pip install -U 'hws-nnunet[nnunetv2]'",
        "export nnUNet_raw=~/nnunet/raw; mkdir -p $nnUNet_raw",
        f"mkdir -p {sound / 'nowhere'}",
        "# settings: correct that file, or unset HWS_CONFIG",
        "# the exports last if they stand in ~/.bashrc, too",
        "hws-nnunet doctor",
    ]


def test_no_shared_memory(sound, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr("hws_nnunet.core.HardnessTable", refuse)
    result = run(cli.app, ["doctor"])
    assert result.exit_code == 1
    assert "docker run --shm-size" in result.output
