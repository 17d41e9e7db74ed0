import pytest

from hws_nnunet.files import packaged, whole_file, whole_folder


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "a.json"
    with whole_file(target) as partial:
        partial.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    with pytest.raises(UnicodeEncodeError), whole_file(target) as partial:
        partial.write_text("half \ud800", encoding="utf-8")
    assert target.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_what_a_killed_process_left_is_overwritten(tmp_path):
    (tmp_path / "a.partial").write_text("left over, and longer than what comes")
    with whole_file(tmp_path / "a") as partial:
        partial.write_text("new")
    assert (tmp_path / "a").read_text() == "new"
    (tmp_path / "b.partial").mkdir()
    (tmp_path / "b.partial" / "old").write_text("")
    with whole_folder(tmp_path / "b") as partial:
        assert not list(partial.iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_folder_stays_until_the_new_one_is_complete(tmp_path):
    target = tmp_path / "data"
    for text in ("one", "two"):
        with whole_folder(target) as partial:
            (partial / "file").write_text(text)
            assert target.exists() == (text == "two")
        assert (target / "file").read_text() == text
    with pytest.raises(NotADirectoryError), whole_folder(target) as partial:
        (partial / "file" / "below").mkdir((partial / "file").write_text("half"))
    assert (target / "file").read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_packaged_files():
    assert packaged("configs", "default.yaml").is_file()
    with pytest.raises(FileNotFoundError, match="is the installation complete"):
        packaged("configs", "nothing.yaml")
