# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What stands in for Windows is captured, deployed over PXE, and given its identity; read back with tools that are not ours.

No Windows is started here: the disk and its hives are in the real formats, but nothing of it is Microsoft's.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

import pytest
from regipy.registry import RegistryHive
from Registry import Registry

from .conftest import ROOT, Play, attached, fields, records, switch

PASSWORD = "lab-technician-password"  # as in the lab's inventory
INF = """[Version]
Signature = "$Windows NT$"
Class = Net
ClassGuid = {4d36e972-e325-11ce-bfc1-08002be10318}
[Manufacturer]
%Maker% = Cards, NTamd64
[Cards.NTamd64]
"A card" = Install, IDS
[Strings]
Maker = "Somebody"
"""
CARD = r"PCI\VEN_1AF4&DEV_1000, PCI\VEN_1AF4&DEV_1041"  # the network card of the lab's PCs, in both of its guises
INJECTED = {
    "Drivers/.reimage.json",
    "Drivers/net/card.inf",
    "Drivers/net/card.sys",
    "Windows/Panther/unattend.xml",
    "Windows/Setup/Scripts/reimage-clean-up.ps1",
    "Windows/Setup/Scripts/reimage-remoting.ps1",
    "Windows/System32/config/SYSTEM",
    "ProgramData/reimage/identity.json",
}


@pytest.fixture(scope="module")
def refused(play: Play) -> str:
    """What the playbook printed when pc-05 could not get drivers from where the inventory said, with a master to give it."""
    captured = play("reimage.lab.capture_master", "target=master-windows")
    assert captured.returncode == 0, captured.stdout[-4000:]
    done = play("reimage-lab.yml", "target=pc-05", "reimage_drivers=//10.77.1.2/nowhere")
    assert done.returncode != 0, done.stdout[-4000:]
    return captured.stdout + done.stdout


@pytest.fixture(scope="module")
def output(refused: str, play: Play) -> str:
    """What the playbooks printed that captured the master and reimaged pc-05."""
    packs = ROOT / "var/lab/machines/lab-server/rootfs/srv/reimage/drivers/_any/_any"
    for name, device in (("net", CARD), ("other", r"PCI\VEN_8086&DEV_FFFF")):
        (packs / name).mkdir(parents=True, exist_ok=True)
        (packs / name / "card.inf").write_text(INF.replace("IDS", device))
        (packs / name / "card.sys").write_bytes(b"MZ")
    done = play("reimage-lab.yml", "target=pc-05")
    assert done.returncode == 0, done.stdout[-4000:]
    switch("pc-05", "stopped")
    return refused + done.stdout


@contextmanager
def volume(disk: Path, folder: Path) -> Iterator[Path]:
    """Mount the volume of Windows with ntfs-3g."""
    folder.mkdir(exist_ok=True)
    with attached(disk) as loop:
        subprocess.run(["mount", "-t", "ntfs-3g", "-o", "ro", loop, folder], check=True)
        try:
            yield folder
        finally:
            subprocess.run(["umount", folder], check=True)


@pytest.fixture
def windows(output: str, tmp_path: Path) -> Iterator[Path]:
    with volume(ROOT / "var/lab/pcs/pc-05.raw", tmp_path / "volume") as folder:
        yield folder


