import warnings

import pytest
import yaml

from hws_nnunet import Settings, find_settings, parse_settings, read_settings
from hws_nnunet.config import SettingsError, SettingsWarning
from hws_nnunet.files import packaged


def test_the_default_file_holds_every_setting_at_its_default():
    values = yaml.safe_load(packaged("configs", "default.yaml").read_text())
    assert set(values) == set(Settings.model_fields)
    assert Settings(**values) == Settings()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_settings(packaged("configs", "default.yaml")) == Settings()


@pytest.mark.parametrize("name", ["fetal_brain.yaml", "brats.yaml"])
def test_the_files_for_data_sets_can_be_used(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        settings = read_settings(packaged("configs", name))
    assert settings == Settings(), "nothing was tuned on such data: they hold defaults, with reasons"
    assert settings.model_fields_set


def test_every_setting_is_documented():
    import ast
    import inspect

    from hws_nnunet import config

    model = next(n for n in ast.parse(inspect.getsource(config)).body if getattr(n, "name", "") == "Settings")
    for field, text in zip(model.body, model.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign):
            assert isinstance(text, ast.Expr), f"{field.target.id} has no docstring"


def test_all_faults_are_reported_at_once():
    values = {
        "betta": 5,
        "ess": 2,
        "smoothing": "0.5",
        "cap": 0.5,
        "with_replacement": 2,
        "draw_by": "dice",
        "structure": 1,
    }
    with pytest.raises(SettingsError) as error:
        parse_settings(values, "my.yaml")
    text = str(error.value)
    assert text.startswith("settings from my.yaml: 7 faults")
    for part in (
        "unknown setting 'betta'; did you mean 'beta'?",
        "unknown setting 'structure'; did you mean 'structure_beta'?",
        "ess: input should be less than or equal to 1, given: 2",
        "smoothing: input should be a valid number, given: '0.5'",
        "cap: input should be greater than or equal to 1, given: 0.5",
        "with_replacement: input should be a valid boolean, given: 2",
        "draw_by: input should be 'dice_ce' or 'dice_present', given: 'dice'",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"beta": -1}, "beta: input should be greater than or equal to 0, given: -1"),
        ({"beta": float("nan")}, "beta: input should be a finite number"),
        ({"beta": 2e6}, "less than or equal to 1000000"),
        ({"structure_beta": -1}, "structure_beta: input should be greater than or equal to 0, given: -1"),
        ({"structure_beta": 2e6}, "less than or equal to 1000000"),
        ({"beta": True}, "beta: input should be a valid number, given: True"),
        ({"smoothing": 1.0}, "smoothing: input should be less than 1, given: 1.0"),
        ({"zzz": 1}, "unknown setting 'zzz'; there are ess, beta"),
        ({3: 1}, "unknown setting 3"),
    ],
)
def test_bad_values(values, message):
    with pytest.raises(SettingsError, match=message.replace("(", r"\(")):
        parse_settings(values, "here")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"beta": 0, "ess": 0.3, "cap": 5.0}, "ess, cap without effect at beta 0"),
        ({"ess": 1}, "beta 100 is without effect at ess 1"),
        ({"uniform_fraction": 1}, "without effect at uniform_fraction 1"),
        ({"cap": 1}, "without effect at cap 1"),
    ],
)
def test_settings_without_effect_warn(values, message):
    with pytest.warns(SettingsWarning, match=message):
        parse_settings(values, "here")


def test_combinations_that_exclude_each_other():
    with pytest.raises(ValueError, match="cap 1 allows uniform sampling only"):
        Settings(cap=1.0, ess=0.0)
    with pytest.warns(SettingsWarning, match="without effect at ess 1"):
        find_settings(Settings(ess=1.0))


def test_files(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text("ess: 0.3\ncap: null\n")
    assert read_settings(path) == Settings(ess=0.3, cap=None)
    path.write_text("")
    assert read_settings(path) == Settings()
    for text, message in (
        ("ess: [1", "is not valid YAML, expected 'name: value' on each line: while parsing"),
        ("ess: 0.8\nbeta 3", "is not valid YAML, expected 'name: value' on each line: .* line 2"),
        ("ess 0.8", "expected 'name: value' on each line, as in 'ess: 0.8', found 'ess 0.8'"),
        ("- ess", r"expected 'name: value' on each line, as in 'ess: 0.8', found \['ess'\]"),
        ("beta: 1e3", r"YAML reads 1e3 as text: write 1.0e\+3"),
        ("!!python/object/apply:os.system ['true']", "is not valid YAML"),
    ):
        path.write_text(text)
        with pytest.raises(SettingsError, match=message):
            read_settings(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="cannot be read"):
        read_settings(path)
    with pytest.raises(SettingsError, match="cannot be read"):
        read_settings(tmp_path / "missing.yaml")


def test_where_settings_come_from(tmp_path, monkeypatch):
    path = tmp_path / "my.yaml"
    path.write_text("ess: 0.3")
    monkeypatch.delenv("HWS_CONFIG", raising=False)
    assert find_settings() == (Settings(), "defaults")
    assert find_settings({"ess": 0.4})[0].ess == 0.4
    assert find_settings(Settings(ess=0.45)) == (Settings(ess=0.45), "the trainer's hws_settings")
    assert find_settings(path)[0].ess == 0.3
    monkeypatch.setenv("HWS_CONFIG", str(path))
    settings, source = find_settings({"ess": 0.4})
    assert settings.ess == 0.3
    assert source == f"{path} (HWS_CONFIG)"


def test_levels():
    assert not Settings().weighs_structures
    assert Settings(structure_beta=2.0).weighs_structures
    assert Settings(beta=0.0, structure_beta=2.0).weighs_structures


def test_files_that_settings_name_are_sought_from_the_settings_folder_on(tmp_path, monkeypatch):
    (tmp_path / "settings.yaml").write_text("case_weights: weights.csv\ngroups: /elsewhere/groups.csv\n")
    monkeypatch.chdir("/")
    settings = read_settings(tmp_path / "settings.yaml")
    assert settings.case_weights == str(tmp_path / "weights.csv")
    assert settings.groups == "/elsewhere/groups.csv"


def test_groups_and_weights_without_effect_are_told():
    with pytest.warns(SettingsWarning, match="group_column is without effect as long as no groups are given"):
        parse_settings({"group_column": "site"}, "here")
    with pytest.warns(SettingsWarning, match="group_pooling is without effect as long as no groups are given"):
        parse_settings({"group_pooling": 1.0}, "here")
    with pytest.warns(SettingsWarning, match="groups without effect at beta 0"):
        parse_settings({"beta": 0.0, "groups": "groups.csv"}, "here")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parse_settings({"beta": 0.0, "case_weights": "w.csv", "with_replacement": True}, "here")
