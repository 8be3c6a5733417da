# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a Windows will find its disk. The hives are in the real format; no Windows was started to see whether it agrees."""

from __future__ import annotations

import hashlib
import json
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError
from ansible_collections.reimage.lab.plugins.module_utils.identity.partition import partitions
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.disk_facts import mend, read
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.regfile import Change
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.registry import merge
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.volume import (
    Volume,
    mounted_windows,
    read_file,
    write_file,
)
from regipy.registry import RegistryHive
from Registry import Registry

from ...lab.windows import (
    BOOT_MANAGER,
    LOADER,
    attached,
    device_element,
    make_bcd,
    make_disk,
)
from ..module import run

BCD = {"gpt": "EFI/Microsoft/Boot/BCD", "dos": "Boot/BCD"}
WINDOWS = {"gpt": 3, "dos": 2}


@pytest.fixture(scope="module", params=["gpt", "dos"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("disk")
    make_disk(folder / "disk.raw", label=request.param)
    return request.param, folder / "disk.raw"


@pytest.fixture
def label(made: tuple[str, Path]) -> str:
    return made[0]


@pytest.fixture
def disk(made: tuple[str, Path], tmp_path: Path) -> Path:
    subprocess.run(["cp", "--sparse=always", made[1], tmp_path / "copy.raw"], check=True)
    return tmp_path / "copy.raw"


def new_identifiers(disk: Path, label: str) -> None:
    """Give a disk the identifiers of another one, as a tool does that does not care."""
    if label == "gpt":
        subprocess.run(["sgdisk", "--randomize-guids", disk], check=True, capture_output=True)
    else:
        subprocess.run(["sfdisk", "--quiet", "--disk-id", disk, "0x0badcafe"], check=True, capture_output=True)


def table(disk: Path) -> dict[str, Any]:
    done = subprocess.run(["sfdisk", "--json", disk], check=True, capture_output=True)
    found: dict[str, Any] = json.loads(done.stdout)["partitiontable"]
    return found


def element(disk: Path, label: str, folder: Path, thing: str, kind: str) -> bytes:
    """Return an element of the boot configuration, as python-registry reads it."""
    with partitions(str(disk), ("vfat", "ntfs"), read_only=True) as found:
        data = read_file(found[0], BCD[label])
    assert data
    (folder / "BCD").write_bytes(data)
    key = Registry.Registry(str(folder / "BCD")).open(rf"Objects\{thing}\Elements\{kind}")
    value: bytes = key.value("Element").value()
    return value


def digest(disk: Path) -> str:
    return hashlib.sha256(disk.read_bytes()).hexdigest()


def test_disk_of_setup_is_found_and_nothing_is_mended(disk: Path) -> None:
    before = digest(disk)
    assert read(str(disk)).problems == []
    assert mend(str(disk)) == []
    assert digest(disk) == before


def test_new_identifiers_are_told_and_mended_once(disk: Path, label: str, tmp_path: Path) -> None:
    new_identifiers(disk, label)
    problems = read(str(disk)).problems
    assert len(problems) == 4
    assert "MountedDevices: C: is not" in problems[0]
    assert sum("boot configuration (BCD) does not name" in problem for problem in problems) == 3
    assert mend(str(disk)) == ["Windows/System32/config/SYSTEM", BCD[label]]
    assert element(disk, label, tmp_path, BOOT_MANAGER, "11000001") == device_element(table(disk), 1)
    for kind in ("11000001", "21000001"):
        assert element(disk, label, tmp_path, LOADER, kind) == device_element(table(disk), WINDOWS[label])
    with mounted_windows(str(disk), read_only=True) as (folder, _partition):
        hive = RegistryHive(str(folder / "Windows/System32/config/SYSTEM"))
        values = {value.name: value.value for value in hive.get_key(r"\MountedDevices").iter_values()}
    drive = values[r"\DosDevices\C:"]
    expected = device_element(table(disk), WINDOWS[label])
    expected = b"DMIO:ID:" + expected[0x20:0x30] if label == "gpt" else expected[0x38:0x3C] + expected[0x20:0x28]
    assert (bytes.fromhex(drive) if isinstance(drive, str) else drive) == expected
    assert read(str(disk)).problems == []
    before = digest(disk)
    assert mend(str(disk)) == []
    assert digest(disk) == before


def test_choice_of_another_partition_of_this_disk_is_told_and_left(disk: Path, label: str, tmp_path: Path) -> None:
    recovery = device_element(table(disk), len(table(disk)["partitions"]))
    make_bcd(tmp_path / "bcd", device_element(table(disk), 1), recovery)
    with partitions(str(disk), ("vfat", "ntfs"), read_only=False) as found:
        write_file(found[0], BCD[label], (tmp_path / "bcd").read_bytes())
    assert len(read(str(disk)).problems) == 2
    assert mend(str(disk)) == []


def test_resume_memory_test_and_recovery_are_mended_or_named(disk: Path, label: str, tmp_path: Path) -> None:
    old = table(disk)
    boot, windows, recovery = (device_element(old, number) for number in (1, WINDOWS[label], len(old["partitions"])))
    # A RAM disk: its own head, the partition that its file is on, and the file's name.
    ramdisk, foreign = (
        bytes(16) + struct.pack("<IIII", 0, 1, 0x100, 0) + part[0x10:] + "\\Winre.wim\0".encode("utf-16-le")
        for part in (windows, recovery)
    )
    others = {"{resume}": windows, "{memtest}": boot, "{winre}": ramdisk, "{winre2}": foreign, "{booted}": bytes(16) + b"\5" * 8}
    make_bcd(tmp_path / "bcd", boot, windows, others)
    with partitions(str(disk), ("vfat", "ntfs"), read_only=False) as found:
        write_file(found[0], BCD[label], (tmp_path / "bcd").read_bytes())
    assert read(str(disk)).problems == []
    new_identifiers(disk, label)
    told = [problem for problem in read(str(disk)).problems if " names " in problem]
    assert sorted(problem.split("Objects\\")[1].split("\\")[0] for problem in told) == [
        "{memtest}",
        "{resume}",
        "{winre2}",
        "{winre}",
    ]
    mend(str(disk))
    boot, windows = device_element(table(disk), 1), device_element(table(disk), WINDOWS[label])
    assert element(disk, label, tmp_path, "{resume}", "11000001") == windows
    assert element(disk, label, tmp_path, "{memtest}", "11000001") == boot
    mended = element(disk, label, tmp_path, "{winre}", "11000001")
    assert mended == ramdisk[:0x20] + windows[0x10:] + ramdisk[0x20 + len(windows) - 0x10 :]
    assert element(disk, label, tmp_path, "{booted}", "11000001") == others["{booted}"]
    left = read(str(disk)).problems
    if label == "gpt":
        assert element(disk, label, tmp_path, "{winre2}", "11000001") == foreign
        assert len(left) == 1
        assert "not on this disk" in left[0]
        assert "{winre2}" in left[0]
    else:  # the partition is known by where it begins
        assert element(disk, label, tmp_path, "{winre2}", "11000001") != foreign
        assert left == []
    assert mend(str(disk)) == []


def test_healthy_driver_behind_an_overridden_one_is_no_problem(tmp_path: Path) -> None:
    disk = str(tmp_path / "disk.raw")
    make_disk(Path(disk), generalized=False)
    change = r"HKLM\SYSTEM\ControlSet001\Services\stornvme"
    values = {"Start": (4, struct.pack("<I", 3))}
    with mounted_windows(disk) as (folder, _partition):
        override = Change(rf"{change}\StartOverride", values={"0": (4, struct.pack("<I", 3))})
        merge(Volume(folder), [Change(change, values=values), override])
    assert [problem.split(" does")[0] for problem in read(disk).problems] == ["the driver stornvme"]
    mend(disk)
    assert read(disk).problems == []


def test_missing_boot_configuration_is_told(tmp_path: Path) -> None:
    make_disk(tmp_path / "disk.raw")
    with attached(tmp_path / "disk.raw", 1, 40) as loop:
        subprocess.run(["mdel", "-i", loop, "::/EFI/Microsoft/Boot/BCD"], check=True)
    assert read(str(tmp_path / "disk.raw")).problems == ["there is no boot configuration (BCD) on the disk"]


def test_drivers_of_disks_start_where_windows_does_not_look_anew(tmp_path: Path) -> None:
    disk = str(tmp_path / "disk.raw")
    make_disk(Path(disk), generalized=False, storage=3)
    assert [problem.split(" does")[0] for problem in read(disk).problems] == ["the driver stornvme", "the driver storahci"]
    mend(disk)
    assert read(disk).problems == []
    make_disk(Path(disk), generalized=True, storage=3)
    assert read(disk).problems == []


def test_disk_without_windows_is_refused(tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    disk.write_bytes(bytes(20 << 20))
    subprocess.run(["sfdisk", "--quiet", disk], input=b"label: gpt\nsize=4MiB\n", check=True)
    with pytest.raises(IdentityError, match="one partition must hold Windows; none does"):
        read(str(disk))


def test_deployed_windows_finds_its_disk(disk: Path, tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    Path(store).mkdir()
    target = tmp_path / "target.raw"
    with target.open("wb") as file:
        file.truncate(300 << 20)
    assert run("image_capture", store=store, name="windows", disk=str(disk))["changed"]
    assert run("image_deploy", store=store, name="windows", disk=str(target))["changed"]
    windows = run("sysprep_info", disk=str(target))["windows"]
    assert (windows["finds_disk"], windows["disk_problems"], windows["problems"]) == (True, [], [])
