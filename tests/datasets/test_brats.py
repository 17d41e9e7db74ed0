import gzip
import json
import pickle
import shutil

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from hws_nnunet.commands import main as cli
from hws_nnunet.datasets import DatasetError, read_brats
from hws_nnunet.datasets.brats_labels import SCHEMES
from tests.datasets.trees import (
    AFFINE,
    SHAPE,
    contents,
    image,
    load,
    new_case,
    old_case,
    save,
    subgroups,
    verify,
)

run = CliRunner().invoke
FOLDERS = {"v1": "nnUNet_raw_data/Task007_BraTS", "v2": "Dataset007_BraTS"}
REGIONS = {"background": 0, "whole_tumor": [1, 2, 3], "tumor_core": [1, 3], "enhancing_tumor": [3]}


@pytest.fixture(autouse=True)
def preprocessed(tmp_path, monkeypatch):
    monkeypatch.delenv("nnUNet_preprocessed", raising=False)
    return tmp_path / "preprocessed"


@pytest.fixture
def raw(tmp_path):
    (tmp_path / "raw").mkdir()
    return tmp_path / "raw"


@pytest.fixture
def root(tmp_path):
    return tmp_path / "Größe mit Leerzeichen"


def prepare(*arguments):
    return run(cli.app, ["prepare", "brats", *map(str, arguments), "--dataset-id", "7"])


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_2018_with_grades_and_sites(root, raw, version, monkeypatch):
    old_case(root / "HGG", "Brats18_2013_2_1")
    old_case(root / "HGG", "Brats18_CBICA_AAB_1", dtype=np.float32)
    old_case(root / "LGG", "Brats18_TCIA09_141_1", values=(0, 1, 2))
    before = contents(root)
    result = prepare(root, "--raw", raw, "--nnunet", version)
    assert result.exit_code == 0, result.output
    assert "4 enhancing_tumor -> 3" in result.output
    assert "3 cases of 3 subjects: 2 HGG, 1 LGG" in result.output
    target = raw / FOLDERS[version]
    verify(target, monkeypatch)
    description = json.loads((target / "dataset.json").read_text())
    assert ("trained as regions: whole_tumor 1+2+3, tumor_core 1+3, " in result.output) == (version == "v2")
    if version == "v2":
        assert description["labels"] == REGIONS
        assert description["regions_class_order"] == [2, 1, 3]
        assert description["channel_names"] == {"0": "T1", "1": "T1ce", "2": "T2", "3": "FLAIR"}
    else:
        assert description["labels"] == {"0": "background", "1": "necrotic_core", "2": "edema", "3": "enhancing_tumor"}
    source = load(root / "HGG/Brats18_CBICA_AAB_1/Brats18_CBICA_AAB_1_seg.nii.gz")
    written = load(target / "labelsTr/Brats18_CBICA_AAB_1.nii.gz")
    assert written.dtype == np.uint8
    assert np.array_equal(written, np.where(source == 4, 3, source))
    assert subgroups(target)["Brats18_2013_2_1"] == {
        "subject": "2013_2",
        "subgroup": "HGG",
        "grade": "HGG",
        "site": "2013",
    }
    assert contents(root) == before


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_2020_with_its_table_its_odd_case_and_files_not_compressed(root, raw, version, monkeypatch):
    old_case(root, "BraTS20_Training_001", ending=".nii")
    old_case(root, "BraTS20_Training_355", ending=".nii")
    odd = root / "BraTS20_Training_355"
    (odd / "BraTS20_Training_355_seg.nii").rename(odd / "W39_1998.09.19_Segm.nii")
    (root / "name_mapping.csv").write_text(
        "Grade,BraTS_2017_subject_ID,BraTS_2018_subject_ID,TCGA_TCIA_subject_ID,BraTS_2019_subject_ID,BraTS_2020_subject_ID\n"
        "HGG,Brats17_TCIA_1_1,Brats18_TCIA01_1_1,TCGA-1,BraTS19_TCIA01_1_1,BraTS20_Training_001\n"
        "LGG,NA,NA,NA,BraTS19_TMC_9_1,BraTS20_Training_355\n"
    )
    result = prepare(root, "--raw", raw, "--nnunet", version, "--link")
    assert result.exit_code == 0, result.output
    assert "BraTS20_Training_355: its segmentation is taken from W39_1998.09.19_Segm.nii" in result.output
    target = raw / FOLDERS[version]
    verify(target, monkeypatch)
    packed = (target / "imagesTr/BraTS20_Training_001_0001.nii.gz").read_bytes()
    assert gzip.decompress(packed) == (root / "BraTS20_Training_001/BraTS20_Training_001_t1ce.nii").read_bytes()
    groups = subgroups(target)
    assert [(row["grade"], row["site"]) for row in groups.values()] == [("HGG", "TCIA01"), ("LGG", "TMC")]


