# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules of imaging as Ansible runs them: what they return, check mode, and that a second run changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.imaging.capture import Captured
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store import PathStore

from ..module import run
from .conftest import sh

Store = tuple[PathStore, Captured]


@pytest.fixture
def store(captured: Store, tmp_path: Path) -> str:
    sh("cp", "-a", captured[0].root, tmp_path / "store")
    return str(tmp_path / "store")


def test_capture_deploy_verify(store: str, master: Path, target: Path) -> None:
    image = {"store": store, "name": "lab"}
    captured = run("image_capture", **image, disk=str(master), version="2")
    assert (captured["changed"], captured["image"], captured["chunks_new"]) == (True, "lab/2", 0)
    assert run("image_deploy", check=True, **image, disk=str(target))["changed"]
    assert not any(target.read_bytes())
    assert not run("image_verify", **image, disk=str(target))["intact"]
    deployed = run("image_deploy", **image, disk=str(target))
    assert (deployed["changed"], deployed["image"], deployed["bytes_fetched"] > 0) == (True, "lab/2", True)
    again = run("image_deploy", **image, disk=str(target))
    assert (again["changed"], again["bytes_fetched"], again["bytes_written"]) == (False, 0, 0)
    assert run("image_verify", **image, disk=str(target))["intact"]
    with target.open("r+b") as file:
        file.seek(266240 * 512 + 1024)
        file.write(b"\xff")
    found = run("image_verify", **image, disk=str(target))
    assert (found["intact"], found["differing"]) == (False, [{"partition": 4, "chunk": 0, "offset": 266240 * 512}])


def test_store_is_verified_pruned_and_described(store: str) -> None:
    assert run("image_verify", store=store)["intact"]
    images = run("image_info", store=store)["images"]
    assert (images[0]["name"], images[0]["bytes_own"]) == ("lab", images[0]["bytes_stored"])
    assert run("image_prune", store=store, keep=1)["changed"] is False
    would = run("image_prune", check=True, store=store, name="lab", versions=["1"])
    assert (would["changed"], would["versions"]) == (True, ["lab/1"])
    assert run("image_prune", store=store, name="lab", versions=["1"])["versions"] == ["lab/1"]
    assert run("image_info", store=store)["images"] == []
    refused = run("image_prune", store=store, versions=["1"])
    assert refused["failed"]
    assert "name" in refused["msg"]


def test_signature_is_made_once_and_required(store: str, target: Path, tmp_path: Path) -> None:
    sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key")
    allowed = f"images@example.org {(tmp_path / 'key.pub').read_text()}"
    deploy = {"store": store, "name": "lab", "disk": str(target), "allowed_signers": allowed}
    refused = run("image_deploy", **deploy)
    assert refused["failed"]
    assert "not signed" in refused["msg"]
    assert not any(target.read_bytes())
    sign = {"store": store, "name": "lab", "key": str(tmp_path / "key")}
    assert run("image_sign", check=True, **sign)["changed"]
    assert [run("image_sign", **sign)["changed"] for _run in range(2)] == [True, False]
    assert run("image_deploy", **deploy)["changed"]
