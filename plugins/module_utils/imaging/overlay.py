# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A partition that is longer than its disk, for as long as it takes to shrink the filesystem on it.

What lies behind the disk's end, and all that shrinking moves, is in memory, in an overlay over the part that is on the disk.
"""

from __future__ import annotations

import re
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from ansible_collections.reimage.lab.plugins.module_utils.command import background, require, run, wait_until
from ansible_collections.reimage.lab.plugins.module_utils.disk.device import Device
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.layout import Place

_TIMEOUT = 30
_MEMORY = Path("/proc/meminfo")


@contextmanager
def full_size_view(device: Device, place: Place) -> Iterator[Device]:
    """Yield a partition of the image's size, whose beginning is what the disk holds. Writing to it does not change the disk.

    :raises ImagingError: What lies behind the end of the disk's partition does not fit into memory.
    :raises CommandError: A program that it takes is missing, or does not work here.
    """
    _refuse_too_much(device, place)
    for program in ("nbdkit", "nbdfuse", "fusermount3"):
        require(program, f"shrink partition {place.region.number} to fit {device.path}")
    with tempfile.TemporaryDirectory(prefix="reimage-overlay-") as folder:
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


def _refuse_too_much(device: Device, place: Place) -> None:
    region = place.region
    # Shrinking moves what lies behind, and the overlay keeps both.
    needed = 2 * (region.extents.total - region.extents.cut(place.size).total)
    found = re.search(r"^MemAvailable:\s+(\d+) kB", _MEMORY.read_text(encoding="ascii"), re.MULTILINE)
    room = int(found[1]) * 1024 * 3 // 4 if found else 0
    if needed > room:
        raise ImagingError(
            f"{device.path} is too small: partition {region.number} could shrink to fit, but that takes {needed} bytes of memory,"
            f" and {room} are free for it: use a machine with more memory, or a larger disk"
        )
