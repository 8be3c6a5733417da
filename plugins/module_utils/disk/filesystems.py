# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each kind of filesystem needs: which bytes are used, how small it can become, how it grows, what must not be captured.

Filesystems are known by blkid's names for them. Everything here works on a block device that holds just the filesystem.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import ContextManager

from ansible_collections.reimage.lab.plugins.module_utils.command import CommandError, require, run
from ansible_collections.reimage.lab.plugins.module_utils.disk import ntfs
from ansible_collections.reimage.lab.plugins.module_utils.disk.errors import DiskError
from ansible_collections.reimage.lab.plugins.module_utils.disk.extents import Extents, parse_ddrescue_map
from ansible_collections.reimage.lab.plugins.module_utils.disk.mount import mounted

# The name of a filesystem for blkid, and for partclone.
PARTCLONE = {
    "ext2": "ext2",
    "ext3": "ext3",
    "ext4": "ext4",
    "vfat": "vfat",
    "exfat": "exfat",
    "ntfs": "ntfs",
    "xfs": "xfs",
    "btrfs": "btrfs",
}
EXT = ("ext2", "ext3", "ext4")
_RESIZING = {
    **dict.fromkeys(EXT, ("e2fsck", "resize2fs")),
    "ntfs": ("ntfsresize", "ntfsfix"),
    "xfs": ("xfs_growfs", "xfs_repair"),
    "btrfs": ("btrfs",),
}
GROWING = tuple(_RESIZING)
_SWAP_HEADER = 4096
_BITLOCKER = b"-FVE-FS-"
_BTRFS_LOG_ROOT = (64 << 10) + 96, 8
_EXFAT_FLAGS = 106
_CLEANING = {
    "vfat": "on the master run chkdsk /f or fsck.fat -a, and shut it down",
    "exfat": "on the master run chkdsk /f or fsck.exfat, and shut it down",
}
_LONG = 7200
_MIB = 1 << 20


def used(device: str, size: int, filesystem: str) -> Extents:
    """Return the used bytes of a filesystem; all of them, if it is one that nobody here can read."""
    if filesystem == "swap":
        # The header holds UUID and label; the rest means nothing to the next system.
        return Extents([(0, min(size, _SWAP_HEADER))])
    if filesystem not in PARTCLONE:
        return Extents([(0, size)])
    # NTFS keeps a copy of its boot sector in the partition's last sector, behind what partclone maps.
    return parse_ddrescue_map(_map(device, filesystem), size).with_tail(size, 4096)


def _map(device: str, filesystem: str) -> str:
    """Return what partclone says of a filesystem."""
    program = f"partclone.{PARTCLONE[filesystem]}"
    require(program, f"read which blocks of {filesystem} are used")
    with tempfile.TemporaryDirectory() as folder:
        # Its thread for progress sleeps as long as -f says, and is waited for at the end: two seconds by default.
        output, log = str(Path(folder, "map")), str(Path(folder, "log"))
        run([program, "-D", "-q", "-f", "0", "-s", device, "-o", output, "-L", log], timeout=_LONG)
        return Path(output).read_text(encoding="ascii")


def refuse_unfit(device: str, where: str, filesystem: str, accept: tuple[str, ...]) -> str:
    """Raise C(DiskError) if a filesystem is in a state that no other machine should get.

    :param accept: Which of C(dirty) and C(hibernated) to capture nevertheless.
    :returns: Which of them it is, so that its own account of what is used is not to be believed; else nothing.
    """
    if _bytes(device, 3, 8) == _BITLOCKER or filesystem == "BitLocker":
        raise DiskError(
            f"{where} is encrypted with BitLocker: switch that off on the master (manage-bde -off C:), wait until it is"
            " decrypted, and capture again"
        )
    state, advice = _state(device, filesystem)
    if state and state not in accept:
        raise DiskError(f"{where} ({filesystem}) {advice}")
    return state


def _state(device: str, filesystem: str) -> tuple[str, str]:
    """Return what is wrong with a filesystem, if anything, and what to tell people."""
    if filesystem == "swsuspend":
        return "hibernated", "holds a hibernated system: start the master and shut it down"
    found = ntfs.states(device) if filesystem == "ntfs" else []
    if ntfs.HIBERNATED in found:
        return "hibernated", "holds a hibernated Windows: on the master run powercfg /h off, and shut it down"
    if found:
        return "dirty", "is dirty: start Windows on the master, let chkdsk finish, and shut it down"
    if _is_unclean(device, filesystem):
        return "dirty", f"was not unmounted cleanly: {_CLEANING.get(filesystem, 'start the master and shut it down')}"
    return "", ""


