# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The identity of a Linux on a real disk: what the disk must tell, and what its firmware is told.

No firmware is changed: efibootmgr is a program of this test's own, which prints as version 17 does and keeps its entries in a
file, so that what real firmware does with them is not tested here. Where the kernel knows no FAT, the EFI system partition is
copied out and back with mtools instead of being mounted.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Iterator

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.command import CommandError
from ansible_collections.reimage.lab.plugins.module_utils.identity import partition
from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux import uefi
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.uefi import ensure_start, start_once
from ansible_collections.reimage.lab.plugins.modules import linux_identity

ROOT = Path(__file__).resolve().parents[3]
ESP_UUID, GONE_UUID = "11111111-2222-4333-8444-555555555555", "99999999-2222-4333-8444-555555555555"
LAYOUT = f"""label: gpt
size=40MiB, type=U, uuid={ESP_UUID}
size=64MiB, type=L
size=8MiB, type=S
"""
ESP_AT, ROOT_AT, SWAP_AT = 1 << 20, 41 << 20, 105 << 20
ROOT_UUID, SWAP_UUID = "aaaaaaaa-0000-4000-8000-000000000002", "aaaaaaaa-0000-4000-8000-000000000003"
FSTAB = "# the master's\n/dev/sda2 / ext4 errors=remount-ro 0 1\n/dev/sda3 none swap sw 0 0\nUUID=gone /data ext4 nofail 0 2\n"
EFIBOOTMGR = r"""#!/usr/bin/env python3
import json, sys
from pathlib import Path
file = Path(__file__).with_suffix(".json")
state = json.loads(file.read_text())
options = dict(zip(sys.argv[1::1], [*sys.argv[2::1], ""]))
if state["broken"] and "--create-only" in options:
    sys.exit("Could not prepare Boot variable: No space left on device")
if "--create-only" in options:
    number = "%04X" % next(n for n in range(65536) if "%04X" % n not in state["entries"])
    path = "HD(%s,GPT,UUID,0x800,0x14000)/File(%s)" % (options["--part"], options["--loader"])
    state["entries"][number] = [options["--label"], path.replace("UUID", state["esp"])]
elif "--delete-bootnum" in options:
    del state["entries"][options["--bootnum"]]
    state["order"] = [one for one in state["order"] if one != options["--bootnum"]]
elif "--bootorder" in options:
    state["order"] = options["--bootorder"].split(",")
    assert set(state["order"]) <= set(state["entries"])
elif "--bootnext" in options:
    assert options["--bootnext"] in state["entries"]
    state["next"] = options["--bootnext"]
else:
    assert sys.argv[1:] == ["--verbose"]
if sys.argv[1:] != ["--verbose"]:
    state["calls"].append(sys.argv[1:])
file.write_text(json.dumps(state))
print("BootCurrent: 0001\nTimeout: 1 seconds\nBootOrder: " + ",".join(state["order"]))
for number, (label, path) in sorted(state["entries"].items()):
    print("Boot%s* %s\t%s" % (number, label, path))
"""


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A disk with an EFI system partition, a root and swap."""
    tree = tmp_path / "tree"
    for name, text in {
        "etc/os-release": "ID=debian\n",
        "etc/fstab": FSTAB,
        "etc/initramfs-tools/conf.d/resume": "RESUME=UUID=gone\n",
        "etc/network/interfaces": "source /etc/network/interfaces.d/*\n",
        "sbin/ifup": "",
        "etc/ssh/sshd_config": "",
        "etc/krb5.keytab": "secret",
        "etc/machine-info": "CHASSIS=desktop\n",
    }.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    disk = tmp_path / "disk.raw"
    with disk.open("wb") as file:
        file.truncate(120 << 20)
    sh("sfdisk", "-q", disk, data=LAYOUT)
    sh("mkfs.vfat", "--offset", ESP_AT // 512, disk, 40 << 10)
    sh("mkfs.ext4", "-q", "-F", "-U", ROOT_UUID, "-E", f"offset={ROOT_AT}", "-d", tree, disk, "64M")
    swap = tmp_path / "swap"
    with swap.open("wb") as file:
        file.truncate(8 << 20)
    sh("mkswap", "-q", "-U", SWAP_UUID, swap)
    with disk.open("r+b") as file:
        file.seek(SWAP_AT)
        file.write(swap.read_bytes())
    return disk


def sh(*words: object, data: str = "") -> str:
    done = subprocess.run([str(word) for word in words], input=data, check=True, capture_output=True, text=True)
    return done.stdout


def on_esp(disk: Path) -> list[str]:
    """Return the files of the EFI system partition."""
    return sorted(sh("mdir", "-/", "-b", "-i", f"{disk}@@{ESP_AT}", "::").replace("::/", "").split())


def put_on_esp(disk: Path, *names: str) -> None:
    at = f"{disk}@@{ESP_AT}"
    for name in names:
        for folder in list(Path(name).parents)[-2::-1]:
            subprocess.run(["mmd", "-D", "s", "-i", at, f"::{folder}"], check=False, capture_output=True)
        source = disk.with_name("loader")
        source.write_text(name)
        sh("mcopy", "-i", at, source, f"::{name}")


@pytest.fixture
def fat(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Have FAT mounted by mtools, if the kernel cannot."""
    if re.search(r"\bvfat$", Path("/proc/filesystems").read_text(), re.MULTILINE):
        return
    really = partition.Partition.mounted

    @contextmanager
    def mounted(self: partition.Partition, options: str, kind: str = "auto") -> Iterator[Path]:
        if kind != "vfat":
            with really(self, options, kind) as root:
                yield root
            return
        folder = Path(tempfile.mkdtemp(prefix="esp-", dir=tmp_path))
        subprocess.run(["mcopy", "-s", "-i", self.device, "::*", folder], check=False, capture_output=True)
        yield folder
        if options == "rw" and list(folder.iterdir()):
            sh("mcopy", "-s", "-D", "o", "-i", self.device, *folder.iterdir(), "::")

    monkeypatch.setattr(partition.Partition, "mounted", mounted)