def test_2021_has_no_subgroups(root):
    old_case(root, "BraTS2021_00000")
    (case,) = read_brats([root]).cases
    assert case.subject == "BraTS2021_00000"
    assert case.subgroup["subgroup"] == "all"


@pytest.mark.parametrize(
    ("kinds", "values", "scheme"),
    [
        (("GLI",), (0, 1, 2, 3), "2023"),
        (("GLI", "SSA", "MEN", "MET"), (0, 1, 2, 3), "2023"),
        (("GLI",), (0, 1, 2, 3, 4), "2024"),
        (("MET",), (0, 4), "2024"),
        (("PED",), (0, 1, 4), "ped2024"),
    ],
)
def test_2023_and_later(root, raw, kinds, values, scheme, monkeypatch):
    for kind in kinds:
        new_case(root, f"BraTS-{kind}-00001-000", values=values)
        new_case(root, f"BraTS-{kind}-00002-000", values=(0, 1, 2))
    target = raw / FOLDERS["v2"]
    result = prepare(root, "--raw", raw, "--link")
    assert result.exit_code == 0, result.output
    verify(target, monkeypatch)
    description = json.loads((target / "dataset.json").read_text())
    assert description["labels"] == {"background": 0, **{k: list(v) for k, v in SCHEMES[scheme].regions.items()}}
    assert description["regions_class_order"] == list(SCHEMES[scheme].region_order)
    assert {row["subgroup"] for row in subgroups(target).values()} == set(kinds)
    assert "by the values of 2018 to 2021" not in result.output
    assert (target / f"labelsTr/BraTS-{kinds[0]}-00001-000.nii.gz").is_symlink()


def test_one_case_of_old_values_among_those_of_2023_is_named(root):
    for i, values in enumerate([(0, 1, 2, 3), (0, 1, 2, 4), (0, 1, 2, 3)]):
        new_case(root, f"BraTS-GLI-0000{i}-000", values=values)
    (told,) = read_brats([root]).warnings
    assert told.startswith("label value 4 is in 1 of 3 cases only, and without 3 in BraTS-GLI-00001-000: ")
    assert read_brats([root], scheme="2024").warnings == ()


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=list(SCHEMES))
def test_a_scheme_is_whole(scheme):
    """Labels are consecutive, and regions that are written in order give every label back."""
    values = sorted(scheme.labels.values())
    assert values == list(range(len(values))) == sorted(scheme.label_map.values())
    for value in values[1:]:
        written = 0
        for region, label in zip(scheme.regions.values(), scheme.region_order, strict=True):
            written = label if value in region else written
        assert written == value


def test_children_up_to_3_have_to_be_told(root):
    new_case(root, "BraTS-PED-00001-000", values=(0, 1, 2, 3))
    with pytest.raises(DatasetError, match="fit two schemes, and 1 and 3 mean different things"):
        read_brats([root])
    assert read_brats([root], scheme="2023").labels["enhancing_tumor"] == 3
    assert read_brats([root], scheme="ped2024").labels["enhancing_tumor"] == 1
    with pytest.raises(
        DatasetError, match="--scheme 2018 does not fit the BraTS-PED cases, which follow 2023 or ped2024"
    ):
        read_brats([root], scheme="2018")


