import json
import sys
from collections import OrderedDict
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
import yaml

pytest.importorskip("nnunet", reason="nnU-Net v1 is not installed")
from tests.nnunetv1.conftest import SMALL
from tests.workspaces import first_difference

SCRIPT = Path(__file__).with_name("train_steps.py")
STEPS = 5
NEUTRAL = {"beta": 0, "structure_beta": 0}
PAPER = {"smoothing": 0.0, "ess": 0.0, "beta": 3.0}
HOSTS = [("3d_fullres", SMALL), ("2d", "nnUNetPlansv2.1")]
JOBS = [
    *(("ShortStock", *where, None) for where in HOSTS),
    *(("ShortHardnessWeighted", *where, NEUTRAL) for where in HOSTS),
    *(("ShortHardnessWeighted", *HOSTS[0], settings) for settings in ({}, {"structure_beta": 2.0}, PAPER)),
]


@pytest.fixture(scope="module")
def steps(workspace):
    """Run all of the above, one after the other in one fresh process; return what to look results up with."""
    jobs = []
    for number, (trainer, configuration, plans, settings) in enumerate(JOBS):
        config = None
        if settings is not None:
            config = workspace.root / f"settings{number}.yaml"
            config.write_text(yaml.safe_dump(settings))
        out = workspace.root / f"steps{number}.pth"
        jobs.append(
            {
                "trainer": trainer,
                "configuration": configuration,
                "plans": plans,
                "steps": STEPS,
                "config": config and str(config),
                "out": str(out),
            }
        )
    file = workspace.root / "jobs.json"
    file.write_text(json.dumps(jobs))
    workspace.run(sys.executable, SCRIPT, file)
    results = {str(key): torch.load(job["out"], weights_only=True) for key, job in zip(JOBS, jobs, strict=True)}

    def result(trainer="ShortHardnessWeighted", where=HOSTS[0], settings=None):
        return results[str((trainer, *where, settings))]

    return result


@pytest.mark.slow
@pytest.mark.parametrize("where", HOSTS)
def test_neutral_settings_equal_stock_nnunet_bit_for_bit(steps, where):
    stock, neutral = steps("ShortStock", where), steps(where=where, settings=NEUTRAL)
    assert first_difference(stock, neutral) is None
    assert neutral["state"]["version"] == STEPS, "losses are tracked all the same"
    assert neutral["state"]["visits"].sum() == sum(len(batch["keys"]) for batch in neutral["batches"])


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"structure_beta": 2.0}])
def test_with_weighting_on_they_differ(steps, settings):
    weighted = steps(settings=settings)
    assert first_difference(steps("ShortStock"), weighted) is not None
    assert weighted["fault"] == ""
    assert [batch["version"] for batch in weighted["batches"]] == list(range(STEPS))


def trainer_of(workspace, monkeypatch, cls, **kwargs):
    """Make a trainer in this process, as ``nnUNet_train`` does."""
    monkeypatch.delenv("HWS_CONFIG", raising=False)
    folder = workspace.preprocessed(1)
    output = workspace.root / "in_process" / "nnUNet" / "3d_fullres" / folder.name / f"{cls.__name__}__{SMALL}"
    plans = str(folder / f"{SMALL}_plans_3D.pkl")
    return cls(plans, 0, output_folder=str(output), dataset_directory=str(folder), batch_dice=False, stage=0, **kwargs)


@pytest.fixture
def one_thread(monkeypatch):
    """The single-threaded augmenter in the place of the host's."""
    from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter
    from nnunet.training.data_augmentation import data_augmentation_moreDA

    def single_threaded(loader, transform, *args, **kwargs):
        return SingleThreadedAugmenter(loader, transform)

    monkeypatch.setattr(data_augmentation_moreDA, "MultiThreadedAugmenter", single_threaded)


