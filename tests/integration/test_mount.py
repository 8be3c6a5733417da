# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A filesystem that is mounted for a moment is never lost, and never hides what went wrong."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.command import CommandError
from ansible_collections.reimage.lab.plugins.module_utils.disk.device import loop_device
from ansible_collections.reimage.lab.plugins.module_utils.disk.mount import mounted

from .loops import await_no_loop

MIB = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    disk = tmp_path / "disk.raw"
    with disk.open("wb") as file:
        file.truncate(16 * MIB)
    subprocess.run(["mkfs.ext4", "-q", disk], check=True)
    return disk


def test_filesystem_that_is_still_in_use_stays_as_it_is(disk: Path) -> None:
    with loop_device(str(disk), 0, 16 * MIB, write=True) as loop:
        with pytest.raises(CommandError, match="busy"), mounted(loop, "rw") as folder:
            (folder / "precious").write_text("ours")
            held = (folder / "precious").open("rb")
        assert (folder / "precious").read_text() == "ours"
        held.close()
        subprocess.run(["umount", folder], check=True)
        folder.rmdir()
    await_no_loop(disk)


def test_failure_is_told_although_a_file_is_still_open(disk: Path) -> None:
    with loop_device(str(disk), 0, 16 * MIB, write=True) as loop:
        with pytest.raises(ValueError, match="what failed"), mounted(loop, "rw") as folder:
            held = (folder / "file").open("wb")
            raise ValueError("what failed")
        assert not folder.exists()
        held.close()
    await_no_loop(disk)