def test_cases_of_two_schemes(root):
    new_case(root, "BraTS-PED-00001-000", values=(0, 4))
    new_case(root, "BraTS-GLI-00001-000")
    with pytest.raises(DatasetError, match="labels of these cases differ, so prepare each alone: 2023; children"):
        read_brats([root])


def test_every_problem_at_once(root, raw, tmp_path):
    for i in range(3):
        new_case(root, f"BraTS-SSA-0000{i}-000", values=(0, 1, 5))
    new_case(root, "BraTS-SSA-00003-000", values=(0, 4))
    new_case(root, "BraTS-SSA-00004-000")
    (root / "BraTS-SSA-00004-000/BraTS-SSA-00004-000-t2f.nii.gz").unlink()
    (root / "BraTS-SSA-00004-000/BraTS-SSA-00004-000-t1c.nii.gz").unlink()
    new_case(root / "validation", "BraTS-SSA-00005-000")
    (root / "validation/BraTS-SSA-00005-000/BraTS-SSA-00005-000-seg.nii.gz").unlink()
    new_case(root, "BraTS-SSA-00006-000")
    shifted = AFFINE.copy()
    shifted[0, 3] += 1
    save(image(), root / "BraTS-SSA-00006-000/BraTS-SSA-00006-000-t2w.nii.gz", shifted)
    new_case(root, "BraTS-SSA-00007-000")
    save(np.full(SHAPE, 1.5, np.float32), root / "BraTS-SSA-00007-000/BraTS-SSA-00007-000-seg.nii.gz")
    new_case(root, "BraTS-SSA-00008-000")
    save(np.full(SHAPE, np.nan, np.float32), root / "BraTS-SSA-00008-000/BraTS-SSA-00008-000-t1n.nii.gz")
    shutil.copytree(root / "BraTS-SSA-00008-000", root / "copy/BraTS-SSA-00008-000")
    new_case(root, "BraTS-XYZ-00001-000")
    new_case(root, "GLI")
    new_case(root, "BraTS-SSA-00009-000")
    (root / "BraTS-SSA-00009-000/BraTS-SSA-00009-000-t1n.nii.gz").write_bytes(b"no image")
    result = prepare(root, tmp_path / "nowhere", "--raw", raw)
    text = str(result.exception)
    assert isinstance(result.exception, DatasetError)
    for part in (
        "BraTS-SSA cases: label values [0, 1, 5] in 3 cases, as in BraTS-SSA-00000-000, BraTS-SSA-00001-000, "
        "BraTS-SSA-00002-000; expected [0, 1, 2, 3] (2023)",
        "BraTS-SSA cases: label values [0, 4] in 1 case, as in BraTS-SSA-00003-000",
        "BraTS-SSA-00004-000: missing t1c, t2f in ",
        "BraTS-SSA-00005-000: missing seg in ",
        "(scans for a prediction have none: --images prepares them)",
        "(--skip-incomplete leaves out 3 such cases)",
        "BraTS-SSA-00006-000-t1n.nii.gz and BraTS-SSA-00006-000-t2w.nii.gz are not on one grid: affines differ by up",
        "BraTS-SSA-00007-000: BraTS-SSA-00007-000-seg.nii.gz: labels have to be whole numbers",
        "BraTS-SSA-00008-000: BraTS-SSA-00008-000-t1n.nii.gz holds values that are not finite",
        "BraTS-SSA-00008-000: found 2 times: ",
        "BraTS-XYZ-00001-000: expected a case named BraTS-{GLI|MET|MEN|SSA|PED}-NUMBER-SCAN",
        "GLI: expected a case named BraTS-",
        "BraTS-SSA-00009-000: ",
        "nowhere: expected a folder of cases, found nothing",
    ):
        assert part in text, text
    assert not list(raw.iterdir())