def digests(root: Path) -> dict[str, str]:
    files = [path for path in root.rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def answer(windows: Path, *names: str) -> str:
    path = "".join(f"//*[local-name()='{name}']" for name in names)
    words = ["xmllint", "--xpath", f"string({path})", windows / "Windows/Panther/unattend.xml"]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


def test_share_that_cannot_be_had_is_named_before_the_disk_is_written(refused: str) -> None:
    assert re.search(r"pc-05: Mount the share: mount error\(2\)", refused)
    with (ROOT / "var/lab/pcs/pc-05.raw").open("rb") as disk:
        assert not any(disk.read(1 << 20))


def test_machine_is_released(output: str) -> None:
    record = records()["pc-05"]
    assert record["image"].startswith("classroom-windows/")
    states = ["armed", "booted", "preflight", "failed", "preflight", "writing", "verified", "identified", "released"]
    assert [entry["state"] for entry in record["history"]] == states


def test_answer_file_holds_what_was_declared(windows: Path) -> None:
    assert answer(windows, "ComputerName") == "pc-05"
    assert answer(windows, "TimeZone") == "W. Europe Standard Time"
    assert answer(windows, "JoinWorkgroup") == "CLASSROOM"
    assert answer(windows, "LocalAccount", "Name") == "technician"
    assert answer(windows, "LocalAccount", "DisplayName") == "Technikerin Jürgens"
    assert answer(windows, "UnicastIpAddresses", "IpAddress") == "10.77.1.105/24"
    assert answer(windows, "Interface", "Identifier") == "52-54-00-77-01-05"
    plain = ["iconv", "--from-code=US-ASCII", "--to-code=UTF-16", windows / "Windows/Panther/unattend.xml"]
    assert subprocess.run(plain, check=False, capture_output=True).returncode == 0


def test_drivers_of_this_machine_are_there_and_will_be_installed(windows: Path) -> None:
    assert sorted(path.name for path in (windows / "Drivers").iterdir()) == [".reimage.json", "net"]
    assert "pnputil" in answer(windows, "RunSynchronous")


def test_registry_holds_what_was_declared(windows: Path) -> None:
    hive = windows / "Windows/System32/config/SYSTEM"
    key = r"ControlSet001\Services\LanmanServer\Parameters"
    assert Registry.Registry(str(hive)).open(key).value("srvcomment").value() == "pc-05"
    assert RegistryHive(str(hive)).get_key(rf"\{key}").get_value("srvcomment") == "pc-05"


def test_nothing_else_changed(windows: Path, tmp_path: Path) -> None:
    with volume(ROOT / "var/cache/lab/windows.raw", tmp_path / "master") as master:
        before = digests(master)
    after = digests(windows)
    assert before
    assert {name for name in {**before, **after} if before.get(name) != after.get(name)} == INJECTED


def test_windows_finds_its_disk(output: str) -> None:
    words = ["ansible", "localhost", "-m", "reimage.lab.sysprep_info", "-a", "disk=var/lab/pcs/pc-05.raw"]
    done = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True, timeout=120)
    found = json.loads(done.stdout.split(" => ", 1)[1])["windows"]
    assert (found["finds_disk"], found["problems"]) == (True, [])


def test_password_is_on_the_disk_of_the_machine_and_nowhere_else(windows: Path, output: str) -> None:
    assert answer(windows, "LocalAccount", "Value") == PASSWORD
    assert PASSWORD not in output
    places = [
        ROOT / "var/report",
        ROOT / "var/lab/machines/lab-server/rootfs/srv",
        ROOT / "var/lab/machines/lab-server/rootfs/var/log",
    ]
    found = subprocess.run(["grep", "-rlaF", PASSWORD, *places], check=False, capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (1, "")


def test_second_run_changes_nothing(output: str, play: Play) -> None:
    again = play("reimage-lab.yml", "target=pc-05")
    assert again.returncode == 0, again.stdout[-4000:]
    assert fields(again.stdout, "pc-05")["changed"] == 0


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ('{"reimage_windows": {"time_zone": "Europe/Berlin"}}', "Windows knows no 'Europe/Berlin'"),
        (r'{"reimage_registry": [{"path": "HKCU\\Software\\Example"}]}', "in no hive of a Windows that is not running"),
        ('{"reimage_domain": {"domain": "school.example.org"}}', "reimage_domain needs domain, username and password"),
    ],
)
def test_mistake_is_found_before_anything_is_touched(output: str, play: Play, declared: str, said: str) -> None:
    before = records()["pc-05"]
    done = play("reimage-lab.yml", "target=pc-05", "reimage_force=true", declared)
    assert done.returncode != 0
    assert said in done.stdout
    assert records()["pc-05"] == before
