# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Disk files of virtual machines, seen as raw disks through QEMU's storage daemon and FUSE: no copy is made.

Only the file itself is opened: one that refers to others, which may be anything on this machine, is refused.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

from ansible_collections.reimage.lab.plugins.module_utils.command import CommandError, run, wait_until
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError

RAW = "raw"
# The name of a format for people, and for QEMU.
FORMATS = {RAW: "raw", "qcow2": "qcow2", "vmdk": "vmdk", "vhdx": "vhdx", "vdi": "vdi"}
_MAGIC = ((0, b"QFI\xfb", "qcow2"), (0, b"KDMV", "vmdk"), (0, b"# Disk DescriptorFile", "vmdk"), (0, b"vhdxfile", "vhdx"),
          (0x40, b"\x7f\x10\xda\xbe", "vdi"))  # fmt: skip
# The place of the data, the size of a block, and the number of blocks, in the header of a VDI.
_VDI = struct.Struct("<344xI28xI8xI")
_FLAT = ("FLAT", "VMFS")
# Of qemu-img check: no errors; only space that nothing uses; a format that cannot be checked.
_CHECKED = (0, 3, 63)
_CHECK_TIMEOUT = 3600
_END = 60
# QEMU's own limit for opening an image that somebody else made.
_INFO_TIMEOUT = 30


def sniff(path: Path) -> str:
    """Return the format of a disk file, by its first bytes."""
    try:
        with path.open("rb") as file:
            head = file.read(128)
    except OSError as error:
        raise ImagingError(f"{path} cannot be read: {error.strerror}") from error
    return next((kind for offset, magic, kind in _MAGIC if head[offset : offset + len(magic)] == magic), RAW)


def create(path: Path, kind: str, size: int) -> None:
    """Make an empty disk file of I(size) bytes, which takes space only as it is filled."""
    if kind == RAW:
        with path.open("xb") as file:
            file.truncate(size)
        return
    run(["qemu-img", "create", "-q", "-f", FORMATS[kind], str(path), str(size)])


@contextmanager
def raw_view(path: Path, kind: str, *, write: bool = False) -> Iterator[str]:
    """Have a disk file of any format as a raw disk for a while.

    :raises ImagingError: It is damaged, refers to other files, or FUSE does not work here.
    """
    if kind == RAW:
        yield str(path)
        return
    if not write:
        info = _info(path, kind)
        _refuse_dependent(path, info)
        _refuse_truncated(path, kind, info)
    with tempfile.TemporaryDirectory(prefix="reimage-disk-") as folder:
        view, pid_file = Path(folder, "disk"), Path(folder, "pid")
        view.touch(mode=0o600)
        _start(path, kind, view, pid_file, write)
        pid = int(pid_file.read_text(encoding="ascii"))
        try:
            yield str(view)
        finally:
            # It flushes and closes the disk file before it ends.
            os.kill(pid, signal.SIGTERM)
            wait_until(lambda: not _runs(pid), _END, f"qemu-storage-daemon to close {path}")


def _start(path: Path, kind: str, view: Path, pid_file: Path, write: bool) -> None:
    read_only = not write
    base = {"driver": "file", "node-name": "file", "filename": str(path), "read-only": read_only}
    disk: dict[str, Any] = {"driver": FORMATS[kind], "node-name": "disk", "file": "file", "read-only": read_only}
    if kind == "qcow2":
        disk["backing"] = None
    if write:
        disk["detect-zeroes"] = "on"
    export = f"type=fuse,id=disk,node-name=disk,mountpoint={view},writable={'on' if write else 'off'}"
    arguments = ["qemu-storage-daemon", "--daemonize", "--pidfile", str(pid_file)]
    try:
        run([*arguments, "--blockdev", json.dumps(base), "--blockdev", json.dumps(disk), "--export", export])
    except CommandError as error:
        raise ImagingError(f"{path} cannot be opened as {kind}: {error}") from error


def _info(path: Path, kind: str) -> dict[str, Any]:
    try:
        said = run(["qemu-img", "info", "--output=json", "-f", FORMATS[kind], str(path)], timeout=_INFO_TIMEOUT).stdout
    except CommandError as error:
        raise ImagingError(f"{path} is not a {kind} disk, or a damaged one: {error}") from error
    info: dict[str, Any] = json.loads(said)
    return info


def _refuse_dependent(path: Path, info: dict[str, Any]) -> None:
    data = info.get("format-specific", {}).get("data", {})
    others = [str(info[key]) for key in ("backing-filename", "full-backing-filename") if info.get(key)]
    others += [str(data["data-file"])] if data.get("data-file") else []
    if data.get("parent-cid") not in (None, 0xFFFFFFFF):
        others.append("the disk that its snapshot was made of")
    # A split VMDK is several files, which lie beside it.
    extents = [Path(extent["filename"]) for extent in _extents(info)]
    others += [str(extent) for extent in extents if extent.resolve().parent != path.resolve().parent]
    if others:
        raise ImagingError(
            f"{path} is not a disk of its own, it needs {others[0]}: merge them first (qemu-img convert -O qcow2 {path.name} …)"
        )


def _refuse_truncated(path: Path, kind: str, info: dict[str, Any]) -> None:
    """QEMU reads zeros where a disk file was cut off, so that must be found before."""
    try:
        run(["qemu-img", "check", "-q", "-f", FORMATS[kind], str(path)], accept=_CHECKED, timeout=_CHECK_TIMEOUT)
    except CommandError as error:
        raise ImagingError(f"{path} is damaged or truncated: {error}") from error
    if kind == "vdi":
        with path.open("rb") as file:
            data_at, block, allocated = _VDI.unpack(file.read(_VDI.size))
        size = path.stat().st_size
        if size < data_at + block * allocated:
            raise ImagingError(f"{path} is truncated: it has {size} bytes of {data_at + block * allocated}")
    # What QEMU checks of a VMDK whose content lies beside it does not include the length of that.
    flat: dict[Path, int] = {}
    for extent in _extents(info):
        if extent.get("format") in _FLAT:
            flat[Path(extent["filename"])] = flat.get(Path(extent["filename"]), 0) + extent["virtual-size"]
    for part, wanted in flat.items():
        size = part.stat().st_size
        if size < wanted:
            raise ImagingError(f"{part} is truncated: it has {size} bytes of {wanted}")


def _extents(info: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the files, or parts of files, that a VMDK consists of; other formats have none."""
    found: list[dict[str, Any]] = info.get("format-specific", {}).get("data", {}).get("extents", [])
    return found


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