def test_a_folder_without_cases(tmp_path):
    with pytest.raises(DatasetError, match="expected CASE_"):
        read_brats([tmp_path])


def test_a_segmentation_without_tumour_is_told(root):
    old_case(root, "BraTS2021_00001", values=(0,))
    old_case(root, "BraTS2021_00002")
    assert read_brats([root]).warnings == ("1 segmentation without a tumour: BraTS2021_00001",)


def test_hidden_files_and_links_to_folders(root, tmp_path):
    old_case(tmp_path / "elsewhere", "BraTS2021_00001")
    root.mkdir()
    (root / "link").symlink_to(tmp_path / "elsewhere")
    (root / "loop").symlink_to(root)
    (root / "._BraTS2021_00001_t1.nii.gz").write_text("what an archive of macOS leaves")
    (root / "BraTS2021_00002").mkdir()
    found = read_brats([root])
    assert len(found.cases) == 1
    assert found.warnings == (f"{root}: 1 empty folder, was all unpacked? BraTS2021_00002",)


def several_scans(root):
    for i, count in enumerate((4, 1, 1, 2, 1, 1, 1)):
        for scan in range(count):
            new_case(root, f"BraTS-GLI-{i:05d}-{scan:03d}")


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("known", [True, False])
def test_all_scans_of_a_subject_stay_in_one_fold(root, raw, version, known, preprocessed, monkeypatch):
    several_scans(root)
    if known:
        preprocessed.mkdir()
        monkeypatch.setenv("nnUNet_preprocessed", str(preprocessed))
    result = prepare(root, "--raw", raw, "--nnunet", version)
    assert result.exit_code == 0, result.output
    assert "2 subjects with several scans" in result.output
    target = raw / FOLDERS[version]
    verify(target, monkeypatch)
    name = "splits_final.json" if version == "v2" else "splits_final.pkl"
    placed = preprocessed / target.name / name
    assert placed.exists() == known
    assert (f"cp '{target / name}'" in result.output or f"cp {target / name}" in result.output) == (
        version == "v1" and not known
    )
    content = (placed if known else target / name).read_bytes()
    folds = json.loads(content) if version == "v2" else pickle.loads(content)
    names = {path.name[:-7] for path in (target / "labelsTr").iterdir()}
    assert sorted(name for fold in folds for name in fold["val"]) == sorted(names)
    for fold in folds:
        assert set(fold["train"]) | set(fold["val"]) == names
        subjects = [{name[:15] for name in fold[part]} for part in ("train", "val")]
        assert subjects[0]
        assert not subjects[0] & subjects[1]


def test_folds_on_request_are_written(root, raw):
    several_scans(root)
    result = prepare(root, "--raw", raw, "--spread")
    assert result.exit_code == 0, result.output
    assert "splits_final.json spreads each subgroup over 5 folds" in result.output
    folds = json.loads((raw / FOLDERS["v2"] / "splits_final.json").read_text())
    names = {path.name[:-7] for path in (raw / FOLDERS["v2"] / "labelsTr").iterdir()}
    assert sorted(name for fold in folds for name in fold["val"]) == sorted(names)
    result = prepare(root, "--raw", raw, "--overwrite", "--hold-out", "nothing")
    assert "expects a column of subgroups.csv" in str(result.exception)


def test_folds_of_sites_are_told(root, raw):
    for name in ("Brats18_2013_2_1", "Brats18_CBICA_AAB_1", "Brats18_TCIA09_141_1"):
        old_case(root / "HGG", name)
    result = prepare(root, "--raw", raw, "--hold-out", "site", "--dry-run")
    assert "folds hold out: 0 2013, 1 CBICA, 2 TCIA09" in result.output
    assert "note: for a fold above 2 nnU-Net makes a random split, which holds no site out" in result.output