def _is_unclean(device: str, filesystem: str) -> bool:
    """Whether a filesystem says itself that what it says of its blocks is not all."""
    if filesystem in EXT:
        said = run(["dumpe2fs", "-h", device]).stdout.decode(errors="replace")
        return "needs_recovery" in said or re.search(r"^Filesystem state:\s+clean$", said, re.MULTILINE) is None
    if filesystem == "xfs":
        # What only the log has as allocated, partclone has as free.
        return b"state: <CLEAN>" not in run(["xfs_logprint", "-t", device]).stdout
    if filesystem == "btrfs":
        # The same: blocks of a log tree are in no other.
        return any(_bytes(device, *_BTRFS_LOG_ROOT))
    if filesystem == "exfat":
        return bool(_bytes(device, _EXFAT_FLAGS, 1)[0] & 2)
    return filesystem == "vfat" and _is_unclean_fat(device)


def _is_unclean_fat(device: str) -> bool:
    """Whether Windows did not finish. The mark that Linux makes means less: the table that says what is used is whole."""
    try:
        _map(device, "vfat")
    except CommandError as error:
        if b"isn't in valid state" in error.stderr:
            return True
        raise
    return False


def _bytes(device: str, offset: int, length: int) -> bytes:
    with Path(device).open("rb") as file:
        file.seek(offset)
        return file.read(length)


def smallest(device: str, size: int, filesystem: str) -> int:
    """Return to how many bytes a filesystem could be shrunk; I(size) if it could not."""
    try:
        if filesystem == "ntfs":
            said = run(["ntfsresize", "--info", "--force", "--no-progress-bar", device], timeout=_LONG).stdout
            found = re.search(rb"resize at (\d+) bytes", said)
            least = int(found[1]) if found else size
        elif filesystem in EXT:
            blocks = re.search(rb"(\d+)\s*$", run(["resize2fs", "-P", device], timeout=_LONG).stdout)
            block = re.search(rb"^Block size:\s+(\d+)", run(["dumpe2fs", "-h", device]).stdout, re.MULTILINE)
            least = int(blocks[1]) * int(block[1]) if blocks and block else size
        else:
            return size
    except CommandError:
        return size
    # What these tools say is an estimate; a little more always worked.
    return min(size, -(-(least + least // 20) // _MIB) * _MIB + _MIB)


def require_resizing(filesystem: str) -> None:
    """Raise C(CommandError) unless all is there that C(resize) and C(check) need."""
    for program in (*_RESIZING[filesystem], f"partclone.{PARTCLONE[filesystem]}"):
        require(program, f"resize {filesystem}")


def check(device: str, filesystem: str) -> None:
    """Raise C(CommandError) if a filesystem that was just resized is not whole; its device is only read.

    Btrfs is not looked at: it has checksums of its own, and checking all of them takes as much memory as there is metadata.
    """
    if filesystem in EXT:
        run(["e2fsck", "-f", "-n", device], timeout=_LONG)
    elif filesystem == "ntfs":
        run(["ntfsresize", "--info", "--force", "--no-progress-bar", device], timeout=_LONG)
    elif filesystem == "xfs":
        run(["xfs_repair", "-n", device], timeout=_LONG)


def resize(device: str, filesystem: str, size: int) -> None:
    """Have a filesystem fill the first I(size) bytes of its device; growing only, where it must be mounted for it."""
    if filesystem in EXT:
        run(["e2fsck", "-f", "-y", device], accept=(0, 1), timeout=_LONG)
        run(["resize2fs", device, f"{size // 1024}K"], timeout=_LONG)
    elif filesystem == "ntfs":
        run(["ntfsresize", "--force", "--force", "--no-progress-bar", "--size", str(size), device], timeout=_LONG)
        # ntfsresize asks for a chkdsk at the next start, which would stand in the way of an unattended first boot.
        run(["ntfsfix", "--clear-dirty", device], timeout=_LONG)
    elif filesystem == "xfs":
        with _mounted(device) as folder:
            run(["xfs_growfs", str(folder)], timeout=_LONG)
    elif filesystem == "btrfs":
        with _mounted(device) as folder:
            run(["btrfs", "filesystem", "resize", str(size), str(folder)], timeout=_LONG)
    else:
        raise DiskError(f"a filesystem of kind {filesystem or 'unknown'} cannot be resized")


def _mounted(device: str) -> ContextManager[Path]:
    # nouuid: the same filesystem may be mounted from the disk that it was captured from.
    kind = run(["blkid", "--probe", "--output", "value", "--match-tag", "TYPE", device]).stdout.decode().strip()
    return mounted(device, "rw,nouuid" if kind == "xfs" else "rw", kind)
