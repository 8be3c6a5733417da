# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the firmware starts from a disk: the boot managers and shims on its EFI system partition."""

from __future__ import annotations

import re
from typing import Iterator

from ansible_collections.reimage.lab.plugins.module_utils.command import run
from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError
from ansible_collections.reimage.lab.plugins.module_utils.identity.partition import Partition, partitions

_ESP = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
# The file that is started without an entry in the firmware, that of Windows, and the shim of any Linux.
_PROGRAM = re.compile(
    r"::/(EFI/(?:BOOT/BOOT(?:X64|AA64)\.EFI|Microsoft/Boot/bootmgfw\.efi|[A-Za-z0-9_.-]{1,32}/shim(?:x64|aa64)\.efi))",
    re.IGNORECASE,
)
_MOST = 16
_LARGEST = 16 << 20


def boot_programs(disk: str) -> dict[str, bytes]:
    """Return the programs on a disk's EFI system partition that a firmware may start, by their paths.

    :param disk: A block device, or a raw disk file.
    """
    with partitions(disk, ("vfat",), read_only=True) as found:
        systems = [partition for partition in found if partition.type.lower() in (_ESP, "ef")]
        return dict(program for partition in systems for program in _programs(partition))


def _programs(partition: Partition) -> Iterator[tuple[str, bytes]]:
    listed = run(["mdir", "-i", partition.device, "-b", "-s", "::/EFI"], accept=(0, 1)).stdout.decode(errors="replace")
    names = [found[1] for found in map(_PROGRAM.fullmatch, listed.splitlines()) if found]
    for name in names[:_MOST]:
        if _size(run(["mdir", "-i", partition.device, f"::/{name}"]).stdout.decode(errors="replace")) > _LARGEST:
            raise IdentityError(f"{partition}: {name} is larger than {_LARGEST} bytes, which no boot manager is")
        yield name, run(["mtype", "-i", partition.device, f"::/{name}"]).stdout


def _size(listing: str) -> int:
    """Return the size of the one file in a listing of mdir, whose last but one line is such as C(1 file  1 234 567 bytes)."""
    for line in listing.splitlines():
        words = line.split()
        if words[:2] == ["1", "file"] and words[-1] == "bytes":
            return int("".join(words[2:-1]))
    return _LARGEST + 1
