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
from ansible_collections.reimage.lab.plugins.module_utils.errors import named
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.foreign.disk import work_disk
from ansible_collections.reimage.lab.plugins.module_utils.imaging.foreign.ova import Part, check_digest, find_disk
from ansible_collections.reimage.lab.plugins.module_utils.imaging.foreign.sniffing import OVA, RAW, VHD
from ansible_collections.reimage.lab.plugins.module_utils.imaging.foreign.vhd import read_vhd

# The name of a format that is read and written.
FORMATS = (RAW, "qcow2", "vmdk", "vhdx", "vdi")
# Of those that are only read.
FOREIGN = (VHD, OVA)
# The place of the data, the size of a block, and the number of blocks, in the header of a VDI.
_VDI = struct.Struct("<344xI28xI8xI")
_FLAT = ("FLAT", "VMFS")
# Of qemu-img check: no errors; only space that nothing uses; a format that cannot be checked.
_CHECKED = (0, 3, 63)
_CHECK_TIMEOUT = 3600
_END = 60
_CONVERT_TIMEOUT = 24 * 3600
# QEMU's own names, where they are others.
_DRIVERS = {VHD: "vpc"}
# QEMU's own limit for opening an image that somebody else made.
_INFO_TIMEOUT = 30


def create(path: Path, kind: str, size: int) -> None:
    """Make an empty disk file of I(size) bytes, which takes space only as it is filled."""
    if kind == RAW:
        with path.open("xb") as file:
            file.truncate(size)
        return
    run(["qemu-img", "create", "-q", "-f", kind, str(path), str(size)])


@contextmanager
def raw_view(path: Path, kind: str, *, write: bool = False, work_folder: str = "") -> Iterator[str]:
    """Have a disk file of any format as a raw disk for a while.

    :param work_folder: See C(work_disk); only for a VHD that QEMU would cut.
    :raises ImagingError: It is damaged, refers to other files, or FUSE does not work here.
    """
    if kind == RAW:
        yield str(path)
        return
    part = Part(kind, 0, 0)
    if kind == OVA:
        check_digest(path)
        part = find_disk(path)
    node = _node(path, part)
    vhd = read_vhd(path, part.offset, part.size or path.stat().st_size) if part.kind == VHD else None
    if vhd and vhd.is_fixed:
        node = {"driver": "raw", "offset": part.offset, "size": vhd.size, "file": _file(path)}
    elif not write:
        info = _info(path, kind, node)
        _refuse_dependent(path, part, info)
        _refuse_truncated(path, part, node, info)
        if vhd and vhd.size != info["virtual-size"]:
            with work_disk(work_folder) as work, named(str(work.path), str(path)):
                # By cylinders, heads and sectors, as QEMU counts where it knows the maker, VirtualBox's disks lack their end.
                _convert(path, {**node, "force_size_calc": "current_size"}, work.path)
                yield str(work.path)
            return
    with tempfile.TemporaryDirectory(prefix="reimage-disk-") as folder:
        view, pid_file = Path(folder, "disk"), Path(folder, "pid")
        view.touch(mode=0o600)
        _start(path, node, view, pid_file, write)
        pid = int(pid_file.read_text(encoding="ascii"))
        try:
            with named(str(view), str(path)):
                yield str(view)
        finally:
            # It flushes and closes the disk file before it ends.
            os.kill(pid, signal.SIGTERM)
            wait_until(lambda: not _runs(pid), _END, f"qemu-storage-daemon to close {path}")


def check_disk_file(path: Path, kind: str) -> None:
    """Raise C(ImagingError) if a disk file is incomplete at first sight."""
    part = find_disk(path) if kind == OVA else Part(kind, 0, 0)
    if part.kind == VHD:
        read_vhd(path, part.offset, part.size or path.stat().st_size)
    elif part.kind != RAW:
        _refuse_dependent(path, part, _info(path, kind, _node(path, part)))


def _file(path: Path) -> dict[str, Any]:
    return {"driver": "file", "filename": str(path)}


def _node(path: Path, part: Part) -> dict[str, Any]:
    """Return what QEMU is to open: a file, or what lies in one."""
    inner = {"driver": "raw", "offset": part.offset, "size": part.size, "file": _file(path)} if part.offset else _file(path)
    node: dict[str, Any] = {"driver": _DRIVERS.get(part.kind, part.kind), "file": inner}
    return node


