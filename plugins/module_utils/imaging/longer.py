# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A partition that is longer than its disk, for as long as it takes to shrink the filesystem on it.

What lies behind the disk's end, and all that shrinking moves, is in memory, in an overlay over the part that is on the disk. The
shrunk filesystem is then copied from there to the disk.
"""

from __future__ import annotations

import re
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from ansible_collections.reimage.lab.plugins.module_utils.command import background, run, wait_until
from ansible_collections.reimage.lab.plugins.module_utils.disk import filesystems
from ansible_collections.reimage.lab.plugins.module_utils.disk.device import Device
from ansible_collections.reimage.lab.plugins.module_utils.disk.partitions import used_now
from ansible_collections.reimage.lab.plugins.module_utils.imaging.caibx import CHUNK_SIZE
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.layout import Place

_TIMEOUT = 30


@contextmanager
def longer(device: Device, place: Place) -> Iterator[Device]:
    """Yield a partition of the image's size, whose beginning is what the disk holds. Writing to it does not change the disk.

    :raises ImagingError: What lies behind the end of the disk's partition does not fit into memory.
    """
    _refuse_too_much(device, place)
    with tempfile.TemporaryDirectory(prefix="reimage-longer-") as folder:
        file = Path(folder, "partition")
        filters = ["--filter=cow", "--filter=truncate", "--filter=offset"]
        span = [f"offset={place.start}", f"range={place.size}", f"truncate={place.region.size}"]
        with background(["nbdfuse", str(file), "[", "nbdkit", *filters, "file", device.path, *span, "]"]):
            wait_until(lambda: file.exists() and file.stat().st_size == place.region.size, _TIMEOUT, f"nbdfuse to show {file}")
            try:
                with Device(str(file), write=True) as view:
                    yield view
            finally:
                run(["fusermount3", "-u", folder])


def shrink(view: Device, device: Device, place: Place) -> None:
    """Shrink the filesystem of a partition that is longer than its disk, and have the disk hold the result."""
    filesystem = place.region.filesystem
    filesystems.resize(view.path, filesystem, place.size)
    view.sync()
    extents = used_now(view.path, 0, place.size, filesystem, device.sector_size)
    for start in range(0, place.size, CHUNK_SIZE):
        for offset, length in extents.within(start, start + CHUNK_SIZE):
            data = view.read(offset, length)
            if data != device.read(place.start + offset, length):
                device.write(place.start + offset, data)


def _refuse_too_much(device: Device, place: Place) -> None:
    region = place.region
    # Shrinking moves what lies behind, and the overlay keeps both.
    needed = 2 * (region.extents.total - region.extents.cut(place.size).total)
    found = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(encoding="ascii"), re.MULTILINE)
    room = int(found[1]) * 1024 * 3 // 4 if found else 0
    if needed > room:
        raise ImagingError(
            f"{device.path} is too small: partition {region.number} could shrink to fit, but that takes {needed} bytes of memory,"
            f" and {room} are free for it: use a machine with more memory, or a larger disk"
        )
