import errno
import fcntl
import os
import re
from pathlib import Path

import pytest

from hws_nnunet.files import atomic_folder, atomic_write, check_room, needed_folder, packaged


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "a.json"
    with atomic_write(target) as partial:
        partial.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    with pytest.raises(UnicodeEncodeError), atomic_write(target) as partial:
        partial.write_text("half \ud800", encoding="utf-8")
    assert target.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_what_a_killed_process_left_is_overwritten(tmp_path):
    (tmp_path / "a.partial").write_text("left over, and longer than what comes")
    with atomic_write(tmp_path / "a") as partial:
        partial.write_text("new")
    assert (tmp_path / "a").read_text() == "new"
    (tmp_path / "b.partial").mkdir()
    (tmp_path / "b.partial" / "old").write_text("")
    with atomic_folder(tmp_path / "b") as partial:
        assert not list(partial.iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_two_at_a_time_do_not_write_into_each_others_file(tmp_path):
    target = tmp_path / "a"
    (tmp_path / "a.partial").write_text("left over")
    with atomic_write(target) as one, atomic_write(target) as other:
        assert one != other
        one.write_text("one " * 1000)
        other.write_text("other")
    assert target.read_text() == "one " * 1000, "the last to end"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    with atomic_write(target) as one:
        one.write_text("new")
        with pytest.raises(ZeroDivisionError), atomic_write(target):
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
    with atomic_write(tmp_path / "a") as partial:
        partial.write_text("new")
        assert (tmp_path / "a").read_text() == ""
    assert (tmp_path / "a").read_text() == "new"
    assert len(names) == 2


def test_file_systems_without_locks(tmp_path, monkeypatch):
    def no_locks(*args):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with atomic_write(tmp_path / "a") as partial:
        partial.write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_folder_stays_until_the_new_one_is_complete(tmp_path):
    target = tmp_path / "data"
    for text in ("one", "two"):
        with atomic_folder(target) as partial:
            (partial / "file").write_text(text)
            assert target.exists() == (text == "two")
        assert (target / "file").read_text() == text
    with pytest.raises(NotADirectoryError), atomic_folder(target) as partial:
        (partial / "file" / "below").mkdir((partial / "file").write_text("half"))
    assert (target / "file").read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("write", [atomic_write, atomic_folder])
def test_what_cannot_be_written_is_told_by_its_own_name(tmp_path, monkeypatch, write):
    """A file where a folder is expected, a folder that may not be written, one in which nothing can be made."""
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder").mkdir()
    wrong = tmp_path / ("folder" if write is atomic_write else "file")

    def attempt(path):
        with pytest.raises(OSError) as error, write(path) as partial:
            partial.write_text("x") if write is atomic_write else (partial / "x").write_text("x")
        assert str(error.value).startswith(f"{path} ")
        assert ".partial" not in str(error.value)
        return str(error.value)

    assert f"{tmp_path / 'file'} is a file, expected a folder" in attempt(tmp_path / "file" / "below")
    assert f"expected a {'file' if write is atomic_write else 'folder'}, or nothing" in attempt(wrong)
    if Path("/proc/self").is_dir():
        assert "cannot be written" in attempt(Path("/proc/self/nothing"))
    if write is atomic_write:
        assert f"{tmp_path / 'no'} does not exist" in attempt(tmp_path / "no" / "below")

    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "new.partial"))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text" if write is atomic_write else "mkdir", refuse)
        assert attempt(tmp_path / "new").endswith(f"cannot be written: Permission denied ({tmp_path})")
        patched.setattr(os, "access", lambda *_: False)
        assert f"{tmp_path} may not be written" in attempt(tmp_path / "new")
    assert (tmp_path / "file").read_text() == "kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_folder_that_has_to_be_there(tmp_path):
    (tmp_path / "file").touch()
    assert needed_folder(tmp_path, "nnUNet_raw") == tmp_path
    with pytest.raises(FileNotFoundError, match="nnUNet_raw does not exist: "):
        needed_folder(tmp_path / "no", "nnUNet_raw")
    with pytest.raises(NotADirectoryError, match="nnUNet_raw is a file, expected a folder: "):
        needed_folder(tmp_path / "file", "nnUNet_raw")
    check_room(tmp_path / "a" / "b", folder=True)
    with pytest.raises(NotADirectoryError, match=re.escape(f"{tmp_path / 'file'} is a file, expected a folder")):
        check_room(tmp_path / "file" / "a" / "b", folder=True)


def test_packaged_files():
    assert packaged("configs", "default.yaml").is_file()
    with pytest.raises(FileNotFoundError, match="is the installation complete"):
        packaged("configs", "nothing.yaml")
