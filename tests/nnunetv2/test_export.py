"""Which folder an export takes the place of."""

import json

import pytest
import torch

pytest.importorskip("nnunetv2", reason="nnU-Net v2 is not installed")
from hws_nnunet.nnunetv2.export import export_model
from tests.datasets.trees import contents


def model_in(folder):
    (folder / "fold_0").mkdir(parents=True)
    for name in ("plans.json", "dataset.json"):
        (folder / name).write_text(json.dumps({}))
    torch.save({"trainer_name": "nnUNetTrainer"}, folder / "fold_0" / "checkpoint_final.pth")
    return folder


def test_an_export_takes_the_place_of_an_export_alone(tmp_path):
    model = model_in(tmp_path / "results" / "model")
    training = model_in(tmp_path / "training")
    (training / "fold_0" / "progress.png").write_bytes(b"a picture")
    before = contents(tmp_path)
    for out, held in (
        (model, "the model itself"),
        (tmp_path / "results", "model/dataset.json, model/fold_0/checkpoint_final.pth, model/plans.json"),
        (training, "fold_0/progress.png"),
    ):
        with pytest.raises(FileExistsError, match=f"is not an export, as it holds {held}: --overwrite replaces"):
            export_model(model, out, overwrite=True)
    assert contents(tmp_path) == before
    for _ in range(2):
        assert export_model(model, tmp_path / "out", overwrite=True) == [tmp_path / "out/fold_0/checkpoint_final.pth"]
    with pytest.raises(FileExistsError, match="exists; --overwrite replaces it"):
        export_model(model, tmp_path / "out")
