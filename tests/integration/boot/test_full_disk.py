# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""On a full or read-only disk the boot modules fail without telling the token: everybody can read why a run failed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.reimage.lab.plugins.module_utils.boot.layout import Layout
from ansible_collections.reimage.lab.plugins.modules import boot_target

COLLECTIONS = Path(__file__).resolve().parents[3] / "var/collections"
MAC = "52:54:00:77:01:01"
FOLDERS = ("hosts", "http/machines", "tokens", "checkin", "arrivals", "outcomes", "records", "state")


def call(capsys: pytest.CaptureFixture[str], layout: Layout, target: str) -> dict[str, Any]:
    """Return the result of the module."""
    with patch_module_args({"root": str(layout.root), "mac": MAC, "target": target, "reload": []}), pytest.raises(SystemExit):
        boot_target.main()
    return json.loads(capsys.readouterr().out)  # type: ignore[no-any-return]


def mount(layout: Layout, *options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "boot", layout.root], check=True)


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    layout = Layout(tmp_path / "boot")
    layout.root.mkdir()
    mount(layout, "size=1M")
    for folder in FOLDERS:
        (layout.root / folder).mkdir(parents=True)
    (layout.http / "kernel").touch()
    layout.configuration.write_text(json.dumps({"url": "http://192.0.2.1", "targets": {"automation": {"kernel": "kernel"}}}))
    yield layout
    subprocess.run(["umount", layout.root], check=True)


def used_inodes(layout: Layout) -> int:
    status = os.statvfs(layout.root)
    return int(status.f_files - status.f_ffree)


def test_arming_tells_no_token_whatever_no_longer_fits(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    """The lock and its folder, token and its folder, two scripts, hosts file: one more of them fits each time."""
    used, failures = used_inodes(layout), []
    for spare in range(10):
        subprocess.run(["mount", "-o", f"remount,nr_inodes={used + spare}", layout.root], check=True)
        result = call(capsys, layout, "automation")
        if not result.get("failed"):
            break
        failures.append(result["msg"])
        assert not re.search("[0-9a-f]{32}", json.dumps(result))
        assert not list(layout.root.rglob("*~"))
    assert layout.inbox(result["token"]).is_dir()
    assert len(failures) == 7
    assert all("No space left on device" in message and str(layout.root) in message for message in failures)


def test_disarming_tells_no_token_where_nothing_can_be_written(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    token = call(capsys, layout, "automation")["token"]
    for path in (layout.hosts(MAC), layout.script(MAC)):
        path.unlink()
    subprocess.run(["mount", "-o", "remount,ro", layout.root], check=True)
    result = call(capsys, layout, "local")
    assert result["failed"] and "Read-only file system" in result["msg"]
    assert token not in json.dumps(result)
    subprocess.run(["mount", "-o", "remount,rw", layout.root], check=True)
    assert call(capsys, layout, "local")["changed"] and not layout.inbox(token).exists()


def test_judging_check_ins_tells_the_journal_no_token(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    token = call(capsys, layout, "automation")["token"]
    (layout.arrivals / f"{token}@192.0.2.9@{'0' * 32}.json").write_text("{}")
    subprocess.run(["mount", "--bind", layout.arrivals, layout.arrivals], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", layout.arrivals], check=True)
        words = [sys.executable, "-m", "ansible_collections.reimage.lab.plugins.module_utils.boot.arrivals", str(layout.root)]
        environment = {**os.environ, "PYTHONPATH": str(COLLECTIONS)}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    finally:
        subprocess.run(["umount", layout.arrivals], check=True)
    assert done.returncode == 1
    assert done.stderr.startswith(str(layout.arrivals)) and done.stderr.strip().endswith("Read-only file system")
    assert token not in done.stdout + done.stderr
