# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A new image is read back and deployed on paper before anything of it is stored, so that each image can be deployed."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from dataclasses import replace
from typing import Sequence

from ansible_collections.reimage.lab.plugins.module_utils.disk.device import Device, loop_device
from ansible_collections.reimage.lab.plugins.module_utils.disk.partitions import TableEntry, read_partitions
from ansible_collections.reimage.lab.plugins.module_utils.disk.tables import Piece
from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.index import Index, decode
from ansible_collections.reimage.lab.plugins.module_utils.imaging.layout import NONE, plan
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.names import INDEX, largest


def rehearse(index: Index, device: Device) -> None:
    """Raise C(ImagingError) unless an index can be read again, and deployed to the disk that it describes."""
    try:
        data = index.encode()
        if len(data) > largest(INDEX):
            raise ImagingError(f"its description would have {len(data)} bytes, and {largest(INDEX)} can be read again")
        layout = plan(decode(data, INDEX), device, NONE)
        mine, other = _entries(device), _read_back(layout.table, device)
        if other is not None and other != mine:
            differing = sorted({entry.number for entry in {*mine} ^ {*other}})
            raise ImagingError(f"sfdisk would find other partitions on it than on this disk: {differing} differ")
    except ReimageError as error:
        raise ImagingError(
            f"disk {device.path} is not captured, because its image could not be deployed to any disk: {error}."
            " Mend its partition table"
        ) from error


def _entries(device: Device) -> list[TableEntry]:
    """Return the partitions as sfdisk sees them, whatever the disk is called."""
    return [replace(entry, node="") for entry in read_partitions(device)[1]]


def _read_back(table: Sequence[Piece], device: Device) -> list[TableEntry] | None:
    """Return the partitions that sfdisk sees where a table was written; nothing where no file can be as large as the disk."""
    with tempfile.NamedTemporaryFile() as file, suppress(OSError):
        file.truncate(device.size)
        for offset, data in table:
            file.seek(offset)
            file.write(data)
        file.flush()
        with loop_device(file.name, 0, device.size, device.sector_size) as loop, Device(loop) as copy:
            return _entries(copy)
    return None
