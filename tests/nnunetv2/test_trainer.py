"""The trainer against nnU-Net's own, in one process under one seed, and its refusals."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

pytest.importorskip("nnunetv2", reason="nnU-Net v2 is not installed")
from hws_nnunet.facts.versions import STATE
from tests.workspaces import first_difference

STEPS = 6
HOSTS = [(1, "3d_small"), (1, "2d_small"), (2, "3d_small")]
SCRIPT = Path(__file__).with_name("train_steps.py")
NEUTRAL = {"beta": 0, "structure_beta": 0}
PAPER = {"smoothing": 0.0, "ess": 0.0, "beta": 3.0, "draw_by": "dice_ce"}
STRUCTURES = {"structure_beta": 2.0}
STOCK = [("ShortStock", dataset, configuration, None) for dataset, configuration in HOSTS]
OURS = [("ShortHardnessWeighted", dataset, configuration, NEUTRAL) for dataset, configuration in HOSTS]
WEIGHTED = [
    ("ShortHardnessWeighted", 1, "3d_small", settings)
    for settings in ({}, STRUCTURES, {"beta": 0, **STRUCTURES}, PAPER)
]
AGAIN = [("ShortHardnessWeighted", 1, "3d_small", {"ess": 0.8}), ("ShortHardnessWeighted", 2, "3d_small", {})]
POISONED = [("ShortStockPoisoned", 1, "3d_small", None), ("ShortPoisoned", 1, "3d_small", NEUTRAL)]
ALL = STOCK + OURS + WEIGHTED + AGAIN + POISONED


@pytest.fixture(scope="module")
def steps(workspace):
    """Run all of the above, one after the other in one fresh process; return what to look results up with."""
    jobs, results = [], {}
    for number, (trainer, dataset, configuration, settings) in enumerate(ALL):
        config = None
        if settings is not None:
            config = workspace.root / f"settings{number}.yaml"
            config.write_text(yaml.safe_dump(settings))
        jobs.append(
            {
                "trainer": trainer,
                "dataset": dataset,
                "configuration": configuration,
                "steps": STEPS,
                "config": config and str(config),
                "out": str(workspace.root / f"steps{number}.pth"),
            }
        )
    file = workspace.root / "jobs.json"
    file.write_text(json.dumps(jobs))
    root = str(Path(__file__).parents[2])
    workspace.run(sys.executable, SCRIPT, file, nnUNet_n_proc_DA="0", PYTHONPATH=root)
    for key, job in zip(ALL, jobs, strict=True):
        results[str(key)] = torch.load(job["out"], weights_only=True)

    def result(trainer="ShortHardnessWeighted", dataset=1, configuration="3d_small", settings=None):
        return results[str((trainer, dataset, configuration, settings))]

    return result


@pytest.mark.slow
@pytest.mark.parametrize(("dataset", "configuration"), HOSTS)
def test_neutral_settings_equal_stock_nnunet_bit_for_bit(steps, dataset, configuration):
    stock = steps("ShortStock", dataset, configuration)
    neutral = steps("ShortHardnessWeighted", dataset, configuration, NEUTRAL)
    assert first_difference(stock, neutral) is None
    assert neutral["state"]["version"] == STEPS, "losses are tracked all the same"
    assert neutral["state"]["visits"].sum() == sum(len(batch["keys"]) for batch in neutral["batches"])


@pytest.mark.slow
def test_steps_that_are_not_finite_leave_the_table_valid_and_the_training_what_it_is(steps):
    stock, ours = steps("ShortStockPoisoned"), steps("ShortPoisoned", settings=NEUTRAL)
    losses = [[batch["loss"] for batch in run["batches"]] for run in (stock, ours)]
    assert losses[0][:2] == losses[1][:2]
    assert np.isnan(losses[0][3:]).all(), "from then on; a CPU has no gradient scaler that leaves such steps out"
    assert np.isnan(losses[1][3:]).all()
    for name, weight in stock["weights"].items():
        assert weight.numpy().tobytes() == ours["weights"][name].numpy().tobytes()
    assert ours["fault"] == ""
    assert ours["state"]["version"] == STEPS


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, STRUCTURES, {"beta": 0, **STRUCTURES}])
def test_with_weighting_on_they_differ(steps, settings):
    weighted = steps(settings=settings)
    assert first_difference(steps("ShortStock"), weighted) is not None
    assert weighted["fault"] == ""
    # the first batch is thrown away by the host; then each batch is answered before the next is drawn
    assert [batch["version"] for batch in weighted["batches"]] == list(range(STEPS))


@pytest.mark.slow
def test_a_single_process_repeats_itself_under_a_seed(steps):
    assert first_difference(steps(settings={}), steps(settings={"ess": 0.8})) is None
    assert steps(dataset=2, settings={})["fault"] == ""


@pytest.mark.slow
def test_recorded_losses_average_to_the_hosts(steps):
    """With three stages the host weighs its full resolution alone, and these plans have no batch Dice."""
    state = steps(settings=PAPER)["state"]
    hardness = dict(zip(state["names"], (state["offset"] + state["level"]).tolist(), strict=True))
    last = steps(settings=PAPER)["batches"][-1]
    mean = sum(hardness[key] for key in last["keys"]) / len(last["keys"])
    assert mean == pytest.approx(last["loss"], abs=1e-4)


@pytest.mark.slow
def test_bad_settings_end_the_command_before_it_trains(workspace):
    file = workspace.root / "bad.yaml"
    file.write_text("betta: 3\ness: -1")
    command = ("nnUNetv2_train", 1, "3d_small", 2, "-tr", "ShortHardnessWeighted", "-device", "cpu")
    done = workspace.run(*command, check=False, HWS_CONFIG=str(file))
    assert done.returncode != 0
    assert f"settings from {file}: 2 faults" in done.stdout
    assert "unknown setting 'betta'; did you mean 'beta'?" in done.stdout
    fold = workspace.fold(1, "ShortHardnessWeighted", fold=2)
    assert not [file for file in fold.iterdir() if not file.name.startswith("training_log")], "a log is all there is"


def test_settings_are_read_for_training_alone(workspace, monkeypatch):
    """A file that is not there does not stop ``--val``, but each training."""
    from nnunetv2.run.run_training import maybe_load_checkpoint

    from hws_nnunet.config import SettingsError
    from hws_nnunet.nnunetv2.trainer import HardnessWeightedTrainer

    class ReadsSettings(HardnessWeightedTrainer):
        """A name, and so a folder, of its own."""

    trainer = trainer_of(workspace, monkeypatch, ReadsSettings)
    trainer.initialize()
    trainer.get_dataloaders()
    trainer.save_checkpoint(f"{trainer.output_folder}/checkpoint_final.pth")
    validating = trainer_of(workspace, monkeypatch, ReadsSettings, config="settings/not_here.yaml")
    maybe_load_checkpoint(validating, continue_training=False, validation_only=True)
    assert "not_here" not in Path(validating.log_file).read_text()
    training = trainer_of(workspace, monkeypatch, ReadsSettings, config="settings/not_here.yaml")
    monkeypatch.setattr(training, "initialize", lambda: pytest.fail("the long work began"))
    with pytest.raises(SettingsError, match=r"settings from settings/not_here.yaml: 1 fault\n  - cannot be read"):
        training.run_training()


def trainer_of(workspace, monkeypatch, cls, config=None):
    """Make a trainer in this process."""
    from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as module

    for name in ("nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, workspace.env[name])
        if not hasattr(getattr(module, name), "is_set"):  # before 2.8 these are plain strings, read on import
            monkeypatch.setattr(module, name, workspace.env[name])
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    monkeypatch.delenv("HWS_CONFIG", raising=False)
    if config is not None:
        monkeypatch.setenv("HWS_CONFIG", config)
    folder = workspace.preprocessed(1)
    plans = json.loads((folder / "nnUNetPlans.json").read_text())
    plans |= {"continue_training": False, "pretrain_info": {"checkpoint_path": None}}  # fine-tuning, after 2.8.1
    dataset = json.loads((folder / "dataset.json").read_text())
    return cls(plans, "3d_small", 0, dataset, torch.device("cpu"))


def test_variants_by_nnunets_convention():
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    from hws_nnunet.nnunetv2 import trainer

    for epochs in (5, 50, 250):
        cls = getattr(trainer, f"HardnessWeightedTrainer_{epochs}epochs")
        assert issubclass(cls, trainer.HardnessWeightedTrainer)
        assert issubclass(cls, nnUNetTrainer)
    assert "__init__" not in vars(trainer.HardnessWeightingMixin)


@pytest.mark.parametrize("epochs", [5, 50, 250])
def test_variant_takes_nnunets_arguments(workspace, monkeypatch, epochs):
    from hws_nnunet.nnunetv2 import trainer as module

    trainer = trainer_of(workspace, monkeypatch, getattr(module, f"HardnessWeightedTrainer_{epochs}epochs"))
    assert trainer.num_epochs == epochs
    assert trainer.num_iterations_per_epoch == 250
    assert set(trainer.my_init_kwargs) == {"plans", "configuration", "fold", "dataset_json", "device"}


def test_a_trainer_with_another_loader_is_refused(workspace, monkeypatch):
    from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
    from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as module

    from hws_nnunet.nnunetv2.trainer import HardnessWeightedTrainer

    class OtherLoader(nnUNetDataLoader):
        pass

    monkeypatch.setattr(module, "nnUNetDataLoader", OtherLoader)
    trainer = trainer_of(workspace, monkeypatch, HardnessWeightedTrainer)
    trainer.initialize()
    with pytest.raises(RuntimeError, match="built its training data from OtherLoader, which does not draw by hardness"):
        trainer.get_dataloaders()
    assert module.nnUNetDataLoader is OtherLoader, "what is replaced is put back"


def test_a_trainer_that_wraps_get_dataloaders_in_a_forgotten_module(workspace, monkeypatch):
    """nnU-Net 2.8 drops external trainers' modules from sys.modules once it has found them."""
    from hws_nnunet.nnunetv2.trainer import HardnessWeightedTrainer

    code = "class Mine(Base):\n    def get_dataloaders(self):\n        return super().get_dataloaders()\n"
    names = {"Base": HardnessWeightedTrainer, "__name__": "a_module_that_is_gone"}
    exec(code, names)
    trainer = trainer_of(workspace, monkeypatch, names["Mine"])
    trainer.initialize()
    training, _ = trainer.get_dataloaders()
    assert "hws_drawn" in next(training)