def test_other_folds_are_not_overwritten_unasked(root, raw, preprocessed, monkeypatch):
    several_scans(root)
    monkeypatch.setenv("nnUNet_preprocessed", str(preprocessed))
    file = preprocessed / "Dataset007_BraTS/splits_final.json"
    file.parent.mkdir(parents=True)
    file.write_text("[]")
    for option in ("--dry-run", "--link"):
        result = prepare(root, "--raw", raw, option)
        assert "holds other folds" in str(result.exception)
    assert file.read_text() == "[]"
    assert not list(raw.iterdir())
    assert prepare(root, "--raw", raw, "--overwrite", "--dry-run").exit_code == 0
    assert file.read_text() == "[]"
    assert prepare(root, "--raw", raw, "--overwrite").exit_code == 0
    assert len(json.loads(file.read_text())) == 5


def test_a_dry_run_writes_nothing(root, raw):
    several_scans(root)
    result = prepare(root, "--raw", raw, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "11 cases of 7 subjects, all of subgroup GLI; would be written to" in result.output
    assert "dry run: nothing was written" in result.output
    assert not list(raw.iterdir())


def one_case(folder, name, kinds=("t1", "t1ce", "t2", "flair", "seg")):
    for kind in kinds:
        voxels = np.arange(64, dtype=np.uint8).reshape(4, 4, 4) % 3
        (folder / name).mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), folder / name / f"{name}_{kind}.nii.gz")


@pytest.mark.parametrize(
    ("table", "groups", "told"),
    [
        ("Grade,BraTS_2019_subject_ID\nHGG,BraTS19_SITE_AAA_1\n", ["all", "all"], "names 0 of 2 cases"),
        ("Grade,BraTS2020 ID\nHGG,BraTS20_Training_001\nlgg,BraTS20_Training_002\n", ["HGG", "LGG"], ""),
        ("Grade;BraTS_2020_subject_ID\nHGG;BraTS20_Training_001\n", ["HGG", "unknown"], "names 1 of 2 cases"),
        ("Grade,BraTS_2020_subject_ID\nn/a,BraTS20_Training_001\nNA,BraTS20_Training_002\n", ["all", "all"], ""),
    ],
)
def test_a_table_of_grades_is_used_or_told(tmp_path, table, groups, told):
    for case in ("BraTS20_Training_001", "BraTS20_Training_002"):
        one_case(tmp_path, case)
    (tmp_path / "name_mapping.csv").write_text(table)
    found = read_brats([tmp_path])
    assert [case.subgroup["subgroup"] for case in found.cases] == groups
    text = "\n".join(found.warnings)
    assert ("name_mapping.csv names" in text) == bool(told)
    assert told in text
    assert not told or "its headings: grade, " in text


def test_cases_of_later_years_need_no_table_of_grades(tmp_path):
    one_case(tmp_path, "BraTS20_Training_001")
    new_case(tmp_path, "BraTS-GLI-00007-000")
    (tmp_path / "name_mapping.csv").write_text("Grade,BraTS_2020_subject_ID\nHGG,BraTS20_Training_001\n")
    assert not [text for text in read_brats([tmp_path], merge=True).warnings if "name_mapping" in text]


def test_folders_named_like_files(tmp_path):
    name = "BraTS-GLI-00001-000"
    inner = {"t1n": "brain_t1", "t1c": "brain_t1ce", "t2w": "brain_t2", "t2f": "brain_flair", "seg": "final_seg"}
    for kind, file in inner.items():
        place = tmp_path / name / f"{name}-{kind}.nii"
        place.mkdir(parents=True)
        voxels = np.arange(64, dtype=np.uint8).reshape(4, 4, 4) % 4
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), place / f"00000057_{file}.nii")
    (case,) = read_brats([tmp_path]).cases
    assert case.name == name
    assert [path.name for path in case.images] == [f"00000057_{inner[kind]}.nii" for kind in list(inner)[:4]]


