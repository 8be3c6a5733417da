# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A disk whose boot manager the firmware would refuse is named before the machine restarts.

Debian's shim is the real one, signed with Microsoft's certificates of 2011 and 2023. The boot manager of Windows is a stand-in: a
program of Debian that is signed here with certificates of our own, which are called like Microsoft's.
"""

from __future__ import annotations

import struct
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.hardware.signatures import signers

from ..loops import await_no_loop
from ..module import run

GLOBAL, DATABASE = "8be4df61-93ca-11d2-aa0d-00e098032b8c", "d719b2cb-3d3a-4596-a3bc-dad00e67656f"
X509 = uuid.UUID("a5c059a1-94e4-4aa7-87b5-ab155c2bf072").bytes_le
SHIM = "/usr/lib/shim/shimx64.efi.signed"
MIB = 1 << 20


def sh(*words: object, **options: Any) -> bytes:
    return subprocess.run([str(word) for word in words], check=True, capture_output=True, timeout=120, **options).stdout


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return Debian's shim, as apt fetches and verifies it. It is not installed: it would change how this computer boots."""
    folder = tmp_path_factory.mktemp("shim")
    folder.chmod(0o777)  # apt's own user writes there
    sh("apt-get", "download", "shim-signed", cwd=folder)
    sh("dpkg", "-x", next(folder.glob("*.deb")), folder)
    return folder / SHIM.lstrip("/")


@pytest.fixture(scope="module")
def plain(shim: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a program that nobody signed: Debian's shim without its signatures."""
    program = tmp_path_factory.mktemp("plain") / "plain.efi"
    program.write_bytes(shim.read_bytes())
    while b"no signature" not in subprocess.run(["sbverify", "--list", program], capture_output=True, check=False).stderr.lower():
        sh("sbattach", "--remove", program)
    return program


class Authority:
    """A certificate that is called like one of Microsoft's, and signs programs."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name, self.key, self.pem = name, folder / f"{name}.key", folder / f"{name}.pem"
        words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/O=Stand-in/CN={name}"]
        sh(*words, "-keyout", self.key, "-out", self.pem)

    @property
    def entry(self) -> bytes:
        """Its signature list. Source: UEFI Specification 2.10, 32.4.1."""
        der = sh("openssl", "x509", "-in", self.pem, "-outform", "DER")
        return X509 + struct.pack("<III", 28 + 16 + len(der), 0, 16 + len(der)) + bytes(16) + der

    def sign(self, program: Path, signed: Path) -> Path:
        sh("sbsign", "--key", self.key, "--cert", self.pem, "--output", signed, program)
        return signed


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("old"), "Windows Production PCA 2011, a stand-in")


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("new"), "Windows UEFI CA 2023, a stand-in")


def firmware(folder: Path, *trusted: Authority, enabled: bool = True) -> Path:
    """Return a folder of variables like the kernel's."""
    folder.mkdir(exist_ok=True)
    (folder / f"db-{DATABASE}").write_bytes(b"\x27\0\0\0" + b"".join(one.entry for one in trusted))
    (folder / f"SecureBoot-{GLOBAL}").write_bytes(b"\6\0\0\0" + bytes([enabled]))
    return folder


def make_disk(path: Path, **programs: Path) -> Path:
    """Make a disk with an EFI system partition that holds programs."""
    with path.open("wb") as file:
        file.truncate(64 * MIB)
    sh("sgdisk", "-n", "1:2048:+48M", "-t", "1:ef00", path)
    image = f"{path}@@1M"
    sh("mformat", "-i", image, "-F", "-T", str(48 * MIB // 512), "::")
    for name, program in programs.items():
        place = {
            "windows": "EFI/Microsoft/Boot/bootmgfw.efi",
            "shim": "EFI/debian/shimx64.efi",
            "fallback": "EFI/BOOT/BOOTX64.EFI",
        }[name]
        folders = ["/".join(place.split("/")[:depth]) for depth in range(1, place.count("/") + 1)]
        for folder in folders:
            subprocess.run(["mmd", "-D", "s", "-i", image, f"::/{folder}"], check=False, capture_output=True, timeout=60)
        sh("mcopy", "-i", image, program, f"::/{place}")
    return path


def test_signatures_are_those_that_sbverify_lists(shim: Path) -> None:
    said = sh("sbverify", "--list", shim).decode()
    found = [one for chain in signers(shim.read_bytes()) for one in chain]
    assert [one.name for one in found] == [line.split("/CN=")[1] for line in said.splitlines() if "subject: " in line]
    assert {"Microsoft Corporation UEFI CA 2011", "Microsoft UEFI CA 2023"} <= {str(one) for one in found}


def test_boot_manager_of_2011_on_a_machine_that_trusts_2023_alone(
    tmp_path: Path, plain: Path, old: Authority, new: Authority
) -> None:
    program = old.sign(plain, tmp_path / "bootmgfw.efi")
    disk = make_disk(tmp_path / "disk.raw", windows=program, fallback=program)
    wanted = {"disk": str(disk), "must_start": True}
    refused = run("secure_boot_info", variables=str(firmware(tmp_path / "new", new)), **wanted)
    assert refused["failed"] and not refused["starts"]
    assert f"trusts nobody who signed EFI/BOOT/BOOTX64.EFI ({old.name}" in refused["msg"]
    assert f"It trusts {new.name}" in refused["msg"] and "Microsoft/Boot/bootmgfw.efi" in refused["msg"]
    trusted = run("secure_boot_info", variables=str(firmware(tmp_path / "both", new, old)), **wanted)
    assert not trusted["failed"] and trusted["starts"] and [one["trusted"] for one in trusted["programs"]] == [True, True]
    off = run("secure_boot_info", variables=str(firmware(tmp_path / "off", new, enabled=False)), **wanted)
    assert not off["failed"] and off["starts"] and not off["secure_boot"]["enabled"] and not off["changed"]
    await_no_loop(disk)


def test_shim_and_a_loader_that_nobody_signed(tmp_path: Path, shim: Path, plain: Path, old: Authority) -> None:
    variables = firmware(tmp_path / "variables", old)
    found = run(
        "secure_boot_info", variables=str(variables), disk=str(make_disk(tmp_path / "disk.raw", shim=shim, fallback=plain))
    )
    assert not found["failed"] and not found["starts"]
    assert "no current shim starts here" in found["secure_boot"]["warnings"][0]
    loader, real = found["programs"]
    assert (loader["path"], loader["signers"]) == ("EFI/BOOT/BOOTX64.EFI", [])
    assert real["path"] == "EFI/debian/shimx64.efi" and "Microsoft UEFI CA 2023" in real["signers"]


def test_disk_that_nothing_is_known_of_is_not_refused(tmp_path: Path, old: Authority) -> None:
    wanted = {"variables": str(firmware(tmp_path / "variables", old)), "must_start": True}
    assert run("secure_boot_info", disk=str(make_disk(tmp_path / "disk.raw")), **wanted)["programs"] == []
    damaged = tmp_path / "bootmgfw.efi"
    damaged.write_bytes(b"MZ" + bytes(58) + b"\xff\xff\xff\x7f")
    refused = run("secure_boot_info", disk=str(make_disk(tmp_path / "damaged.raw", windows=damaged)), **wanted)
    assert refused["failed"] and "EFI/Microsoft/Boot/bootmgfw.efi (not signed)" in refused["msg"]