def test_data_sets_and_loaders_that_are_made_again_leave_what_was_learnt(workspace, monkeypatch):
    from hws_nnunet.nnunetv2.trainer import HardnessWeightedTrainer

    trainer = trainer_of(workspace, monkeypatch, HardnessWeightedTrainer)
    trainer.initialize()
    training, _ = trainer.get_dataloaders()
    trainer.train_step(next(training))
    trainer.get_tr_and_val_datasets()  # a trainer of one's own may look at them
    trainer.train_step(next(training))
    assert training.data_loader.draws.table.version == 2, "losses reach the table that is drawn from"
    training, _ = trainer.get_dataloaders()
    trainer.train_step(next(training))
    assert training.data_loader.draws.table.version == trainer.sampler.table.version == 3


def test_a_case_listed_twice_counts_once(workspace, monkeypatch, capsys):
    from hws_nnunet.nnunetv2.trainer import HardnessWeightedTrainer

    trainer = trainer_of(workspace, monkeypatch, HardnessWeightedTrainer)
    trainer.initialize()
    split = trainer.do_split()
    trainer.do_split = lambda: ([*split[0], split[0][0], split[0][0]], split[1])
    training, _ = trainer.get_dataloaders()
    assert "lists 2 cases more than once" in capsys.readouterr().out
    assert trainer.sampler.table.names == tuple(split[0])
    for _ in range(len(split[0])):
        trainer._lags = []
        trainer.train_step(next(training))
    assert trainer.sampler.table.weighted


