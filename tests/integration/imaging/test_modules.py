# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules of imaging as Ansible runs them: what they return, check mode, and that a second run changes nothing."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Iterator

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.command import wait_until
from ansible_collections.reimage.lab.plugins.module_utils.disk import lock
from ansible_collections.reimage.lab.plugins.module_utils.disk.errors import DiskError
from ansible_collections.reimage.lab.plugins.module_utils.hardware.disks import claimed
from ansible_collections.reimage.lab.plugins.module_utils.imaging.capture import Captured
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.folder import PathStore

from ..module import ROOT as COLLECTION
from ..module import kill_controller, run
from .conftest import ROOT, WINDOWS, mounted, partition, sh

Store = tuple[PathStore, Captured]


@pytest.fixture
def store(captured: Store, tmp_path: Path) -> str:
    sh("cp", "-a", captured[0].root, tmp_path / "store")
    return str(tmp_path / "store")


def test_capture_deploy_verify(store: str, master: Path, target: Path) -> None:
    image = {"store": store, "name": "lab"}
    captured = run("image_capture", **image, disk=str(master), version="2")
    assert (captured["changed"], captured["image"], captured["chunks_new"]) == (True, "lab/2", 0)
    assert all(captured[key] > 0 for key in ("bytes_used", "bytes_stored", "chunks_total", "seconds"))
    assert run("image_deploy", check=True, **image, disk=str(target))["changed"]
    assert not any(target.read_bytes())
    assert not run("image_verify", **image, disk=str(target))["intact"]
    deployed = run("image_deploy", **image, disk=str(target), verify="none")
    assert all(deployed[key] > 0 for key in ("bytes_used", "bytes_written", "chunks_total", "chunks_changed", "seconds"))
    assert (deployed["changed"], deployed["image"], deployed["bytes_fetched"] > 0) == (True, "lab/2", True)
    again = run("image_deploy", **image, disk=str(target))
    assert (again["changed"], again["bytes_fetched"], again["bytes_written"]) == (False, 0, 0)
    assert run("image_verify", **image, disk=str(target))["intact"]
    with target.open("r+b") as file:
        file.seek(266240 * 512 + 1024)
        file.write(b"\xff")
    found = run("image_verify", **image, disk=str(target))
    assert (found["intact"], found["differing"]) == (False, [{"partition": 4, "chunk": 0, "offset": 266240 * 512}])


@pytest.mark.parametrize("check", [False, True])
def test_disk_in_use_is_neither_captured_nor_overwritten(store: str, master: Path, tmp_path: Path, check: bool) -> None:
    disk = tmp_path / "disk.raw"
    sh("cp", "--sparse=always", master, disk)
    before = sh("sha256sum", disk)
    uses = (
        ("image_capture", {"version": "2", "disk": str(disk)}),
        ("image_import", {"version": "2", "source": str(disk)}),
        ("image_deploy", {"disk": str(disk)}),
    )
    with partition(disk, ROOT) as device, mounted(device, tmp_path / "mnt", "ext4", "ro"):
        for module, options in uses:
            refused = run(module, check=check, store=store, name="lab", **options)
            assert refused["failed"]
            assert f"mounted at {tmp_path / 'mnt'}" in refused["msg"]
    assert sh("sha256sum", disk) == before
    assert [image["version"] for image in run("image_info", store=store)["images"]] == ["1"]


def test_check_mode_of_a_capture_says_what_it_would_say_and_stores_nothing(store: str, master: Path, tmp_path: Path) -> None:
    before = sorted(Path(store).rglob("*"))
    disk = tmp_path / "disk.raw"
    sh("cp", "--sparse=always", master, disk)
    would = run("image_capture", check=True, store=store, name="lab", disk=str(disk), version="2")
    assert (would["changed"], would["image"], would["bytes_used"] > 0) == (True, "lab/2", True)
    refused = run("image_capture", check=True, store=store, name="lab", disk=str(disk), version="1")
    assert "has lab/1 already" in refused["msg"]
    with partition(disk, WINDOWS) as device:
        sh("ntfsfix", device)
    assert "dirty" in run("image_capture", check=True, store=store, name="lab", disk=str(disk))["msg"]
    assert sorted(Path(store).rglob("*")) == before


class TestSecondRun:
    """The first one's controller is gone, and its job on the machine goes on."""

    @pytest.fixture
    def running(self, captured: Store, target: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
        """The options of a deploy that takes seconds, for its web server is slow, and whose controller was killed."""

        class Slow(SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                time.sleep(1)
                super().do_GET()

            def log_message(self, *_unused: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Slow, directory=str(captured[0].root)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url, progress = f"http://127.0.0.1:{server.server_port}", tmp_path / "progress.json"
        options = {"store": url, "name": "lab", "disk": str(target), "progress_file": str(progress)}
        words = ["ansible", "localhost", "-m", "reimage.lab.image_deploy", "-a", json.dumps(options)]
        controller = subprocess.Popen(words, cwd=COLLECTION, stdout=subprocess.DEVNULL, start_new_session=True)
        wait_until(lambda: progress.exists() and '"writing"' in progress.read_text(), 60, "the deploy to write")
        kill_controller(controller)
        yield options
        server.shutdown()
        server.server_close()

    def test_it_goes_on_watching(self, running: dict[str, str]) -> None:
        result = run("image_deploy", **running)
        assert "an earlier run is still at work on it" in result["said"]
        assert result["changed"]
        again = run("image_deploy", **running)
        assert (again["changed"], "earlier run" in again["said"]) == (False, False)

    def test_it_wants_something_else_and_is_refused(self, running: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lock, "PATIENCE", 0.2)
        refused = pytest.raises(DiskError, match=r"is being worked on by pid \d+ \(image_deploy\)")
        with refused, claimed(running["disk"], write=False):
            pytest.fail("it is read while it is written")
        result = run("image_deploy", **running, grow="none")
        assert result["failed"]
        assert "still at work on it, with other options" in result["msg"]
        assert run("image_deploy", **running)["changed"]


def test_store_is_verified_pruned_and_described(store: str) -> None:
    assert run("image_verify", store=store)["intact"]
    images = run("image_info", store=store)["images"]
    assert (images[0]["name"], images[0]["bytes_own"]) == ("lab", images[0]["bytes_stored"])
    assert run("image_prune", store=store, keep=1)["changed"] is False
    would = run("image_prune", check=True, store=store, name="lab", versions=["1"])
    assert (would["changed"], would["versions"]) == (True, ["lab/1"])
    assert run("image_prune", store=store, name="lab", versions=["1"])["versions"] == ["lab/1"]
    assert run("image_info", store=store)["images"] == []
    refused = run("image_verify", store=store, digest="0" * 64)
    assert refused["failed"]
    assert "say its name too" in refused["msg"]
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
