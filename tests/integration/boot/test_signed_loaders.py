# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The loaders that Secure Boot accepts: taken from packages that apt verified, and looked at before machines are sent to them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import LOADERS, PROJECT, PROXY, fetch_loaders


def tasks_from(first: str, last: str) -> list[dict[str, Any]]:
    """Return tasks of the role, by their names."""
    tasks = yaml.safe_load((PROXY / "tasks/main.yml").read_text())
    names = [task["name"] for task in tasks]
    return tasks[names.index(first) : names.index(last) + 1]  # type: ignore[no-any-return]


def check(root: Path, **variables: Any) -> subprocess.CompletedProcess[str]:
    """Have the role look at what machines with UEFI load first."""
    known = {
        key: value
        for name in ("defaults", "vars")
        for key, value in yaml.safe_load((PROXY / name / "main.yml").read_text()).items()
        if key != "proxy_dhcp_subnets"
    }
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {**known, "proxy_dhcp_root": str(root), "proxy_dhcp_loader_bios": "", **variables},
        "tasks": tasks_from("Look for what machines load first", "Check that Secure Boot has something to accept"),
    }
    (root / "play.yml").write_text(json.dumps([play]))
    words = ["ansible-playbook", root / "play.yml"]
    return subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of boot control, with the loaders that the role serves."""
    root = tmp_path_factory.mktemp("boot")
    (root / "tftp").mkdir()
    first = fetch_loaders(root / "tftp")
    assert first.stdout.splitlines() == ["changed shimx64.efi", "changed grubx64.efi"], first.stderr
    return root


def test_second_run_changes_nothing(root: Path) -> None:
    assert fetch_loaders(root / "tftp").stdout == ""


def test_what_was_damaged_is_put_back(root: Path) -> None:
    with (root / "tftp/grubx64.efi").open("r+b") as file:
        file.write(b"MZ!")
    assert fetch_loaders(root / "tftp").stdout == "changed grubx64.efi\n"


def test_both_files_are_signed(root: Path) -> None:
    done = check(root)
    assert done.returncode == 0, done.stdout
    said = subprocess.run(["sbverify", "--list", root / "tftp/shimx64.efi"], capture_output=True, text=True, check=True).stdout
    assert "CN=Microsoft Corporation UEFI CA 2011" in said and "CN=Microsoft UEFI CA 2023" in said


def test_missing_second_file_of_a_shim_is_refused(root: Path) -> None:
    (root / "tftp/ipxe-shimx64.efi").write_bytes((root / "tftp/shimx64.efi").read_bytes())
    done = check(root, proxy_dhcp_loader_uefi_x64="ipxe-shimx64.efi")
    assert done.returncode == 2
    assert "ipxe.efi is to be loaded by machines, and is not there: name it in proxy_dhcp_files" in done.stdout


def test_unsigned_loader_is_refused_unless_the_site_says_so(root: Path) -> None:
    signed = (root / "tftp/grubx64.efi").read_bytes()
    header = int.from_bytes(signed[0x3C:0x40], "little")
    place = header + 24 + 144  # where PE32+ says where its signatures are
    (root / "tftp/snponly.efi").write_bytes(signed[:place] + bytes(8) + signed[place + 8 :])
    done = check(root, proxy_dhcp_loader_uefi_x64="snponly.efi")
    assert done.returncode == 2
    assert "snponly.efi has no signature, so a machine with Secure Boot switched on does not start it" in done.stdout
    assert check(root, proxy_dhcp_loader_uefi_x64="snponly.efi", proxy_dhcp_secure_boot=False).returncode == 0


@pytest.mark.parametrize("damage", ["signature", "unsigned"])
def test_package_that_apt_cannot_verify_is_refused(root: Path, tmp_path: Path, damage: str) -> None:
    (tmp_path / "tftp").mkdir()
    suite = tmp_path / "mirror/dists/trixie"
    suite.mkdir(parents=True)
    release = next((LOADERS / "lists").glob("*_debian_dists_trixie_InRelease")).read_bytes()
    if damage == "signature":
        (suite / "InRelease").write_bytes(release.replace(b"\nOrigin: Debian\n", b"\nOrigin: debian\n", 1))
    else:
        content = release.split(b"-----BEGIN PGP SIGNATURE")[0].split(b"\n\n", 1)[1]
        (suite / "Release").write_bytes(content)
    done = fetch_loaders(tmp_path / "tftp", cache=tmp_path / "cache", mirror=f"file:{tmp_path}/mirror")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last == (
        f"Debian 13's signed boot loaders cannot be fetched from file:{tmp_path}/mirror, or apt cannot verify them;"
        " it says why, above. Nothing was changed."
    )
    assert "is not signed" in done.stderr
    assert not list((tmp_path / "tftp").iterdir())


def test_architecture_that_debian_signs_nothing_for_is_refused(tmp_path: Path) -> None:
    done = fetch_loaders(tmp_path, "riscv64", cache=tmp_path / "cache")
    assert done.returncode == 1
    assert done.stderr.startswith("proxy_dhcp_signed: Debian has no signed boot loaders for riscv64: choose amd64 or arm64.")