def _start(path: Path, node: dict[str, Any], view: Path, pid_file: Path, write: bool) -> None:
    disk = {**node, "node-name": "disk", "read-only": not write, "file": {**node["file"], "read-only": not write}}
    if node["driver"] == "qcow2":
        disk["backing"] = None
    if write:
        disk["detect-zeroes"] = "on"
    export = f"type=fuse,id=disk,node-name=disk,mountpoint={view},writable={'on' if write else 'off'}"
    arguments = ["qemu-storage-daemon", "--daemonize", "--pidfile", str(pid_file)]
    try:
        run([*arguments, "--blockdev", json.dumps(disk), "--export", export])
    except CommandError as error:
        raise ImagingError(f"{path} cannot be opened: {error}") from error


def _convert(path: Path, node: dict[str, Any], target: Path) -> None:
    try:
        run(["qemu-img", "convert", "-O", RAW, _name(node), str(target)], timeout=_CONVERT_TIMEOUT)
    except CommandError as error:
        raise ImagingError(f"{path} cannot be unpacked to {target.parent}: {error}") from error


def _name(node: dict[str, Any]) -> str:
    return f"json:{json.dumps(node)}"


def _info(path: Path, kind: str, node: dict[str, Any]) -> dict[str, Any]:
    try:
        with named(_name(node), str(path)):
            said = run(["qemu-img", "info", "--output=json", _name(node)], timeout=_INFO_TIMEOUT).stdout
    except CommandError as error:
        raise ImagingError(f"{path} is not a {kind} disk, or a damaged one: {error}") from error
    info: dict[str, Any] = json.loads(said)
    if info.get("encrypted"):
        raise ImagingError(
            f"{path} is encrypted: make a copy that is not (qemu-img convert --object secret,id=key,file=PASSWORD-FILE"
            f" --image-opts driver={node['driver']},file.filename={path.name},encrypt.key-secret=key -O qcow2 …), and import that"
        )
    return info


def _refuse_dependent(path: Path, part: Part, info: dict[str, Any]) -> None:
    data = info.get("format-specific", {}).get("data", {})
    others = [str(info[key]) for key in ("backing-filename", "full-backing-filename") if info.get(key)]
    others += [str(data["data-file"])] if data.get("data-file") else []
    if data.get("parent-cid") not in (None, 0xFFFFFFFF):
        others.append("the disk that its snapshot was made of")
    # A split VMDK is several files, which lie beside it. One in an archive has nothing beside it.
    extents = [Path(extent["filename"]) for extent in _extents(info) if not _is_own(path, extent["filename"])]
    others += [str(extent) for extent in extents if part.offset or extent.resolve().parent != path.resolve().parent]
    if others:
        raise ImagingError(
            f"{path} is not a disk of its own, it needs {others[0]}: merge them first (qemu-img convert -O qcow2 {path.name} …)"
        )


def _refuse_truncated(path: Path, part: Part, node: dict[str, Any], info: dict[str, Any]) -> None:
    """QEMU reads zeros where a disk file was cut off, so that must be found before."""
    try:
        with named(_name(node), str(path)):
            run(["qemu-img", "check", "-q", _name(node)], accept=_CHECKED, timeout=_CHECK_TIMEOUT)
    except CommandError as error:
        raise ImagingError(f"{path} is damaged or truncated: {error}") from error
    if part.kind == "vdi":
        with path.open("rb") as file:
            file.seek(part.offset)
            data_at, block, allocated = _VDI.unpack(file.read(_VDI.size))
        size = part.size or path.stat().st_size
        if size < data_at + block * allocated:
            raise ImagingError(f"{path} is truncated: it has {size} bytes of {data_at + block * allocated}")
    # What QEMU checks of a VMDK whose content lies beside it does not include the length of that.
    flat: dict[Path, int] = {}
    for extent in _extents(info):
        if extent.get("format") in _FLAT:
            flat[Path(extent["filename"])] = flat.get(Path(extent["filename"]), 0) + extent["virtual-size"]
    for file_name, wanted in flat.items():
        size = file_name.stat().st_size
        if size < wanted:
            raise ImagingError(f"{file_name} is truncated: it has {size} bytes of {wanted}")


def _extents(info: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the files, or parts of files, that a VMDK consists of; other formats have none."""
    found: list[dict[str, Any]] = info.get("format-specific", {}).get("data", {}).get("extents", [])
    return found


def _is_own(path: Path, filename: str) -> bool:
    """Whether what QEMU calls an extent is the disk file itself."""
    if not filename.startswith("json:"):
        return filename == str(path)
    inner = json.loads(filename[len("json:") :])
    return bool(inner.get("driver") == "raw" and inner.get("file") == _file(path))


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