def test_years_are_merged_if_asked_and_a_tumour_with_two_names_is_one_subject(root, raw):
    old_case(root / "old", "BraTS2021_00001", values=(0, 1, 2, 4))
    old_case(root / "old", "BraTS2021_00002", values=(0, 4, 2, 1, 1))
    new_case(root / "new", "BraTS-GLI-00007-000", values=(0, 1, 2, 3))
    new_case(root / "new", "BraTS-SSA-00008-000", values=(0, 0, 3))
    sources = (root / "old", root / "new", "--raw", raw)
    refused = prepare(*sources)
    assert "values of these cases differ: 2018 to 2021; 2023. --merge writes them" in str(refused.exception)
    result = prepare(*sources, "--merge")
    assert result.exit_code == 0, result.output
    assert "  2018 to 2021: 1 necrotic_core -> 1, 2 edema -> 2, 4 enhancing_tumor -> 3" in result.output
    assert "  2023: 1 necrotic_core -> 1, 2 edema -> 2, 3 enhancing_tumor -> 3" in result.output
    assert "1 tumour with several names, kept in one fold: BraTS2021_00001 = BraTS-GLI-00007-000" in result.output
    assert "4 cases of 3 subjects: 1 GLI, 1 SSA, 2 unknown" in result.output
    target = raw / FOLDERS["v2"]
    assert np.array_equal(
        load(target / "labelsTr/BraTS2021_00001.nii.gz"), load(target / "labelsTr/BraTS-GLI-00007-000.nii.gz")
    )
    new_case(root / "new", "BraTS-PED-00001-000", values=(0, 4))
    assert "prepare each alone: 2018 to 2021; 2023; children" in str(
        prepare(*sources, "--merge", "--overwrite").exception
    )


def test_2021_with_2024_keeps_the_cavity_of_2024(root):
    old_case(root, "BraTS2021_00001")
    new_case(root, "BraTS-GLI-00001-000", values=(0, 1, 2, 3, 4))
    found = read_brats([root], merge=True)
    assert found.labels == SCHEMES["2024"].labels
    assert {case.name: case.label_map[4] for case in found.cases} == {"BraTS2021_00001": 3, "BraTS-GLI-00001-000": 4}


def voxels(counts):
    """Return a label image with so many voxels of each value."""
    flat = np.repeat(list(counts), list(counts.values()))
    return np.concatenate([flat, np.zeros(np.prod(SHAPE) - len(flat))]).reshape(SHAPE).astype(np.uint8)


@pytest.mark.parametrize(
    ("counts", "named"),
    [
        ({1: 10, 2: 3, 3: 87}, "3, which means enhancing_tumor (2023)"),
        ({1: 87, 2: 3, 3: 10}, "1, which means necrotic_core (2023)"),
        ({1: 20, 2: 21, 3: 59}, ""),
        ({1: 5, 2: 90, 3: 5}, ""),
    ],
)
def test_volumes_that_a_scheme_makes_unlikely_are_told_with_the_way_out(root, raw, counts, named):
    new_case(root, "BraTS-SSA-00001-000")
    save(voxels(counts), root / "BraTS-SSA-00001-000/BraTS-SSA-00001-000-seg.nii.gz")
    result = prepare(root, "--raw", raw)
    assert result.exit_code == 0, result.output
    assert f"1 in 1 ({counts[1]}%), 2 in 1 ({counts[2]}%), 3 in 1 ({counts[3]}%)" in result.output
    assert ("% of the labelled volume has the value" in result.output) == bool(named)
    assert named in result.output
    if named:
        option = result.output.split("give --labels ")[1].split()[0]
        largest = max(counts, key=lambda value: counts[value])
        assert option.split(",")[largest - 1] == f"{largest}=edema"
        result = prepare(root, "--raw", raw, "--overwrite", "--labels", option)
        assert "labelled volume has the value" not in result.output
        written = load(raw / FOLDERS["v2"] / "labelsTr/BraTS-SSA-00001-000.nii.gz")
        assert [int((written == value).sum()) for value in (1, 2, 3)] == [3, 87, 10]


