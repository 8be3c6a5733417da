# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the engine asks of a filesystem. A new one is a file beside this one, and its name in C(registry.py)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Mapping, NamedTuple, Sequence

from ansible_collections.reimage.lab.plugins.module_utils.command import CommandError, require
from ansible_collections.reimage.lab.plugins.module_utils.disk.errors import DiskError
from ansible_collections.reimage.lab.plugins.module_utils.disk.extents import Extents

DIRTY, HIBERNATED = "dirty", "hibernated"
LONG = 7200  # seconds that a tool may take for a big filesystem
_MIB = 1 << 20


class Unfit(NamedTuple):
    """Why a filesystem should not be captured.

    I(state) is C(DIRTY) or C(HIBERNATED), which people may accept, or empty for what is always refused; I(advice) goes on from
    the name of the partition, and says what to do on the master.
    """

    state: str
    advice: str


class Member(NamedTuple):
    """One of the devices that make up a filesystem: the name of the whole, its own within that, and how many there are."""

    whole: str
    name: str
    of: int


class UnmappedError(DiskError):
    """Nobody here knows which of its bytes a filesystem uses; the message says why."""


class Filesystem:
    """One filesystem by one of its names. Each I(device) is a block device, or a file, that holds just the filesystem."""

    names: Sequence[str] = ()
    """What blkid calls it."""
    programs: Mapping[str, str] = {}
    """The programs that it takes, each with its Debian package."""
    grows = False
    """Whether C(resize) can make it larger."""
    holds_data = True
    """Whether anybody keeps something in it."""
    holds_linux = False
    """Whether it can be the root of a Linux system."""
    partclone = ""
    """What partclone calls it; empty if it does not know it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def used(self, device: str) -> Extents:
        """Return the used bytes: all of them, if nobody here knows which."""
        try:
            return self.map(device)
        except UnmappedError:
            return all_of(device)

    def map(self, device: str) -> Extents:
        """Return the used bytes: all of them, if it is one that nobody here can read.

        :raises UnmappedError: It is a variant of which nobody here knows which they are, though of others they do.
        """
        return all_of(device)

    def length(self, device: str) -> int:
        """Return how many bytes it takes to hold it, as it says itself; 0 if it does not say."""
        return 0

    def member(self, device: str) -> Member | None:
        """Return which part of a filesystem over several devices it is, if it is one."""
        return None

    def unfit(self, device: str) -> Unfit | None:
        """Return what stands in the way of capturing it, if anything does."""
        return None

    def smallest(self, device: str) -> int:
        """Return to how many bytes it could be shrunk; its size if it could not."""
        size = size_of(device)
        try:
            least = self.estimate(device)
        except CommandError:
            return size
        # What the tools say is an estimate; a little more always worked.
        return min(size, -(-(least + least // 20) // _MIB) * _MIB + _MIB) if least else size

    def largest(self, device: str) -> int:
        """Return to how many bytes its own tool can make it grow, its size if not at all; 0 if nothing is known to limit it."""
        return size_of(device) if self.member(device) else 0

    def estimate(self, device: str) -> int:
        """Return what its own tool says that it could be shrunk to, in bytes; 0 if there is no such tool."""
        return 0

    def resize(self, device: str, size: int) -> None:
        """Have it fill the first I(size) bytes of its device; growing only, where it must be mounted for it."""
        raise DiskError(f"a filesystem of kind {self.name or 'unknown'} cannot be resized")

    def check(self, device: str) -> None:
        """Raise C(CommandError) if it was just resized and is not whole; its device is only read."""

    def require_programs(self, purpose: str) -> None:
        """Raise C(CommandError) unless all programs are there, before it is too late to refuse."""
        for program in self.programs:
            require(program, f"{purpose} {self.name}")


def size_of(device: str) -> int:
    """Return the bytes of a block device, or a file."""
    with Path(device).open("rb") as file:
        return file.seek(0, os.SEEK_END)


def all_of(device: str) -> Extents:
    """Return all bytes of a device as used."""
    return Extents([(0, size_of(device))])


def read(device: str, offset: int, length: int) -> bytes:
    """Return some bytes of a device; zeros behind its end, where a filesystem that was cut off has nothing."""
    with Path(device).open("rb") as file:
        file.seek(offset)
        return file.read(length).ljust(length, b"\0")
