# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NTFS, as ntfs-3g's tools see it."""

from __future__ import annotations

import re
import struct

from ansible_collections.reimage.lab.plugins.module_utils.command import CommandError, run
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.base import (
    DIRTY,
    HIBERNATED,
    LONG,
    Unfit,
    read,
    size_of,
)
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.mapped import Mapped

_RESIZE = ("ntfsresize", "--force", "--force", "--no-progress-bar")
_MIB = 1 << 20
_MOST_CLUSTERS = (1 << 32) - 1
_MOST_TIMES = 6  # each reads all that the volume says of its files
_PROBE_SAYS_HIBERNATED, _PROBE_SAYS_UNCLEAN = 14, 15


class Ntfs(Mapped):
    """NTFS that no Windows has mounted."""

    names = ("ntfs",)
    programs = dict.fromkeys(("ntfs-3g.probe", "ntfsfix", "ntfsinfo", "ntfsresize"), "ntfs-3g")
    grows = True

    def unfit(self, device: str) -> Unfit | None:
        """Windows hibernated, waits for chkdsk, or did not finish."""
        found = states(device)
        if HIBERNATED in found:
            return Unfit(HIBERNATED, "holds a hibernated Windows: on the master run powercfg /h off, and shut it down")
        if found:
            return Unfit(DIRTY, "is dirty: start Windows on the master, let chkdsk finish, and shut it down")
        return None

    def length(self, device: str) -> int:
        """Return what the boot sector says."""
        sector, sectors = struct.unpack("<11xH27xQ", read(device, 0, 48))
        return int(sector * sectors)

    def smallest(self, device: str) -> int:
        """Return what ntfsresize says that it could do; where it refuses that after all, more room is tried."""
        least, size = super().smallest(device), size_of(device)
        for _time in range(_MOST_TIMES):
            if least >= size:
                break
            try:
                run([*_RESIZE, "--no-action", "--size", str(least), device], timeout=LONG)
            except CommandError:
                least += max((size - least) // 4, _MIB) // _MIB * _MIB
            else:
                return least
        return size

    def largest(self, device: str) -> int:
        """Return how many clusters can be numbered; its size where ntfsresize refuses to look at it, and so to resize it."""
        try:
            _info(device)
        except CommandError:
            return size_of(device)
        sector, cluster = struct.unpack("<11xHB", read(device, 0, 14))
        # More than 128 sectors are said as the power of two, negative.
        return int(sector * (cluster if cluster <= 128 else 1 << 256 - cluster) * _MOST_CLUSTERS)

    def estimate(self, device: str) -> int:
        """Return what ntfsresize thinks."""
        found = re.search(r"resize at (\d+) bytes", _info(device))
        return int(found[1]) if found else 0

    def resize(self, device: str, size: int) -> None:
        """Grow or shrink."""
        run([*_RESIZE, "--size", str(size), device], timeout=LONG)
        # ntfsresize asks for a chkdsk at the next start, which would stand in the way of an unattended first boot.
        run(["ntfsfix", "--clear-dirty", device], timeout=LONG)

    def check(self, device: str) -> None:
        """Look at all of its structures that ntfsresize knows."""
        _info(device)


def states(device: str) -> list[str]:
    """Return what stands in the way of capturing a volume or writing to it: C(HIBERNATED), C(DIRTY), both, or nothing."""
    found = []
    probed = run(["ntfs-3g.probe", "--readwrite", device], accept=range(256)).returncode
    if probed == _PROBE_SAYS_HIBERNATED:
        found.append(HIBERNATED)
    # The probe accepts a volume that waits for chkdsk; ntfsinfo does not, but accepts one with an old journal to be replayed.
    if run(["ntfsinfo", "-m", device], accept=(0, 1)).returncode or probed == _PROBE_SAYS_UNCLEAN:
        found.append(DIRTY)
    return found


def _info(device: str) -> str:
    arguments = ["ntfsresize", "--info", "--force", "--no-progress-bar", device]
    return run(arguments, timeout=LONG).stdout.decode(errors="replace")