@pytest.mark.parametrize("several", [{"num_gpus": 2}, {"local_rank": 0}, {"distribute_batch_size": False}])
def test_several_gpus_are_refused(several):
    from nnunet.training.network_training.nnUNetTrainerV2_DP import nnUNetTrainerV2_DP

    from hws_nnunet.nnunetv1.trainer import HardnessWeightedTrainer, HardnessWeightingMixin

    with pytest.raises(NotImplementedError, match="on one with nnUNet_train, or use nnU-Net v2"):
        HardnessWeightedTrainer("plans", 0, **several)

    class Mine(HardnessWeightingMixin, nnUNetTrainerV2_DP):
        pass

    with pytest.raises(NotImplementedError, match="does not train on several GPUs through nnU-Net v1"):
        Mine("plans", 0)


def test_variants_by_nnunets_convention(workspace, monkeypatch):
    from hws_nnunet.nnunetv1 import trainer

    for epochs in (5, 50, 250):
        cls = getattr(trainer, f"HardnessWeightedTrainer_{epochs}epochs")
        made = trainer_of(workspace, monkeypatch, cls)
        assert made.max_num_epochs == epochs
        assert len(made.init_args) == 9, "what nnUNet_predict makes the trainer from"
    assert "__init__" not in vars(trainer.HardnessWeightingMixin)


def test_the_cascade_names_our_trainer_of_its_first_stage(workspace, monkeypatch):
    from nnunet.training.network_training import nnUNetTrainerV2_CascadeFullRes as module

    from hws_nnunet.nnunetv1.trainer import HardnessWeightedTrainerCascadeFullRes

    monkeypatch.setattr(module, "network_training_output_dir", workspace.env["RESULTS_FOLDER"])
    cls = HardnessWeightedTrainerCascadeFullRes
    made = trainer_of(workspace, monkeypatch, cls)
    assert Path(made.folder_with_segs_from_prev_stage).parent.name == f"HardnessWeightedTrainer__{SMALL}"
    assert cls(*made.init_args).folder_with_segs_from_prev_stage == made.folder_with_segs_from_prev_stage
    other = trainer_of(workspace, monkeypatch, cls, previous_trainer="nnUNetTrainerV2")
    assert Path(other.folder_with_segs_from_prev_stage).parent.name == f"nnUNetTrainerV2__{SMALL}"


def test_settings_are_read_for_training_alone(workspace, monkeypatch, one_thread, tmp_path):
    """A file that is not there stops neither ``nnUNet_predict`` nor ``--validation_only``, but each training."""
    from hws_nnunet.config import SettingsError
    from hws_nnunet.nnunetv1.trainer import HardnessWeightedTrainer

    trainer = trainer_of(workspace, monkeypatch, HardnessWeightedTrainer)
    trainer.initialize(True)
    trainer.save_checkpoint(str(tmp_path / "model.model"))
    monkeypatch.setenv("HWS_CONFIG", "settings/not_here.yaml")
    predicting = HardnessWeightedTrainer(*trainer.init_args)
    predicting.initialize(False)
    predicting.load_checkpoint(str(tmp_path / "model.model"), train=False)
    init = list(trainer.init_args)
    init[2] = f"{trainer.output_folder_base}_never_made"
    training = HardnessWeightedTrainer(*init)
    with pytest.raises(SettingsError, match=r"settings from settings/not_here.yaml: 1 fault\n  - cannot be read"):
        training.initialize(True)
    assert not Path(init[2]).exists()


def test_structures_of_regions_are_not_drawn_which_is_told(workspace, monkeypatch, one_thread, capsys):
    from hws_nnunet.nnunetv1.trainer import HardnessWeightedTrainer

    class Regions(HardnessWeightedTrainer):
        hws_settings: ClassVar = {"structure_beta": 3.0}
        regions: ClassVar = {"whole": (1, 2)}

    trainer_of(workspace, monkeypatch, Regions).initialize(True)
    told = "WARNING: structure_beta is without effect: nnU-Net v1 centres patches on labels, and Regions trains regions"
    assert told in capsys.readouterr().out


