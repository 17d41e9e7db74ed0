"""The base of both hosts' mixins, over a host of a few lines."""

import pytest
import torch

from hws_nnunet.config import SettingsError
from hws_nnunet.facts.versions import STATE
from hws_nnunet.hosts.mixin import WeightingMixin


class Host:
    def print_to_log_file(self, *words):
        print(*words)

    def run_training(self):
        pass

    def save_checkpoint(self, file):
        torch.save({"net": [1.0]}, file)

    def load_checkpoint(self, file):
        with self._restored_sampler(file):
            torch.load(file, weights_only=True)


class Mixin(WeightingMixin):
    _weights = "net"
    _softmax = staticmethod(torch.softmax)

    def _structures(self):
        return {}


class Trainer(Mixin, Host):
    pass


def test_the_mixin_behind_its_host_is_refused():
    with pytest.raises(TypeError, match=r"class Mine\(Host, Mixin\) would not draw.*put the mixin before Host"):

        class Mine(Host, Mixin):
            pass

    class Other(Host):
        def run_training(self):
            super().run_training()

    with pytest.raises(TypeError, match="put the mixin before Other"):

        class MineToo(Other, Mixin):
            pass


@pytest.mark.parametrize("name", ["_weights", "_softmax", "_structures"])
def test_an_adapter_that_lacks_something_is_refused(name):
    names = {"_weights": "net", "_softmax": staticmethod(torch.softmax), "_structures": lambda trainer: {}}
    del names[name]
    incomplete = type("Incomplete", (WeightingMixin,), names)
    with pytest.raises(TypeError, match=rf"class Mine lacks {name}: hws_nnunet/hosts/contract.py tells"):
        type("Mine", (incomplete, Host), {})


def test_a_host_that_lacks_something_is_refused():
    class Silent:
        def run_training(self):
            pass

    with pytest.raises(TypeError, match=r"class Mine lacks print_to_log_file, save_checkpoint: hws_nnunet/hosts"):
        type("Mine", (Mixin, Silent), {})


def test_other_places_are_not():
    class Variant(Host):
        def run_training(self):
            super().run_training()

    class Longer:
        epochs = 5

    class OfVariant(Mixin, Variant):
        pass

    class Diamond(Variant, Trainer):  # both end at the host
        pass

    class Long(Longer, Trainer):
        pass

    for cls in (OfVariant, Diamond, Long):
        assert cls().sampler is None


def test_a_hook_before_there_are_data_is_told():
    with pytest.raises(RuntimeError, match="Trainer has no training data yet"):
        Trainer()._active()


def test_settings_are_read_when_they_are_asked_for_first(monkeypatch, tmp_path, capsys):
    file = tmp_path / "settings.yaml"
    monkeypatch.setenv("HWS_CONFIG", str(file))
    trainer = Trainer()
    trainer.save_checkpoint(tmp_path / "checkpoint.pth")
    trainer.load_checkpoint(tmp_path / "checkpoint.pth")
    with pytest.raises(SettingsError, match="cannot be read"):
        trainer.settings  # noqa: B018
    capsys.readouterr()
    file.write_text("ess: 0.3")
    assert trainer.settings.ess == 0.3
    file.unlink()
    assert trainer.settings.ess == 0.3
    assert capsys.readouterr().out.count(f"settings from {file} (HWS_CONFIG)") == 1


def save_under_another_name(self, file):
    torch.save({"net": [2.0]}, f"{file}.epoch3")


def save_something_else(self, file):
    torch.save({"parts": {"net": [1.0]}}, file)


def save_nothing(self, file):
    pass


def test_a_host_that_names_its_files_itself(monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("HWS_CONFIG", raising=False)
    monkeypatch.setattr(Host, "save_checkpoint", save_under_another_name)
    trainer = Trainer()
    trainer._weigh(["a", "b"])
    trainer.save_checkpoint(tmp_path / "checkpoint.pth")
    saved = torch.load(tmp_path / "checkpoint.pth.epoch3", weights_only=True)
    assert saved["net"] == [2.0]
    assert saved[STATE]["names"] == ["a", "b"]
    assert "WARNING" not in capsys.readouterr().out


@pytest.mark.parametrize("save", [save_something_else, save_nothing])
def test_a_state_that_was_not_saved_is_a_warning(monkeypatch, tmp_path, capsys, save):
    monkeypatch.delenv("HWS_CONFIG", raising=False)
    monkeypatch.setattr(Host, "save_checkpoint", save)
    trainer = Trainer()
    trainer.save_checkpoint(tmp_path / "checkpoint.pth")
    assert "WARNING" not in capsys.readouterr().out, "there is no state yet"
    trainer._weigh(["a", "b"])
    trainer.save_checkpoint(tmp_path / "checkpoint.pth")
    assert "WARNING: the sampler's state was not saved: Trainer did not call torch.save" in capsys.readouterr().out
    monkeypatch.setattr(Trainer, "_saves", lambda trainer: False)
    trainer.save_checkpoint(tmp_path / "checkpoint.pth")
    assert "WARNING" not in capsys.readouterr().out
