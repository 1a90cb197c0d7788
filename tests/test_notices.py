"""Wake-ups from the file system, and life without them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import trio

from claude_trio._notices import FileNotices, open_notices

linux = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")


@linux
async def test_a_write_to_a_watched_file_calls_back_and_one_beside_it_does_not(
    tmp_path: Path,
) -> None:
    told = trio.Event()
    async with open_notices() as notices:
        assert notices.watch(tmp_path / "new" / "wanted", told.set)
        assert notices.watch(tmp_path / "new" / "other", pytest.fail)
        (tmp_path / "new" / "beside").write_text("x")
        notices.forget(tmp_path / "new" / "other")
        (tmp_path / "new" / "other").write_text("x")
        (tmp_path / "new" / "wanted").write_text("x")
        with trio.fail_after(60):
            await told.wait()


@linux
async def test_notices_come_to_the_end_of_a_cancelled_block(tmp_path: Path) -> None:
    told = trio.Event()
    with trio.CancelScope() as outer:
        async with open_notices() as notices:
            notices.watch(tmp_path / "wanted", told.set)
            outer.cancel()
            (tmp_path / "wanted").write_text("x")
            with trio.fail_after(60, shield=True):
                await told.wait()
    assert not outer.cancelled_caught


async def test_a_directory_that_cannot_be_made_gives_no_notices(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with open_notices() as notices:
        assert not notices.watch(tmp_path / "file" / "below" / "it", pytest.fail)


async def test_without_inotify_nothing_is_promised_and_nothing_runs(tmp_path: Path) -> None:
    notices = FileNotices()
    assert not notices.watch(tmp_path / "any", pytest.fail)
    await notices.run(trio.CancelScope())


@linux
async def test_the_descriptor_is_closed_with_the_block() -> None:
    async with open_notices() as notices:
        descriptor = notices.descriptor
        assert descriptor is not None
        os.fstat(descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
