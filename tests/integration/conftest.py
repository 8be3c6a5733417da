# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures for all tests of real disks, tools and servers."""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path
from typing import Iterator

import pytest

from .hostile import HostileMachine

CLONE_NEWNS = 0x20000


@pytest.fixture(scope="session", autouse=True)
def mounts_of_its_own() -> None:
    """Mount where nobody else looks.

    Otherwise whoever makes a mount namespace meanwhile, as C(ip netns exec) does, gets a copy of what is mounted, and that
    filesystem stays in use after its test unmounted it.
    """
    # os.unshare() comes with Python 3.12.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), f"unshare: {os.strerror(ctypes.get_errno())}")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[HostileMachine]:
    """A machine that answers over SSH whatever the test has it answer."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    with HostileMachine(folder) as machine:
        yield machine