@pytest.fixture
def firmware(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Firmware that started this machine over the network; return what it remembers."""
    (tmp_path / "efi/efivars").mkdir(parents=True)
    monkeypatch.setattr(uefi, "FIRMWARE", tmp_path / "efi")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/efibootmgr"
    program.write_text(EFIBOOTMGR)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    entries = {
        "0000": ["Windows Boot Manager", rf"HD(1,GPT,{ESP_UUID},0x800,0x14000)/File(\EFI\Microsoft\Boot\bootmgfw.efi)WINDOWS"],
        "0001": ["UEFI PXEv4", "PciRoot(0x0)/Pci(0x3,0x0)/MAC(525400770101,1)/IPv4(0.0.0.0)"],
        "0002": ["UEFI Shell", "FvVol(7cb8bdc9)/FvFile(7c04a583)"],
        "0003": ["reimage debian", rf"HD(1,GPT,{GONE_UUID},0x800,0x14000)/File(\EFI\debian\shimx64.efi)"],
        "0004": ["debian", rf"HD(1,GPT,{GONE_UUID},0x800,0x14000)/File(\EFI\debian\shimx64.efi)"],
        # As role reimage makes it: in no order.
        "0005": ["reimage.lab", rf"HD(1,GPT,{ESP_UUID},0x800,0x14000)/File(\EFI\BOOT\BOOTX64.EFI)"],
    }
    state = {"esp": ESP_UUID, "order": ["0000", "0001", "0003", "0002"], "entries": entries, "calls": [], "broken": False}
    program.with_suffix(".json").write_text(json.dumps(state))
    return program.with_suffix(".json")


@pytest.fixture
def device(disk: Path) -> Iterator[str]:
    """The disk as a block device."""
    loop = sh("losetup", "--find", "--show", "--sector-size=512", disk).strip()
    yield loop
    sh("losetup", "--detach", loop)


def remembered(firmware: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(firmware.read_text())
    return found


@pytest.mark.usefixtures("fat")
def test_fallback_and_entry_once(disk: Path, device: str, firmware: Path) -> None:
    put_on_esp(disk, "EFI/debian/shimx64.efi", "EFI/debian/grubx64.efi")
    before, files = remembered(firmware), on_esp(disk)
    planned = ensure_start(device, dry_run=True)
    assert (remembered(firmware), on_esp(disk)) == (before, files)

    done = ensure_start(device)
    assert done == planned
    assert done.fallback == ["EFI/BOOT/grubx64.efi", "EFI/BOOT/BOOTX64.EFI"]
    assert (done.entries_added, done.entries_removed, done.warnings) == (["reimage debian"], ["reimage debian"], [])
    after = remembered(firmware)
    assert after["order"] == ["0000", "0001", "0003", "0002"]  # 0003 is the new one: after what this machine was started by
    assert after["entries"].pop("0003") == [
        "reimage debian",
        rf"HD(1,GPT,{ESP_UUID},0x800,0x14000)/File(\EFI\debian\shimx64.efi)",
    ]
    assert before["entries"].pop("0003")
    assert after["entries"] == before["entries"]
    assert {"EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/grubx64.efi"} <= set(on_esp(disk))

    calls = len(after["calls"])
    assert not ensure_start(device).changed
    assert len(remembered(firmware)["calls"]) == calls


@pytest.mark.usefixtures("fat")
def test_loader_at_the_fallback_path_gets_the_entry_if_there_is_no_other(disk: Path, device: str, firmware: Path) -> None:
    put_on_esp(disk, "EFI/BOOT/BOOTX64.EFI")
    done = ensure_start(device)
    assert (done.fallback, done.entries_added) == ([], ["reimage Linux"])
    assert [r"\EFI\BOOT\BOOTX64.EFI" in call for call in remembered(firmware)["calls"] if "--create-only" in call] == [True]


@pytest.mark.usefixtures("fat")
def test_entry_that_the_firmware_dropped_from_the_order_is_not_made_twice(disk: Path, device: str, firmware: Path) -> None:
    put_on_esp(disk, "EFI/debian/grubx64.efi")
    ensure_start(device)
    state = remembered(firmware)
    firmware.write_text(json.dumps({**state, "order": ["0002"]}))
    assert ensure_start(device).changed
    assert remembered(firmware)["entries"] == state["entries"]
    assert remembered(firmware)["order"] == ["0003", "0002"]


@pytest.mark.usefixtures("fat")
@pytest.mark.parametrize("case", ["raw disk file", "not wanted", "no efivars", "no efibootmgr"])
def test_without_entries_the_fallback_path_must_do(
    disk: Path, device: str, firmware: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    put_on_esp(disk, "EFI/debian/grubx64.efi")
    before = remembered(firmware)
    if case == "no efivars":
        (uefi.FIRMWARE / "efivars").rmdir()
    if case == "no efibootmgr":
        monkeypatch.setattr(uefi.shutil, "which", lambda _name: None)
    done = ensure_start(str(disk) if case == "raw disk file" else device, boot_entry=case != "not wanted")
    assert (done.fallback, done.entries_added, done.entries_removed) == (["EFI/BOOT/BOOTX64.EFI"], [], [])
    assert remembered(firmware) == before


@pytest.mark.usefixtures("fat")
def test_firmware_that_is_full_is_a_warning(disk: Path, device: str, firmware: Path) -> None:
    put_on_esp(disk, "EFI/debian/grubx64.efi")
    firmware.write_text(json.dumps({**remembered(firmware), "broken": True}))
    assert ["No space left" in warning for warning in ensure_start(device).warnings] == [True]


@pytest.mark.usefixtures("fat", "firmware")
def test_partition_without_a_loader_is_a_warning(device: str) -> None:
    done = ensure_start(device)
    assert not done.entries_added
    assert ["no loader that is known" in warning for warning in done.warnings] == [True]


def test_disk_is_started_once_and_the_order_stays_as_it_is(device: str, firmware: Path) -> None:
    before = remembered(firmware)
    assert start_once(device, dry_run=True)
    assert remembered(firmware) == before
    for _twice in range(2):
        assert start_once(device)
        after = remembered(firmware)
        ours = [number for number, (label, _path) in after["entries"].items() if label == "reimage.lab"]
        assert ours == [after["next"]]
        assert after["entries"].pop(ours[0])[1].endswith(r"File(\EFI\BOOT\BOOTX64.EFI)")
        assert after["order"] == before["order"]
        assert after["entries"] == {number: entry for number, entry in before["entries"].items() if entry[0] != "reimage.lab"}


def test_firmware_that_takes_no_entry_for_once_is_an_error(device: str, firmware: Path) -> None:
    firmware.write_text(json.dumps({**remembered(firmware), "broken": True}))
    with pytest.raises(CommandError, match="No space left"):
        start_once(device)
    (uefi.FIRMWARE / "efivars").rmdir()
    assert not start_once(device)


def module(check: bool = False, **options: Any) -> dict[str, Any]:
    """Run the module as Ansible does, and return its result."""
    words = [
        "ansible",
        "localhost",
        "-m",
        "reimage.lab.linux_identity",
        "-a",
        json.dumps(options),
        *(["--check"] if check else []),
    ]
    done = subprocess.run([*words, "--diff"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert " => " in done.stdout, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.rsplit(" => ", 1)[1])
    return {**result, "failed": done.returncode != 0, "shown": done.stdout, "said": done.stderr}


def cat(disk: Path, name: str) -> str:
    return sh("debugfs", "-R", f"cat {name}", f"{disk}?offset={ROOT_AT}")


def test_module_checks_changes_and_then_finds_nothing_to_do(disk: Path) -> None:
    """Without an EFI system partition, so that any kernel can do it."""
    sh("sfdisk", "-q", "--part-type", disk, "1", "L")
    card = {"mac": "52-54-00-77-01-01", "addresses": ["192.0.2.7/24"], "gateway": "192.0.2.1"}
    wanted = {"disk": str(disk), "hostname": "pc-01", "image": "lab/1", "interfaces": [card], "keep": ["machine-info"]}
    before = disk.read_bytes()
    checked = module(check=True, **wanted)
    assert checked["changed"]
    assert disk.read_bytes() == before
    assert f"+UUID={ROOT_UUID} / ext4" in checked["shown"]
    assert checked["renewed"] == ["/etc/krb5.keytab"]
    assert "-/etc/krb5.keytab" in checked["shown"]
    assert "secret" not in checked["shown"]

    given = module(**wanted)
    assert given["changed"], given
    assert (given["network"], given["files"]) == ("ifupdown", checked["files"])
    assert given["files"] == [
        "/etc/fstab",
        "/etc/initramfs-tools/conf.d/resume",
        "/etc/network/interfaces.d/reimage",
        "/etc/systemd/network/10-reimage-525400770101.link",
    ]
    assert given["boot"] == {"fallback": [], "entries_added": [], "entries_removed": []}
    assert "/data is on UUID=gone" in " ".join(given["said"].split())
    assert given["renewed"] == ["/etc/krb5.keytab"]
    assert (cat(disk, "/etc/krb5.keytab"), cat(disk, "/etc/machine-info")) == ("", "CHASSIS=desktop\n")
    assert cat(disk, "/etc/fstab") == FSTAB.replace("/dev/sda2", f"UUID={ROOT_UUID}").replace("/dev/sda3", f"UUID={SWAP_UUID}")
    assert cat(disk, "/etc/initramfs-tools/conf.d/resume") == "RESUME=none\n"
    assert json.loads(cat(disk, "/var/lib/reimage/identity.json"))["interfaces"][0]["mac"] == "52:54:00:77:01:01"
    assert subprocess.run(["e2fsck", "-fn", f"{disk}?offset={ROOT_AT}"], check=False, capture_output=True).returncode == 0

    again = module(**wanted)
    assert (again["changed"], again["files"], again["machine_id"]) == (False, [], given["machine_id"])
    assert again["renewed"] == []
    moved = module(**{**wanted, "interfaces": [{**card, "addresses": ["192.0.2.8/24"]}]})
    assert (moved["changed"], moved["files"]) == (True, ["/etc/network/interfaces.d/reimage"])
    assert given["host_keys"]
    assert (moved["machine_id"], moved["host_keys"]) == (given["machine_id"], given["host_keys"])


def test_module_refuses_before_it_writes(disk: Path) -> None:
    sh("sfdisk", "-q", "--part-type", disk, "1", "L")
    before = disk.read_bytes()
    refused = module(disk=str(disk), hostname="pc-01", interfaces=[{"mac": "52:54:00:77:01:01", "addresses": ["192.0.2.7"]}])
    assert refused["failed"]
    assert "needs a prefix" in refused["msg"]
    assert disk.read_bytes() == before


def work(disk: str, *, check: bool = False) -> dict[str, Any]:
    """Call what the module does, in this process, where FAT and the firmware are the test's own."""
    options = {"path": None, "hostname": "pc-01", "image": "lab/1", "machine_id": "", "interfaces": [], "keep": []}
    options["boot_entry"] = True
    caller = SimpleNamespace(params={**options, "disk": disk}, check_mode=check, warn=lambda _text: None)
    return linux_identity.work(caller)


@pytest.mark.usefixtures("fat")
def test_module_sees_to_the_system_and_to_its_start(disk: Path, device: str, firmware: Path) -> None:
    put_on_esp(disk, "EFI/debian/grubx64.efi")
    before = disk.read_bytes(), firmware.read_bytes()
    checked = work(device, check=True)
    assert (disk.read_bytes(), remembered(firmware)) == (before[0], json.loads(before[1]))
    given = work(device)
    assert (given["changed"], given["boot"], given["files"]) == (True, checked["boot"], checked["files"])
    assert given["boot"]["fallback"] == ["EFI/BOOT/BOOTX64.EFI"]
    assert cat(disk, "/etc/hostname") == "pc-01\n"
    again = work(device)
    assert (again["changed"], any(again["boot"].values())) == (False, False)
    # One that was done to the system and not yet to its start is finished.
    sh("mdel", "-i", f"{disk}@@{ESP_AT}", "::EFI/BOOT/BOOTX64.EFI")
    assert (work(device)["changed"], work(device)["changed"]) == (True, False)


@pytest.mark.usefixtures("firmware")
def test_efi_system_partition_that_cannot_be_mounted_is_refused_before_anything_is_written(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is mounted before, to find the root, is mounted to read; ext4 would show another mount."""
    really = partition.Partition.mounted

    @contextmanager
    def mounted(self: partition.Partition, options: str, kind: str = "auto") -> Iterator[Path]:
        if kind == "vfat":
            raise IdentityError("cannot be mounted")
        with really(self, options, kind) as root:
            yield root

    before = disk.read_bytes()
    monkeypatch.setattr(partition.Partition, "mounted", mounted)
    with pytest.raises(IdentityError, match="cannot be mounted"):
        work(str(disk))
    assert disk.read_bytes() == before