def test_cases_that_were_added_after_the_folds_are_told(workspace, monkeypatch, capsys):
    from hws_nnunet.nnunetv2.trainer import HardnessWeightedTrainer

    trainer = trainer_of(workspace, monkeypatch, HardnessWeightedTrainer)
    trainer.initialize()
    training, validation = trainer.do_split()
    trainer.get_tr_and_val_datasets()
    assert "preprocessed cases" not in capsys.readouterr().out
    trainer.do_split = lambda: (training[1:], validation[1:])
    trainer.get_tr_and_val_datasets()
    told = capsys.readouterr().out
    assert (
        f"2 of {len(training + validation)} preprocessed cases: {', '.join(sorted([training[0], validation[0]]))}."
        in told
    )
    assert "splits_final.json" in told


def test_host_names_are_put_back_and_checkpoints_whole(workspace, monkeypatch, tmp_path):
    from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as module

    from hws_nnunet.nnunetv2.trainer import HardnessWeightedTrainer

    before = torch.save, torch.load, module.nnUNetDataLoader
    trainer = trainer_of(workspace, monkeypatch, HardnessWeightedTrainer)
    trainer.initialize()
    trainer.get_dataloaders()
    file = tmp_path / "checkpoint.pth"
    trainer.save_checkpoint(str(file))
    assert (torch.save, torch.load, module.nnUNetDataLoader) == before
    whole = file.read_bytes()

    def fail(checkpoint, target, *args, **kwargs):
        Path(target).write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="no space left"):
        trainer.save_checkpoint(str(file))
    monkeypatch.undo()
    assert file.read_bytes() == whole
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pth"]
    checkpoint = torch.load(file, weights_only=False)
    assert checkpoint["trainer_name"] == "HardnessWeightedTrainer"
    assert checkpoint[STATE]["settings"]["ess"] == 0.8
    torch.save(checkpoint[STATE], tmp_path / "state.pth")
    torch.load(tmp_path / "state.pth", weights_only=True)