def test_a_trainer_with_another_loader_is_refused(workspace, monkeypatch, one_thread):
    from nnunet.training.dataloading.dataset_loading import DataLoader3D
    from nnunet.training.network_training import nnUNetTrainer as module

    from hws_nnunet.nnunetv1.trainer import HardnessWeightedTrainer

    class OtherLoader(DataLoader3D):
        pass

    monkeypatch.setattr(module, "DataLoader3D", OtherLoader)
    with pytest.raises(RuntimeError, match="built its training data from OtherLoader, which does not draw by hardness"):
        trainer_of(workspace, monkeypatch, HardnessWeightedTrainer).initialize(True)
    assert module.DataLoader3D is OtherLoader, "what is replaced is put back"


def test_loaders_that_are_made_again_leave_what_was_learnt(workspace, monkeypatch, one_thread):
    from hws_nnunet.nnunetv1.trainer import HardnessWeightedTrainer

    trainer = trainer_of(workspace, monkeypatch, HardnessWeightedTrainer)
    trainer.initialize()
    trainer.sampler.update([0, 1], [0.5, 0.6])
    training, validation = trainer.get_basic_generators()
    assert training.draws is trainer.sampler.draws
    assert training.draws.table.version == 1
    assert not hasattr(validation, "draws")


def test_cases_that_were_added_after_the_folds_are_told(workspace, monkeypatch, one_thread, capsys):
    from hws_nnunet.nnunetv1.trainer import HardnessWeightedTrainer

    trainer = trainer_of(workspace, monkeypatch, HardnessWeightedTrainer)
    split, left = trainer.do_split, []

    def split_without_one():
        split()
        left.append(trainer.dataset_val.popitem()[0])

    monkeypatch.setattr(trainer, "do_split", split_without_one)
    trainer.initialize()
    told = capsys.readouterr().out
    assert (
        f"holds 1 of {len(trainer.dataset)} preprocessed cases: {left[0]}. nnU-Net keeps its splits_final.pkl" in told
    )


def test_host_names_are_put_back_and_checkpoints_whole(workspace, monkeypatch, one_thread, tmp_path):
    from nnunet.training.network_training import nnUNetTrainer as module

    from hws_nnunet.facts.versions import STATE
    from hws_nnunet.nnunetv1.trainer import HardnessWeightedTrainer

    before = torch.save, torch.load, module.DataLoader3D
    trainer = trainer_of(workspace, monkeypatch, HardnessWeightedTrainer)
    trainer.initialize(True)
    trainer.all_tr_losses = [np.float64(1.0)]
    trainer.best_val_eval_criterion_MA = np.float32(0.5)
    file = tmp_path / "model.model"
    trainer.save_checkpoint(str(file))
    assert (torch.save, torch.load, module.DataLoader3D) == before
    checkpoint = torch.load(file, weights_only=True)
    assert checkpoint["plot_stuff"][0] == [1.0]
    assert checkpoint["best_stuff"][2] == 0.5
    assert isinstance(checkpoint["state_dict"], OrderedDict)
    assert checkpoint[STATE]["settings"]["ess"] == 0.8
    whole = file.read_bytes()

    def fail(checkpoint, target, *args, **kwargs):
        Path(target).write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="no space left"):
        trainer.save_checkpoint(str(file))
    monkeypatch.undo()
    assert file.read_bytes() == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.model", "model.model.pkl"]


def test_the_sampler_resumes_with_the_checkpoint(workspace, monkeypatch, one_thread, tmp_path, capsys):
    from nnunet.training.network_training.nnUNetTrainerV2 import nnUNetTrainerV2

    from hws_nnunet.nnunetv1.trainer import HardnessWeightedTrainer
    from tests.core.test_sampler import assert_same_state

    trainer = trainer_of(workspace, monkeypatch, HardnessWeightedTrainer)
    trainer.initialize(True)
    trainer.network.train()
    for _ in range(8):
        trainer.all_tr_losses.append(trainer.run_iteration(trainer.tr_gen))
    state = trainer.sampler.state_dict()
    assert state["weighted"]
    file = str(tmp_path / "model.model")
    trainer.epoch = 7
    trainer.save_checkpoint(file)
    resumed = trainer_of(workspace, monkeypatch, HardnessWeightedTrainer)
    resumed.initialize(True)
    resumed.load_checkpoint(file)
    assert "goes on after 8 steps" in capsys.readouterr().out
    assert_same_state(resumed.sampler.state_dict(), state)
    for name, weight in trainer.network.state_dict().items():
        assert torch.equal(weight, resumed.network.state_dict()[name])
    predicting = trainer_of(workspace, monkeypatch, HardnessWeightedTrainer)
    predicting.initialize(False)
    predicting.load_checkpoint(file, train=False)
    assert predicting.sampler is None, "nothing of ours is needed to predict"
    stock = trainer_of(workspace, monkeypatch, nnUNetTrainerV2)
    stock.initialize(True)
    stock.save_checkpoint(str(tmp_path / "stock.model"))
    resumed.load_checkpoint(str(tmp_path / "stock.model"))
    assert "holds no state of hardness weighted sampling" in capsys.readouterr().out


