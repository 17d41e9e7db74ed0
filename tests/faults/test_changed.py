"""What has changed between a checkpoint and the training that goes on from it, through nnU-Net v2's command."""

import json
import shutil
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from hws_nnunet.facts.versions import STATE
from tests.faults.rows import Counted
from tests.faults.trainings import GOES_ON, LATEST, STEPS, TRAINER, Training, read_checkpoint

pytestmark = pytest.mark.faults
EPOCHS = 2


class Change(NamedTuple):
    """What is changed, and how; what the log then says; whether the training goes on; what came of it, in words."""

    name: str
    change: Callable
    says: tuple
    goes_on: bool
    outcome: str
    fold: int = 0
    config: str = ""


class Place:
    """What a change can lay hands on."""

    def __init__(self, space):
        self.preprocessed = space.preprocessed(1)
        self.fold, self.other_fold = space.fold(1, TRAINER), space.fold(1, TRAINER, fold=1)

    def edit(self, name, change):
        """Change a JSON file of the preprocessed data."""
        file = self.preprocessed / name
        content = json.loads(file.read_text())
        change(content)
        file.write_text(json.dumps(content))

    def edit_state(self, change):
        """Change the checkpoint."""
        checkpoint = read_checkpoint(self.fold / LATEST)
        change(checkpoint)
        torch.save(checkpoint, self.fold / LATEST)

    def rename(self, old, new):
        """Rename a training case of the first fold."""
        for file in (self.preprocessed / "nnUNetPlans_3d_small").glob(f"{old}*"):
            file.rename(file.with_name(file.name.replace(old, new)))

        def rename(splits):
            for split in splits:
                for part in split.values():
                    part[:] = [new if name == old else name for name in part]

        self.edit("splits_final.json", rename)


def _first(place):
    return json.loads((place.preprocessed / "splits_final.json").read_text())[0]["train"][0]


def _added(splits):
    splits[0]["train"].append(splits[0]["val"].pop())


def _removed(splits):
    splits[0]["val"].append(splits[0]["train"].pop())


def _patch(plans):
    plans["configurations"]["3d_small"]["patch_size"] = [24, 24, 24]


CHANGES = (
    Change(
        "nothing",
        lambda place: None,
        (),
        True,
        "It goes on.",
    ),
    Change(
        "a case is added to the split",
        lambda place: place.edit("splits_final.json", _added),
        ("1 case new since the state was saved, unseen so far: case",),
        True,
        "It goes on; a warning names the case, which starts unseen.",
    ),
    Change(
        "a case is removed from the split",
        lambda place: place.edit("splits_final.json", _removed),
        ("1 case gone since the state was saved: case",),
        True,
        "It goes on; a warning names the case.",
    ),
    Change(
        "a case is renamed",
        lambda place: place.rename(_first(place), "renamed"),
        ("1 case gone since the state was saved: case", "1 case new since the state was saved, unseen so far: renamed"),
        True,
        "It goes on; warnings name both; the case starts unseen.",
    ),
    Change(
        "the checkpoint is of another fold",
        lambda place: shutil.copytree(place.fold, place.other_fold),
        ("fold: 0 -> 1", "new since the state was saved, unseen so far"),
        True,
        "It goes on; the log tells the folds, warnings name the cases that differ.",
        fold=1,
    ),
    Change(
        "another patch size",
        lambda place: place.edit("nnUNetPlans.json", _patch),
        ("patch size: 16 x 16 x 16 -> 24 x 24 x 24",),
        True,
        "It goes on; the log tells both.",
    ),
    Change(
        "one class more",
        lambda place: place.edit("dataset.json", lambda told: told["labels"].update(third=3)),
        ("size mismatch for",),
        False,
        "nnU-Net refuses its weights and ends; the checkpoint stays as it is.",
    ),
    Change(
        "a class of another name",
        lambda place: place.edit(
            "dataset.json", lambda told: told.update(labels={"background": 0, "outer": 1, "core": 2})
        ),
        ("gone since the state was saved: inner", "new since the state was saved, unknown so far: core"),
        True,
        "It goes on; warnings name both; its hardness starts unknown.",
    ),
    Change(
        "other settings",
        lambda place: None,
        ("Changed since the checkpoint was saved: ess: 0.8 -> 0.3",),
        True,
        "It goes on with the new ones; the log tells both values.",
        config="ess: 0.3",
    ),
    Change(
        "another `draw_by`",
        lambda place: None,
        ("tracks 'dice_present', expected 'dice_ce': a training goes on with the draw_by that it began with",),
        False,
        "It ends with an error that says both; the checkpoint stays as it is.",
        config="draw_by: dice_ce",
    ),
    Change(
        "another version of nnU-Net",
        lambda place: place.edit_state(lambda saved: saved[STATE]["made_by"].update({"nnU-Net": "2.6.0"})),
        ("nnU-Net: 2.6.0 -> ",),
        True,
        "It goes on; the log tells both (the version in the checkpoint was altered).",
    ),
    Change(
        "a state of another format",
        lambda place: place.edit_state(lambda saved: saved[STATE].update(format=3)),
        ("has format 3, expected",),
        False,
        "It ends with an error that says both; the checkpoint stays as it is.",
    ),
    Change(
        "a checkpoint of nnU-Net's own trainer",
        lambda place: place.edit_state(lambda saved: saved.pop(STATE)),
        ("The checkpoint holds no state of hardness weighted sampling: it starts anew",),
        True,
        "The network goes on, the sampler starts anew; the log says so.",
    ),
)


@contextmanager
def _put_back(*folders):
    with tempfile.TemporaryDirectory() as kept:
        copies = [shutil.copytree(folder, Path(kept, str(number))) for number, folder in enumerate(folders)]
        try:
            yield
        finally:
            for folder, copy in zip(folders, copies, strict=True):
                shutil.rmtree(folder)
                shutil.copytree(copy, folder)


def test_changed(space, told):
    """Train two epochs; then, for each change, go on from there for one more."""
    rows, place, training = [], Place(space), Training(space)
    training.reach(f"Epoch {EPOCHS}")
    training.kill()
    assert read_checkpoint(place.fold / LATEST)["current_epoch"] == EPOCHS, training.said[-1000:]
    for change in CHANGES:
        counted = Counted()
        with _put_back(place.preprocessed, place.fold):
            change.change(place)
            env = {}
            if change.config:
                file = space.root / "settings.yaml"
                file.write_text(change.config)
                env["HWS_CONFIG"] = str(file)
            before = (place.fold / LATEST).read_bytes()
            training = Training(space, "--c", fold=change.fold, SHORT_EPOCHS=str(EPOCHS + 1), **env)
            done = training.trains_to_its_end()
            wrong = [f"the log lacks {text!r}" for text in change.says if text not in training.said]
            if change.goes_on != done:
                wrong.append(f"trained to its end: {done}: {training.said[-500:]}")
            anew = any("starts anew" in text for text in change.says)
            if change.goes_on and not anew and f"{GOES_ON} {STEPS * EPOCHS} steps" not in training.said:
                wrong.append("the sampler did not go on")
            if not change.goes_on and (place.fold / LATEST).read_bytes() != before:
                wrong.append("the checkpoint has changed")
            counted.add(wrong)
        shutil.rmtree(place.other_fold, ignore_errors=True)
        rows.append(counted.row(f"{change.name}, between checkpoint and `--c`", change.outcome))
    told(*rows)