def test_the_sampler_resumes_with_the_checkpoint(workspace, monkeypatch, tmp_path):
    from hws_nnunet.nnunetv2.trainer import HardnessWeightedTrainer
    from tests.core.test_sampler import assert_same_state

    trainer = trainer_of(workspace, monkeypatch, HardnessWeightedTrainer)
    trainer.initialize()
    training, _ = trainer.get_dataloaders()
    for _ in range(8):
        trainer._lags = []
        trainer.train_step(next(training))
    state = trainer.sampler.state_dict()
    assert state["weighted"]
    file = str(tmp_path / "checkpoint.pth")
    trainer.save_checkpoint(file)
    resumed = trainer_of(workspace, monkeypatch, HardnessWeightedTrainer)
    resumed.load_checkpoint(file)
    assert resumed.sampler is None, "the table does not exist yet"
    resumed.save_checkpoint(str(tmp_path / "again.pth"))  # what waits is not lost
    again = torch.load(tmp_path / "again.pth", weights_only=False)[STATE]
    assert again.pop("record")["epochs"] == []
    assert again.pop("made_by")["patch size"] == "16 x 16 x 16"
    assert_same_state(again, state)
    resumed.get_dataloaders()
    assert_same_state(resumed.sampler.state_dict(), state)


def test_a_stock_checkpoint_starts_the_sampler_anew(workspace, monkeypatch, tmp_path, capsys):
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    from hws_nnunet.nnunetv2.trainer import HardnessWeightedTrainer

    stock = trainer_of(workspace, monkeypatch, nnUNetTrainer)
    stock.initialize()
    stock.save_checkpoint(str(tmp_path / "stock.pth"))
    trainer = trainer_of(workspace, monkeypatch, HardnessWeightedTrainer)
    trainer.load_checkpoint(str(tmp_path / "stock.pth"))
    assert "holds no state of hardness weighted sampling" in capsys.readouterr().out
    trainer.get_dataloaders()
    assert trainer.sampler.table.unseen == len(trainer.sampler)


class Squares(torch.nn.Module):
    """Of one resolution: per sample, the mean square of the output."""

    def forward(self, output, target):
        return (output**2).mean()


def losses_of_steps(trainer, loss_of_step, steps=3):
    """Take steps, before each give the trainer a loss; return the largest gap between loss and recorded losses."""
    trainer.initialize()
    training, _ = trainer.get_dataloaders()
    trainer.loss.weight_factors = (1.0, *[0.0] * (len(trainer.loss.weight_factors) - 1))  # the full resolution alone
    gaps = []
    for step in range(steps):
        loss_of_step(trainer, step)
        batch = next(training)
        value = float(trainer.train_step(batch)["loss"])
        recorded = trainer.sampler.table.hardness[batch["hws_drawn"].ids]
        gaps.append(abs(float(recorded.mean()) - value))
    return max(gaps)


@pytest.mark.parametrize("where", ["build", "initialize", "later", "weight"])
def test_a_loss_of_the_trainers_own_is_recorded(workspace, monkeypatch, where):
    from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper

    from hws_nnunet.hosts.recorder import LossRecorder
    from hws_nnunet.nnunetv2.trainer import HardnessWeightedTrainer

    def made():
        return DeepSupervisionWrapper(Squares(), [1.0, 0.0])

    class Mine(HardnessWeightedTrainer):
        hws_settings = {"smoothing": 0.0, "draw_by": "dice_ce"}  # noqa: RUF012 - as users write it

        def _build_loss(self):
            return made() if where == "build" else super()._build_loss()

        def initialize(self):
            super().initialize()
            if where == "initialize":
                self.loss = made()

    def later(trainer, step):
        if where == "later" and step == 1:
            trainer.loss = made()
        if where == "weight":
            trainer.loss.loss.weight_ce = float(step)

    trainer = trainer_of(workspace, monkeypatch, Mine)
    assert losses_of_steps(trainer, later) < 1e-4
    assert isinstance(trainer.loss, LossRecorder)
    if where != "weight":
        assert isinstance(trainer.loss.host_loss.loss, Squares)