def test_a_small_share_is_not_told_as_none(root):
    new_case(root, "BraTS-SSA-00001-000")
    save(voxels({1: 1, 2: 224, 3: 25}), root / "BraTS-SSA-00001-000/BraTS-SSA-00001-000-seg.nii.gz")
    assert "1 in 1 (below 1%), 2 in 1 (90%), 3 in 1 (10%)" in read_brats([root]).summary[1]


def test_labels_are_told_for_the_odd_kind_alone(root):
    for case, counts in (("BraTS-SSA-00001-000", {1: 10, 2: 5, 3: 85}), ("BraTS-GLI-00001-000", {1: 5, 2: 85, 3: 10})):
        new_case(root, case)
        save(voxels(counts), root / case / f"{case}-seg.nii.gz")
    (warning,) = read_brats([root]).warnings
    assert warning.startswith("BraTS-SSA cases: 85% ")
    assert warning.endswith("3=edema, which holds for all cases: prepare these alone")


def test_volumes_of_low_grades_and_children_are_not_judged(root):
    old_case(root / "LGG", "Brats18_2013_2_1")
    save(voxels({1: 90, 2: 10}), root / "LGG/Brats18_2013_2_1/Brats18_2013_2_1_seg.nii.gz")
    new_case(root / "PED", "BraTS-PED-00001-000")
    save(voxels({1: 90, 2: 10}), root / "PED/BraTS-PED-00001-000/BraTS-PED-00001-000-seg.nii.gz")
    assert read_brats([root / "LGG"]).warnings == read_brats([root / "PED"], scheme="2023").warnings == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1=enhancing_tumor,2", "expects a name for each value but 0"),
        ("0=edema", "expects a name for each value but 0"),
        ("1=edema,1=edema", "expects a name for each value but 0"),
        ("1=edema,2=enhancing", "has to name all labels of one scheme: necrotic_core, edema, enhancing_tumor; or "),
    ],
)
def test_labels_told_wrongly(root, raw, text, message):
    new_case(root, "BraTS-GLI-00001-000")
    assert message in str(prepare(root, "--raw", raw, "--labels", text).exception)
    both = prepare(root, "--raw", raw, "--labels", text, "--scheme", "2023")
    assert "give one of them" in str(both.exception)


def test_labels_told_hold_for_any_names_and_may_join_values(root):
    old_case(root, "Patient-002-week-000", values=(0, 1, 2, 3, 4, 5))
    meaning = {1: "necrotic_core", 2: "edema", 3: "enhancing_tumor", 4: "enhancing_tumor", 5: "background"}
    (case,) = read_brats([root], meaning=meaning).cases
    assert case.label_map == {0: 0, 1: 1, 2: 2, 3: 3, 4: 3, 5: 0}
    with pytest.raises(DatasetError, match="what other values mean, --labels tells: as in 1=necrotic_core"):
        read_brats([root])


@pytest.mark.parametrize(
    ("meaning", "named"),
    [
        ({1: "necrotic_core", 2: "edema", 3: "enhancing_tumor"}, True),
        ({1: "enhancing_tumor", 2: "necrotic_core", 3: "edema"}, False),
        ({1: "edema", 2: "necrotic_core", 3: "enhancing_tumor", 4: "enhancing_tumor"}, False),  # no order is likelier
    ],
)
def test_unlikely_volumes_of_labels_that_were_told_are_told(root, meaning, named):
    old_case(root, "BraTS2021_00001")
    save(voxels({1: 17, 2: 4, 3: 79}), root / "BraTS2021_00001/BraTS2021_00001_seg.nii.gz")
    warnings = read_brats([root], meaning=meaning).warnings
    assert any("--labels 1=enhancing_tumor,2=necrotic_core,3=edema" in warning for warning in warnings) == named
    assert bool(warnings) == named
