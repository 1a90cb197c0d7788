"""Private temporary files: their modes, and that they come back when somebody has tidied up."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import attrs
import pytest

from claude_trio._private import PrivateDirectory, restore_file, write_file

NoRoom: TypeAlias = Callable[..., contextlib.AbstractContextManager[None]]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PrivateDirectory:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return PrivateDirectory.make()


@pytest.fixture
def place(directory: PrivateDirectory) -> Path:
    return directory.path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_a_directory_that_was_removed_is_made_again(
    directory: PrivateDirectory, place: Path
) -> None:
    assert 0o700 == mode(place)
    place.rmdir()
    directory.restore()
    assert 0o700 == mode(place)
    directory.restore()
    assert 0o700 == mode(place)


def test_where_directories_inherit_a_bit_they_are_made_again_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o2755)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    directory = PrivateDirectory.make()
    directory.restore()
    directory.path.rmdir()
    directory.restore()
    assert 0 == mode(directory.path) & 0o077


def test_what_stands_in_the_place_of_the_directory_is_not_used(
    directory: PrivateDirectory, place: Path, tmp_path: Path
) -> None:
    place.chmod(0o755)
    with pytest.raises(PermissionError, match="not the private directory"):
        directory.restore()
    place.rmdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    place.symlink_to(elsewhere)
    with pytest.raises(PermissionError, match=place.name):
        directory.restore()
    place.unlink()
    place.mkdir(mode=0o700)
    somebody_else = attrs.evolve(directory, owner=os.geteuid() + 1)
    with pytest.raises(PermissionError, match=place.name):
        somebody_else.restore()


def test_a_directory_without_the_one_above_it_cannot_be_made(
    directory: PrivateDirectory, place: Path, tmp_path: Path
) -> None:
    place.rmdir()
    tmp_path.rmdir()
    with pytest.raises(FileNotFoundError, match=place.name):
        directory.restore()
    tmp_path.mkdir()


def test_a_file_is_written_again_only_if_it_is_not_as_it_was(place: Path) -> None:
    path = place / "file"
    restore_file(path, b"one")
    first = path.stat().st_ino
    restore_file(path, b"one")
    assert first == path.stat().st_ino
    for spoil in (
        path.unlink,
        lambda: path.write_bytes(b"two"),
        lambda: path.chmod(0o644),
        lambda: path.rename(place / "away"),
    ):
        spoil()
        restore_file(path, b"one")
        assert (b"one", 0o600) == (path.read_bytes(), mode(path))
    path.unlink()
    path.symlink_to(place / "away")
    restore_file(path, b"one")
    assert not path.is_symlink()


def test_a_file_that_cannot_be_written_is_as_it_was(place: Path, no_room: NoRoom) -> None:
    path = place / "file"
    write_file(path, b"old")
    for size in (0, 3):  # none of it can be written, or some
        with no_room(size), pytest.raises(OSError, match="File too large"):
            write_file(path, b"something new")
        assert [path] == [*place.iterdir()]
        assert b"old" == path.read_bytes()
