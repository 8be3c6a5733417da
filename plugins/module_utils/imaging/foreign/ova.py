# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An OVA: a tar archive with a description of a virtual machine, and its disks. The disk is read where it lies in the archive.

Source: DMTF DSP0243, Open Virtualization Format, sections 5 to 7.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.foreign.sniffing import COMPRESSED, OVA, sniff_part

_MOST_FILES = 1000
_LARGEST_MANIFEST = 1 << 20
_READ = 1 << 20
_DIGEST = re.compile(r"(SHA1|SHA256|SHA512) ?\(([^()\n]{1,255})\) ?= ?([0-9a-fA-F]{40,128})")


@dataclass(frozen=True)
class Part:
    """A disk that lies in a file: its format, where it begins, and how many bytes it has."""

    kind: str
    offset: int
    size: int


def find_disk(path: Path) -> Part:
    """Return where the one disk of an OVA is.

    :raises ImagingError: It is no OVA, is cut off, or holds no disk or several.
    """
    return _find(path)[0]


def check_digest(path: Path) -> None:
    """Raise C(ImagingError) if the disk of an OVA is not what its manifest says; one without a manifest is believed."""
    part, name, manifest = _find(path)
    for algorithm, file, wanted in _DIGEST.findall(manifest):
        if file == name and _digest(path, part, algorithm.lower()) != wanted.lower():
            raise ImagingError(f"{path} is damaged: {name!r} in it has another {algorithm} than its manifest says; copy it again")


def _find(path: Path) -> tuple[Part, str, str]:
    """Return the disk, its name, and the manifest."""
    members = _members(path)
    if not any(name.endswith(".ovf") for name in members):
        raise ImagingError(
            f"{path} is a tar archive, and none of a virtual machine, which has an .ovf: unpack it, and import the disk"
        )
    disks = {}
    manifest = ""
    for name, (offset, size) in members.items():
        kind = sniff_part(path, offset, size)
        if kind and kind not in (OVA, COMPRESSED):
            disks[name] = Part(kind, offset, size)
        if name.endswith(".mf") and size <= _LARGEST_MANIFEST:
            with path.open("rb") as file:
                file.seek(offset)
                manifest = file.read(size).decode(errors="replace")
    if len(disks) != 1:
        names = ", ".join(map(repr, [*disks][:8] or [*members][:8]))
        raise ImagingError(
            f"{path} holds {len(disks) or 'no'} disks that are read here ({names:.300}), and an image is of one: unpack it with"
            " tar, and import that one"
        )
    name, part = disks.popitem()
    return part, name, manifest


def _members(path: Path) -> dict[str, tuple[int, int]]:
    """Return the files of a tar archive, with their places and sizes in bytes. Nothing is unpacked: names are only names."""
    found = {}
    size = path.stat().st_size
    try:
        with tarfile.open(path, "r:") as archive:
            for number, member in enumerate(archive):
                if number == _MOST_FILES:
                    raise ImagingError(f"{path} has more than {_MOST_FILES} files, which no OVA has")
                if member.offset_data + member.size > size:
                    raise ImagingError(f"{path} is truncated: {member.name!r:.100} in it ends behind the end; copy it again")
                if member.isreg() and not member.issparse():
                    found[member.name] = (member.offset_data, member.size)
    except (tarfile.TarError, OSError, ValueError, OverflowError, EOFError, RecursionError, MemoryError) as error:
        raise ImagingError(f"{path} is a damaged or truncated tar archive: {error}") from error
    return found


def _digest(path: Path, part: Part, algorithm: str) -> str:
    digest, left = hashlib.new(algorithm, usedforsecurity=False), part.size
    with path.open("rb") as file:
        file.seek(part.offset)
        while left:
            block = file.read(min(left, _READ))
            if not block:
                break
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()