@pytest.mark.parametrize("variant", ["nnUNetTrainerCELoss", "nnUNetTrainerTopk10Loss", "nnUNetTrainerDiceTopK10Loss"])
def test_variants_of_the_loss(workspace, monkeypatch, variant):
    from hws_nnunet.nnunetv2 import host
    from hws_nnunet.nnunetv2.trainer import HardnessWeightingMixin

    settings = {"smoothing": 0.0, "draw_by": "dice_ce"}
    mine = type("Mine", (HardnessWeightingMixin, host.find_trainer(variant)), {"hws_settings": settings})
    trainer = trainer_of(workspace, monkeypatch, mine)
    trainer.initialize()
    batch = next(trainer.get_dataloaders()[0])
    host_loss, expected = trainer.loss, []
    forward = trainer.network.forward

    def watched(data):
        output = forward(data)
        with torch.no_grad():
            expected[:] = [
                float(host_loss([one[i : i + 1] for one in output], [one[i : i + 1] for one in batch["target"]]))
                for i in range(len(data))
            ]
        return output

    trainer.network.forward = watched
    trainer.train_step(batch)
    found = trainer.sampler.table.hardness[batch["hws_drawn"].ids]
    assert found.tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("settings", [{}, {"draw_by": "dice_ce"}])
def test_a_step_in_parts_is_refused(workspace, monkeypatch, settings):
    from hws_nnunet.nnunetv2.trainer import HardnessWeightedTrainer, HardnessWeightingMixin, nnUNetTrainer

    class InParts(nnUNetTrainer):
        def train_step(self, batch):
            for i in range(len(batch["data"])):
                part = {"data": batch["data"][i : i + 1], "target": [t[i : i + 1] for t in batch["target"]]}
                result = super().train_step(part)
            return result

    class Mine(HardnessWeightingMixin, InParts):
        hws_settings = settings

    trainer = trainer_of(workspace, monkeypatch, Mine)
    with pytest.raises(RuntimeError, match=r"called its loss on 1 sample, and the batch holds 2"):
        losses_of_steps(trainer, lambda trainer, step: None)

    class Without(HardnessWeightedTrainer):
        pass

    trainer = trainer_of(workspace, monkeypatch, Without)
    monkeypatch.setattr(nnUNetTrainer, "train_step", lambda self, batch: {"loss": 0.0})
    with pytest.raises(RuntimeError, match="needs a training step that calls the trainer's loss"):
        losses_of_steps(trainer, lambda trainer, step: None)


def test_weights_and_groups_that_people_know_decide_the_draws(workspace, monkeypatch, tmp_path, capsys):
    """One case of a hundred times the others' weight has most draws; a case without a weight ends the training."""
    from hws_nnunet.nnunetv2.trainer import HardnessWeightedTrainer
    from tests.workspaces import write_known

    trainer = trainer_of(workspace, monkeypatch, HardnessWeightedTrainer)
    trainer.initialize()
    names = list(trainer.do_split()[0])
    weights, settings = write_known(tmp_path, names)
    trainer = trainer_of(workspace, monkeypatch, HardnessWeightedTrainer, config=str(settings))
    trainer.initialize()
    training, _ = trainer.get_dataloaders()
    told = capsys.readouterr().out
    assert f"Case weights from {weights}" in told
    assert "Groups by the column site" in told
    trainer.network.train()
    for _ in names:  # each once, then by the weights
        trainer.train_step(next(training))
    drawn = [key for _ in range(20) for key in next(training)["keys"]]
    assert sum(key == names[0] for key in drawn) > 0.7 * len(drawn)
    weights.write_text("\n".join(weights.read_text().splitlines()[:-1]))
    trainer = trainer_of(workspace, monkeypatch, HardnessWeightedTrainer, config=str(settings))
    trainer.initialize()
    with pytest.raises(ValueError, match=f"weights.csv: 1 problem.*\n.*lacks 1 of {len(names)} cases: {names[-1]}"):
        trainer.get_dataloaders()
