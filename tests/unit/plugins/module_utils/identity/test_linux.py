# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The identity of a Linux: everything that must differ does, once, and nothing outside the tree is touched."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.identity import RECORD, give
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.tree import Tree


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    for name, text in {
        "etc/os-release": "ID=debian\n",
        "etc/fstab": "",
        "etc/hostname": "master\n",
        "etc/hosts": "127.0.0.1 localhost\n127.0.1.1 master\n10.0.0.9 printer\n",
        "etc/machine-id": "0" * 32 + "\n",
        "etc/ssh/sshd_config": "",
        "var/lib/systemd/random-seed": "seed",
        "var/lib/dhcp/dhclient.leases": "lease",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "etc/ssh/ssh_host_ed25519_key"], check=True)
    return folder


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {str(path): (path.read_bytes(), path.stat().st_mode) for path in folder.rglob("*") if path.is_file()}


def test_everything_that_must_differ_does(root: Path) -> None:
    old_key = (root / "etc/ssh/ssh_host_ed25519_key.pub").read_text()
    changed, identity = give(Tree(root), "pc-01", "lab/1")
    assert changed
    assert (root / "etc/hostname").read_text() == "pc-01\n"
    assert (root / "etc/hosts").read_text() == "127.0.0.1 localhost\n10.0.0.9 printer\n127.0.1.1\tpc-01\n"
    assert (root / "etc/machine-id").read_text().strip() == identity.machine_id != "0" * 32
    assert old_key.split()[1] not in identity.host_keys[0]
    assert (root / "etc/ssh/ssh_host_ed25519_key").stat().st_mode & 0o777 == 0o600
    shown = subprocess.run(["ssh-keygen", "-lf", root / "etc/ssh/ssh_host_ed25519_key"], check=True, capture_output=True)
    assert b"root@pc-01" in shown.stdout
    assert not (root / "var/lib/systemd/random-seed").exists()
    assert not (root / "var/lib/dhcp/dhclient.leases").exists()
    assert "PRIVATE" not in (root / RECORD.lstrip("/")).read_text()


def test_name_may_have_its_domain(root: Path) -> None:
    assert give(Tree(root), "pc-01.example.org", "lab/1")[0]
    assert (root / "etc/hostname").read_text() == "pc-01.example.org\n"
    assert (root / "etc/hosts").read_text().splitlines()[-1] == "127.0.1.1\tpc-01.example.org pc-01"
    assert not give(Tree(root), "pc-01.example.org", "lab/1")[0]


def test_every_host_key_that_the_image_has_is_made_anew(root: Path) -> None:
    keys = {kind: root / f"etc/ssh/ssh_host_{kind}_key.pub" for kind in ("ecdsa", "ed25519", "rsa")}
    for kind in ("ecdsa", "rsa"):
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", keys[kind].with_suffix("")], check=True)
    old = {kind: path.read_text().split()[1] for kind, path in keys.items()}
    _changed, identity = give(Tree(root), "pc-01", "lab/1")
    new = {kind: path.read_text().split()[1] for kind, path in keys.items()}
    assert not set(new.values()) & set(old.values())
    assert sorted(key.split()[1] for key in identity.host_keys) == sorted(new.values())
    for path in keys.values():
        made = subprocess.run(["ssh-keygen", "-y", "-f", path.with_suffix("")], check=True, capture_output=True, text=True).stdout
        assert made.split()[1] == path.read_text().split()[1]


def test_second_run_changes_no_byte(root: Path) -> None:
    _changed, first = give(Tree(root), "pc-01", "lab/1")
    before = snapshot(root)
    changed, second = give(Tree(root), "pc-01", "lab/1")
    assert (changed, second) == (False, first)
    assert snapshot(root) == before


def test_dry_run_changes_nothing(root: Path) -> None:
    before = snapshot(root)
    assert give(Tree(root), "pc-01", "lab/1", dry_run=True)[0]
    assert snapshot(root) == before


def test_record_that_does_not_hold_any_more_is_not_believed(root: Path) -> None:
    give(Tree(root), "pc-01", "lab/1")
    (root / "etc/hostname").write_text("other\n")
    assert give(Tree(root), "pc-01", "lab/1")[0]
    assert json.loads((root / RECORD.lstrip("/")).read_text())["hostname"] == "pc-01"


@pytest.mark.parametrize("name", ["", "-pc", "a..b", "a.b.", "a.7", f"pc.{'x' * 62}", "x" * 64, "pc 1", "pc\n"])
def test_bad_name_is_refused_before_anything_changes(root: Path, name: str) -> None:
    before = snapshot(root)
    with pytest.raises(IdentityError, match="cannot be the name"):
        give(Tree(root), name, "lab/1")
    assert snapshot(root) == before


def test_tree_without_linux_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="not the root"):
        give(Tree(tmp_path), "pc-01", "lab/1")


def test_link_that_leads_out_is_not_followed(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "hosts").write_text("mine\n")
    (root / "etc/hosts").unlink()
    (root / "etc/hosts").symlink_to(outside / "hosts")
    give(Tree(root), "pc-01", "lab/1")
    assert (outside / "hosts").read_text() == "mine\n"
    assert not (root / "etc/hosts").is_symlink()


def test_folder_that_leads_out_is_refused(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "var/lib/reimage").symlink_to(outside)
    with pytest.raises(IdentityError, match="leads out"):
        give(Tree(root), "pc-01", "lab/1")
    assert os.listdir(outside) == []