class Kept:
    """Keeps the last batch that the trainer was given."""

    def __init__(self, generator):
        self.generator, self.batch = generator, None

    def __next__(self):
        self.batch = next(self.generator)
        return self.batch


def test_a_loss_that_changes_while_training_is_recorded(workspace, monkeypatch, one_thread):
    """nnU-Net's own trainer that goes from cross-entropy to Dice makes a new loss in each epoch."""
    from nnunet.training.loss_functions.deep_supervision import MultipleOutputLoss2
    from nnunet.training.network_training.nnUNet_variants.loss_function import (
        nnUNetTrainerV2_graduallyTransitionFromCEToDice as module,
    )

    from hws_nnunet.hosts.recorder import LossRecorder
    from hws_nnunet.nnunetv1.trainer import HardnessWeightingMixin

    class Mine(HardnessWeightingMixin, module.nnUNetTrainerV2_graduallyTransitionFromCEToDice):
        hws_settings = {"smoothing": 0.0, "draw_by": "dice_ce"}  # noqa: RUF012 - as users write it

    trainer = trainer_of(workspace, monkeypatch, Mine)
    trainer.initialize(True)
    trainer.network.train()
    trainer.tr_gen = Kept(trainer.tr_gen)
    trainer.ds_loss_weights = [1.0, *[0.0] * (len(trainer.ds_loss_weights) - 1)]
    for epoch in (0, 600, 900):
        trainer.epoch = epoch
        trainer.update_loss()
        assert isinstance(trainer.loss, MultipleOutputLoss2)
        value = float(trainer.run_iteration(trainer.tr_gen))
        assert isinstance(trainer.loss, LossRecorder)
        found = trainer.sampler.table.hardness[trainer.tr_gen.batch["hws_drawn"].ids]
        assert float(found.mean()) == pytest.approx(value, abs=1e-4)


def test_weights_and_groups_that_people_know_decide_the_draws(workspace, monkeypatch, one_thread, tmp_path, capsys):
    """One case of a hundred times the others' weight has most draws; a case without a weight ends the training."""
    from hws_nnunet.nnunetv1.trainer import HardnessWeightedTrainer
    from tests.workspaces import write_known

    trainer = trainer_of(workspace, monkeypatch, HardnessWeightedTrainer)
    trainer.initialize(True)
    names = list(trainer.sampler.table.names)
    weights, settings = write_known(tmp_path, names)
    trainer = trainer_of(workspace, monkeypatch, HardnessWeightedTrainer)
    monkeypatch.setenv("HWS_CONFIG", str(settings))
    trainer.initialize(True)
    told = capsys.readouterr().out
    assert f"Case weights from {weights}" in told
    assert "Groups by the column site" in told
    trainer.network.train()
    for _ in names:  # each once, then by the weights
        trainer.run_iteration(trainer.tr_gen)
    drawn = [key for _ in range(20) for key in next(trainer.tr_gen)["keys"]]
    assert sum(key == names[0] for key in drawn) > 0.7 * len(drawn)
    weights.write_text("\n".join(weights.read_text().splitlines()[:-1]))
    trainer = trainer_of(workspace, monkeypatch, HardnessWeightedTrainer)
    monkeypatch.setenv("HWS_CONFIG", str(settings))
    with pytest.raises(ValueError, match=f"weights.csv: 1 problem.*\n.*lacks 1 of {len(names)} cases: {names[-1]}"):
        trainer.initialize(True)
