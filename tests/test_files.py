import errno
import fcntl
import os

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


def test_two_at_a_time_do_not_write_into_each_others_file(tmp_path):
    target = tmp_path / "a"
    (tmp_path / "a.partial").write_text("left over")
    with whole_file(target) as one, whole_file(target) as other:
        assert one != other
        one.write_text("one " * 1000)
        other.write_text("other")
    assert target.read_text() == "one " * 1000, "the last to end"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    with whole_file(target) as one:
        one.write_text("new")
        with pytest.raises(ZeroDivisionError), whole_file(target):
            1 / 0  # noqa: B018
    assert target.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_name_that_became_a_file_meanwhile_is_not_written_to(tmp_path, monkeypatch):
    """Between the opening of the temporary file and its locking, its writer has renamed it."""
    original, names = fcntl.flock, []

    def renamed(file, how):
        if not names:
            os.replace(tmp_path / "a.partial", tmp_path / "a")
        names.append(how)
        original(file, how)

    monkeypatch.setattr(fcntl, "flock", renamed)
    with whole_file(tmp_path / "a") as partial:
        partial.write_text("new")
        assert (tmp_path / "a").read_text() == ""
    assert (tmp_path / "a").read_text() == "new"
    assert len(names) == 2


def test_file_systems_without_locks(tmp_path, monkeypatch):
    def no_locks(*args):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with whole_file(tmp_path / "a") as partial:
        partial.write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


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
