# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a Linux that is not running mounts and resumes from, compared with the disk that it is on.

Sources: fstab(5), initramfs-tools(7).
"""

from __future__ import annotations

import re
from typing import Iterable, Iterator, Sequence

from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.settings import File, Settings
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.tree import Tree
from ansible_collections.reimage.lab.plugins.module_utils.identity.partition import Partition

_FSTAB, _RESUME = "/etc/fstab", "/etc/initramfs-tools/conf.d/resume"
# The kernel's name of a partition: what those of its disk have in common, and its number. Not md, dm and the like, which are no
# partitions of one disk.
_KERNEL_NAME = re.compile(r"(/dev/(?:(?:s|v|h|xv)d[a-z]+|(?:nvme\d+n|mmcblk)\d+p))(\d+)")
# What is in them has identifiers that the table and blkid do not show.
_CONTAINERS = ("LVM2_member", "crypto_LUKS", "linux_raid_member", "zfs_member")


def mount_settings(tree: Tree, disk: Sequence[Partition]) -> Settings:
    """Return fstab without kernel names and the resume device, and a warning for each name that nothing has.

    :param disk: All partitions of the disk that the system is on.
    """
    settings = Settings()
    fstab, resume = tree.read(_FSTAB), tree.read(_RESUME)
    if fstab is not None:
        settings.add(_fstab(fstab, disk))
    if resume is not None:
        settings.add(_resume(resume, disk))
    return settings


def _fstab(text: str, disk: Sequence[Partition]) -> Settings:
    lines = text.splitlines(keepends=True)
    numbers = {partition.number: partition for partition in disk}
    own, warnings = _own_disk(_entries(lines)), []
    for position, line in enumerate(lines):
        for name, where, kind in _entries([line]):
            match = _KERNEL_NAME.fullmatch(name)
            if not match:
                warnings += _missing(name, where, disk)
                continue
            partition = numbers.get(int(match[2])) if match[1] == own else None
            tags = partition.tags if partition else {}
            if "UUID" in tags and kind in (tags.get("TYPE"), "auto"):
                lines[position] = line.replace(name, f"UUID={tags['UUID']}", 1)
            else:
                warnings.append(f"{_FSTAB}: {where} is on {name} on the master: no partition of this disk is known to be that")
    return Settings({_FSTAB: File("".join(lines))}, warnings)


def _entries(lines: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Yield what each line that is not a comment mounts, where, and the kind of filesystem."""
    for line in lines:
        fields = line.split()
        if len(fields) >= 3 and not fields[0].startswith("#"):
            yield fields[0], fields[1] if fields[2] != "swap" else "swap", fields[2]


def _own_disk(entries: Iterable[tuple[str, str, str]]) -> str:
    """Return the kernel's name of the master's disk: the one with the root, else the only one that is named."""
    named = {where: match[1] for name, where, _kind in entries for match in [_KERNEL_NAME.fullmatch(name)] if match}
    return named.get("/") or (next(iter(named.values())) if len(set(named.values())) == 1 else "")


def _missing(name: str, where: str, disk: Sequence[Partition]) -> list[str]:
    """Return a warning if an identifier is of nothing on the disk, as far as one can see."""
    tag, _equals, value = name.partition("=")
    known = {"UUID": [one.tags.get("UUID", "") for one in disk], "PARTUUID": [one.uuid for one in disk if one.uuid]}.get(tag)
    if not known or _hidden(disk) or value.strip('"').lower() in [one.lower() for one in known]:
        return []
    return [f"{_FSTAB}: {where} is on {name}, which is not on this disk"]


def _resume(text: str, disk: Sequence[Partition]) -> Settings:
    """A start would wait for a device that is not there."""
    match = re.search(r"^[ \t]*RESUME=[\"']?UUID=([^\s\"']+)[\"']?", text, re.MULTILINE)
    if not match or _hidden(disk) or match[1].lower() in [one.tags.get("UUID", "").lower() for one in disk]:
        return Settings()
    return Settings({_RESUME: File(text[: match.start()] + "RESUME=none" + text[match.end() :])})


def _hidden(disk: Sequence[Partition]) -> bool:
    return any(partition.tags.get("TYPE") in _CONTAINERS for partition in disk)
