# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stand-in for Windows, which the virtual lab cannot have: a disk and files like its own, with hives in its real format.

C(windows.py DISK) makes a disk, for the virtual lab. None of this tests how Windows itself would take it. It uses nothing of the
collection, so that the collection does not read its own writing.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import tempfile
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, Union

import hivex

GENERALIZED = "IMAGE_STATE_GENERALIZE_RESEAL_TO_OOBE"
SZ, BINARY, DWORD = 1, 3, 4
Values = Dict[str, Union[str, int, bytes]]


def run(*words: str, data: bytes | None = None) -> bytes:
    return subprocess.run(words, input=data, check=True, stdout=subprocess.PIPE).stdout


def empty_hive() -> bytes:
    """Return a hive with nothing but a root key, which hivex itself cannot make.

    Source: M. Suhanov, "Windows registry file format specification".
    """
    name = b"ROOT"
    key = b"nk" + struct.pack(
        "<HQIIIIIIIIIIIIIIIHH", 0x2C, 0, 0, 0xFFFFFFFF, 0, 0, 0xFFFFFFFF, 0xFFFFFFFF, 0, 0xFFFFFFFF, 0x80, 0xFFFFFFFF,
        0, 0, 0, 0, 0, len(name), 0,
    ) + name  # fmt: skip
    descriptor = struct.pack("<BBHIIII", 1, 0, 0x8000, 0, 0, 0, 0)
    security = b"sk" + struct.pack("<HIIII", 0, 0x80, 0x80, 1, len(descriptor)) + descriptor
    cells = _cell(key, 0x60) + _cell(security, 0x40)
    rest = 4096 - 32 - len(cells)
    block = struct.pack("<4sIIQQI", b"hbin", 0, 4096, 0, 0, 0) + cells + struct.pack("<i", rest).ljust(rest, b"\0")
    head = struct.pack("<4sIIQIIIIIII", b"regf", 1, 1, 0, 1, 5, 0, 1, 0x20, 4096, 1).ljust(508, b"\0")
    checksum = 0
    for (word,) in struct.iter_unpack("<I", head):
        checksum ^= word
    return (head + struct.pack("<I", checksum)).ljust(4096, b"\0") + block


def _cell(data: bytes, size: int) -> bytes:
    return (struct.pack("<i", -size) + data).ljust(size, b"\0")


def make_hive(path: Path, keys: dict[str, Values]) -> None:
    """Make a hive with keys and values."""
    path.write_bytes(empty_hive())
    hive = hivex.Hivex(str(path), write=True)
    for name, values in keys.items():
        node = hive.root()
        for part in filter(None, name.split("\\")):
            node = hive.node_get_child(node, part) or hive.node_add_child(node, part)
        hive.node_set_values(node, [{"key": key, **encode(value)} for key, value in values.items()])
    hive.commit(None)


def encode(value: str | int | bytes) -> dict[str, object]:
    if isinstance(value, bytes):
        return {"t": BINARY, "value": value}
    if isinstance(value, int):
        return {"t": DWORD, "value": struct.pack("<I", value)}
    return {"t": SZ, "value": value.encode("utf-16-le") + b"\0\0"}


def make_tree(
    root: Path,
    *,
    build: str = "22631",
    current: int = 1,
    architecture: str = "AMD64",
    generalized: bool = True,
    state: str = GENERALIZED,
    names: str = "usual",
    drive: bytes = b"",
    storage: int = 0,
) -> Path:
    """Make the tree of a Windows.

    :param names: C(upper) has its folders in capitals, as some have.
    :param drive: What MountedDevices says of C:.
    :param storage: When the drivers of disks start, 0 for at once.
    """
    spell = str.upper if names == "upper" else str
    config = root / spell("Windows") / spell("System32") / "config"
    config.mkdir(parents=True)
    vista = int(build) >= 6000
    make_hive(
        config / "SOFTWARE",
        {
            r"Microsoft\Windows NT\CurrentVersion": {
                "CurrentBuildNumber": build,
                "EditionID": "Professional",
                "ProductName": "Windows 10 Pro",
            },
            r"Microsoft\Windows\CurrentVersion\Setup\State": {"ImageState": state if generalized else "IMAGE_STATE_COMPLETE"},
            r"Classes\.txt": {"": "txtfile"},
        },
    )
    command = r"oobe\windeploy.exe" if vista else "setup -newsetup -mini"
    sets: dict[str, Values] = {
        rf"ControlSet{number:03d}\Control\Session Manager\Environment": {"PROCESSOR_ARCHITECTURE": architecture}
        for number in sorted({1, current})
    }
    languages: dict[str, Values] = {
        rf"ControlSet{number:03d}\Control\Nls\Language": {"InstallLanguage": "0407"} for number in sorted({1, current})
    }
    make_hive(
        config / "SYSTEM",
        {
            "Select": {"Current": current, "Default": current},
            "Setup": {"SetupType": 2 if generalized else 0, "CmdLine": command if generalized else ""},
            **({"MountedDevices": {r"\DosDevices\C:": drive}} if drive else {}),
            **{rf"ControlSet{current:03d}\Services\{name}": {"Start": storage} for name in ("stornvme", "storahci")},
            **sets,
            **languages,
        },
    )
    make_hive(config / "DEFAULT", {r"Control Panel\Desktop": {"Wallpaper": ""}})
    if vista:
        sysprep = root / spell("Windows") / spell("System32") / "Sysprep"
        (sysprep / "Panther").mkdir(parents=True)
        (sysprep / "Panther/setuperr.log").write_text("Error [0x0f0082] SYSPRP a package is in the way\r\n")
        if generalized:
            (sysprep / "Sysprep_succeeded.tag").touch()
        (root / spell("Windows") / "Panther").mkdir()
    else:
        (root / "Sysprep").mkdir()
        (root / "Sysprep/setupcl.exe").touch()
    return root


