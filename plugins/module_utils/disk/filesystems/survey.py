# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the filesystems of a disk can be captured, and which of their bytes an image needs."""

from __future__ import annotations

from typing import Sequence

from ansible_collections.reimage.lab.plugins.module_utils.disk.errors import DiskError
from ansible_collections.reimage.lab.plugins.module_utils.disk.extents import Extents
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.base import Member, UnmappedError, all_of, size_of
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.bitlocker import is_marked
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.registry import filesystem


class Survey:
    """Looks at the filesystems of one disk, one after the other.

    I(warnings) is what a person should know.
    """

    def __init__(self, accept: Sequence[str] = ()) -> None:
        """Take the states of filesystems that are refused otherwise, C(dirty) and C(hibernated)."""
        self.warnings: list[str] = []
        self._accept = accept
        self._members: dict[Member, str] = {}

    def used(self, device: str, where: str, name: str) -> Extents:
        """Return the bytes of a filesystem that an image needs.

        :param where: What to call it in an error or a warning.
        :param name: What blkid calls it.
        :raises DiskError: It is in a state that no other machine should get, or cannot be whole.
        """
        found = filesystem("BitLocker" if is_marked(device) else name)
        where = f"{where} ({name or 'unknown'})"
        length, size = found.length(device), size_of(device)
        if length > size:
            raise DiskError(
                f"{where} says that it is {length} bytes long, but its place has {size}: it was cut off, and cannot be mounted;"
                " give it back its room, or shrink it with its own tools, and capture again"
            )
        member = found.member(device)
        if member:
            self._members[member] = where
        unfit = found.unfit(device)
        if unfit and unfit.state not in self._accept:
            raise DiskError(f"{where} {unfit.advice}")
        try:
            if unfit:
                raise UnmappedError(f"it is {unfit.state}")
            return found.map(device)
        except UnmappedError as error:
            self.warnings.append(f"{where} is captured whole: {error}")
            return all_of(device)

    def refuse_incomplete(self) -> None:
        """Raise C(DiskError) if a filesystem has parts on other disks; all that this disk has must have been looked at."""
        for member, where in self._members.items():
            here = {other.name for other in self._members if other.whole == member.whole}
            if len(here) < member.of:
                raise DiskError(
                    f"{where} needs {member.of} devices to be whole, of which this disk has {len(here)}: an image is of one"
                    " disk; move all to one device on the master, and capture again"
                )
