# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Links in the shares, which a mirror's rsync may bring, lead nowhere. Samba is real, with the real configuration of the role."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import PROJECT, render

# Accounts that every Debian has: the role makes them, a test does not.
WRITER, READER = "backup", "irc"
PASSWORD = "not-a-secret-1"


class Share:
    """A running Samba with both shares."""

    def __init__(self, folder: Path, namespace: str) -> None:
        self.folder = folder
        self._namespace = ["ip", "netns", "exec", namespace]

    def start(self) -> None:
        for name in ("etc", "lib", "run", "cache", "log", "store", "drivers"):
            (self.folder / name).mkdir()
        for name in ("store", "drivers"):
            shutil.chown(self.folder / name, WRITER, WRITER)
        shutil.copy("/etc/samba/smb.conf", self.folder / "etc/smb.conf")
        with (self.folder / "etc/smb.conf").open("a") as file:
            file.write("include = /etc/samba/reimage.conf\n")
        variables = {
            "image_share_store": str(self.folder / "store"),
            "image_share_drivers": str(self.folder / "drivers"),
            "image_share_user": WRITER,
            "image_share_reader": READER,
        }
        render(PROJECT / "roles/image_share", variables, reimage_conf=self.folder / "etc/reimage.conf")
        own = {
            "etc": "/etc/samba",
            "lib": "/var/lib/samba",
            "run": "/run/samba",
            "cache": "/var/cache/samba",
            "log": "/var/log/samba",
        }
        mounts = "\n".join(f"mkdir -p {path}\nmount --bind {self.folder / name} {path}" for name, path in own.items())
        adding = "\n".join(
            f"printf '{PASSWORD}\\n{PASSWORD}\\n' | smbpasswd -s -a {user} >/dev/null" for user in (WRITER, READER)
        )
        script = f"{mounts}\nmkdir -p /var/lib/samba/private\n{adding}\nexec smbd --foreground --no-process-group"
        self._process = subprocess.Popen([*self._namespace, "sh", "-e", "-c", script], start_new_session=True)
        for _second in range(30):
            if "NT_STATUS_CONNECTION_REFUSED" not in self.ask("store", "ls"):
                return
            subprocess.run(["sleep", "1"], check=True)

    def stop(self) -> None:
        os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait(20)

    def ask(self, share: str, command: str, user: str = WRITER) -> str:
        """Return what a client is told."""
        account = f"{user}%{PASSWORD}"
        words = ["smbclient", "--user", account, "--command", command, f"//127.0.0.1/{share}"]
        done = subprocess.run([*self._namespace, *words], capture_output=True, text=True, check=False, timeout=60)
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def share() -> Iterator[Share]:
    namespace = f"reimage-share-{os.getpid()}"
    folder = Path(tempfile.mkdtemp(prefix="reimage-share-", dir="/var/tmp"))  # which Samba's users can reach
    folder.chmod(0o755)
    subprocess.run(["ip", "netns", "add", namespace], check=True)
    try:
        subprocess.run(["ip", "-n", namespace, "link", "set", "lo", "up"], check=True)
        share = Share(folder, namespace)
        share.start()
        try:
            yield share
        finally:
            share.stop()
    finally:
        subprocess.run(["ip", "netns", "delete", namespace], check=True)
        shutil.rmtree(folder)


@pytest.mark.parametrize("name", ["store", "drivers"])
@pytest.mark.parametrize("inside", [True, False], ids=["within the share", "out of the share"])
def test_a_link_is_neither_named_nor_followed(share: Share, name: str, inside: bool) -> None:
    root = share.folder / name
    aim = root / "aim" if inside else share.folder / f"aim-of-{name}"
    aim.mkdir(exist_ok=True)
    aim.chmod(0o777)
    (aim / "file").write_text("something")
    (root / "to-folder").symlink_to(aim)
    (root / "to-file").symlink_to(aim / "file")
    try:
        listing = share.ask(name, "ls")
        assert "blocks available" in listing and "to-folder" not in listing and "to-file" not in listing
        for command in (
            "get to-file /dev/null",
            "get to-folder/file /dev/null",
            f"put {__file__} to-folder/new",
            "ls to-folder/*",
        ):
            assert "NT_STATUS" in share.ask(name, command), command
        assert [path.name for path in aim.iterdir()] == ["file"]
    finally:
        (root / "to-folder").unlink()
        (root / "to-file").unlink()


def test_the_accounts_do_what_they_are_for(share: Share) -> None:
    assert "NT_STATUS" not in share.ask("store", f"put {__file__} written")
    assert "NT_STATUS" not in share.ask("drivers", f"put {__file__} written")
    assert "NT_STATUS" not in share.ask("drivers", "get written /dev/null", READER)
    assert "NT_STATUS_ACCESS_DENIED" in share.ask("drivers", f"put {__file__} more", READER)
    assert "NT_STATUS_ACCESS_DENIED" in share.ask("store", "ls", READER)