BOOT_MANAGER, LOADER = "{9dea862c-5cdd-4e70-acc1-f32b344d4795}", "{0c5c3cc6-3f4b-11ef-9d2e-806e6f6e6963}"
GPT_LAYOUT = """label: gpt
size=40MiB, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name="EFI system partition"
size=16MiB, type=E3C9E316-0B5C-4DB8-817D-F92DF00215AE, name="Microsoft reserved partition"
size=64MiB, type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7, name="Basic data partition"
size=32MiB, type=DE94BBA4-06D1-4D40-A16A-BFD50179D6AC, name="Recovery"
"""
MBR_LAYOUT = """label: dos
size=56MiB, type=7, bootable
size=64MiB, type=7
size=32MiB, type=27
"""


def device_element(table: dict[str, Any], number: int) -> bytes:
    """Return how a boot configuration names a partition of a disk, as C(sfdisk --json) describes it."""
    partition = table["partitions"][number - 1]
    if table["label"] == "gpt":
        where, style = uuid.UUID(partition["uuid"]).bytes_le, 0
        disk = uuid.UUID(table["id"]).bytes_le
    else:
        where, style = struct.pack("<QQ", partition["start"] * 512, 0), 1
        disk = struct.pack("<IIII", int(table["id"], 16), 0, 0, 0)
    return bytes(16) + struct.pack("<IIII", 6, 0, 0x48, 0) + where + struct.pack("<II", 0, style) + disk + bytes(16)


def make_bcd(path: Path, boot: bytes, windows: bytes, others: dict[str, bytes] | None = None) -> None:
    """Make a boot configuration: the boot manager, and the one Windows that it starts.

    :param others: What the first device element of other objects holds, by their names.
    """
    elements = r"Objects\{}\Elements\{}"
    make_hive(
        path,
        {
            elements.format(BOOT_MANAGER, "11000001"): {"Element": boot},
            elements.format(BOOT_MANAGER, "23000003"): {"Element": LOADER},
            elements.format(LOADER, "11000001"): {"Element": windows},
            elements.format(LOADER, "21000001"): {"Element": windows},
            elements.format(LOADER, "12000002"): {"Element": r"\Windows\system32\winload.efi"},
            **{elements.format(name, "11000001"): {"Element": data} for name, data in (others or {}).items()},
        },
    )


def make_disk(disk: Path, *, label: str = "gpt", **options: Any) -> None:
    """Make a disk as Windows Setup does, with a Windows on it; with an MBR it has System Reserved instead of ESP and MSR.

    :param label: C(gpt) or C(dos).
    :param options: Those of C(make_tree).
    """
    with disk.open("wb") as file:
        file.truncate(160 << 20)
    run("sfdisk", "--quiet", str(disk), data=(GPT_LAYOUT if label == "gpt" else MBR_LAYOUT).encode())
    table = json.loads(run("sfdisk", "--json", str(disk)))["partitiontable"]
    boot, windows = device_element(table, 1), device_element(table, 3 if label == "gpt" else 2)
    drive = b"DMIO:ID:" + windows[0x20:0x30] if label == "gpt" else windows[0x38:0x3C] + windows[0x20:0x28]
    with tempfile.TemporaryDirectory() as place:
        make_bcd(Path(place, "BCD"), boot, windows)
        if label == "gpt":
            with attached(disk, 1, 40) as loop:
                run("mkfs.vfat", "-F", "32", loop)
                run("mmd", "-i", loop, "::/EFI", "::/EFI/Microsoft", "::/EFI/Microsoft/Boot")
                run("mcopy", "-i", loop, f"{place}/BCD", "::/EFI/Microsoft/Boot/BCD")
        else:
            with ntfs_volume(disk, 1, 56, "System Reserved") as folder:
                (folder / "Boot").mkdir()
                (folder / "Boot/BCD").write_bytes(Path(place, "BCD").read_bytes())
    with ntfs_volume(disk, 57, 64, "Windows") as folder:
        make_tree(folder, drive=drive, **options)
    with ntfs_volume(disk, 121, 32, "WinRE"):
        pass


@contextmanager
def attached(disk: Path, start: int, size: int) -> Iterator[str]:
    """Make I(size) MiB of a disk, I(start) MiB from its begin, a device."""
    span = [f"--offset={start << 20}", f"--sizelimit={size << 20}"]
    loop = run("losetup", "--find", "--show", "--sector-size=512", *span, str(disk)).decode().strip()
    try:
        yield loop
    finally:
        run("losetup", "--detach", loop)


@contextmanager
def ntfs_volume(disk: Path, start: int, size: int, label: str) -> Iterator[Path]:
    """Make an NTFS volume, and yield its folder."""
    with attached(disk, start, size) as loop:
        run("mkfs.ntfs", "-F", "-q", "-L", label, loop)
        folder = Path(tempfile.mkdtemp())  # not a TemporaryDirectory, which would delete what is mounted there
        run("mount", "-t", "ntfs-3g", loop, str(folder))
        try:
            yield folder
        finally:
            run("umount", str(folder))
            folder.rmdir()


if __name__ == "__main__":
    new = Path(f"{sys.argv[1]}.new")
    make_disk(new)
    new.replace(sys.argv[1])
