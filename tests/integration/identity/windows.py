# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stands in for Windows, which cannot be had here: a tree of files like its own, with hives in its real format, made with hivex.

What Windows itself would do with it is not tested by any of this.
"""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import hivex

GENERALIZED = "IMAGE_STATE_GENERALIZE_RESEAL_TO_OOBE"
SZ, DWORD = 1, 4
Values = dict[str, "str | int"]


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


def encode(value: str | int) -> dict[str, object]:
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
) -> Path:
    """Make the tree of a Windows; I(names) C(upper) has its folders in capitals, as some have."""
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
    sets = {
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


def make_disk(disk: Path, mnt: Path, **options: object) -> None:
    """Make a disk as Windows Setup does, ESP, MSR, Windows, recovery, with a Windows on it."""
    with disk.open("wb") as file:
        file.truncate(160 << 20)
    layout = """label: gpt
size=40MiB, type=C12A7328-F81F-11D2-BA4B-00C04F795DB8, name="EFI system partition"
size=16MiB, type=E3C9E316-0B5C-4DB8-817D-F92DF00215AE, name="Microsoft reserved partition"
size=64MiB, type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7, name="Basic data partition"
size=32MiB, type=DE94BBA4-06D1-4D40-A16A-BFD50179D6AC, name="Recovery"
"""
    subprocess.run(["sfdisk", "--quiet", disk], input=layout.encode(), check=True, capture_output=True)
    for start, size, make in (
        (1, 40, ["mkfs.vfat", "-F", "32"]),
        (57, 64, ["mkfs.ntfs", "-F", "-q", "-L", "Windows"]),
        (121, 32, ["mkfs.ntfs", "-F", "-q", "-L", "WinRE"]),
    ):
        attach = [
            "losetup",
            "--find",
            "--show",
            "--sector-size=512",
            f"--offset={start << 20}",
            f"--sizelimit={size << 20}",
            disk,
        ]
        loop = subprocess.run(attach, check=True, capture_output=True, text=True).stdout.strip()
        try:
            subprocess.run([*make, loop], check=True, capture_output=True)
            if make[-1] == "Windows":
                mnt.mkdir(exist_ok=True)
                subprocess.run(["mount", "-t", "ntfs-3g", loop, mnt], check=True)
                try:
                    make_tree(mnt, **options)  # type: ignore[arg-type]
                finally:
                    subprocess.run(["umount", mnt], check=True)
        finally:
            subprocess.run(["losetup", "--detach", loop], check=True)
