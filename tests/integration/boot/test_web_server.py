# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A hostile machine, or whoever writes to the store, gets nothing through nginx, which is real, with the real site."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.boot.tokens import close_inbox, open_inbox

from .conftest import WEB_SERVER, WebServer

TOKEN = "0123456789abcdef" * 2
CHECKIN = f"/checkin/{TOKEN}/checkin.json"
PROGRESS = f"/checkin/{TOKEN}/progress.json"
PROGRESS_FILE = f"{WebServer.address}.progress.json"


@pytest.fixture
def inbox(web_server: WebServer) -> Iterator[Path]:
    """Return the folder that a token opens."""
    open_inbox(web_server.layout, TOKEN)
    yield web_server.layout.inbox(TOKEN)
    close_inbox(web_server.layout, TOKEN)
    for path in web_server.layout.arrivals.iterdir():
        path.unlink()


def arrived(web_server: WebServer) -> list[bytes]:
    """Return the check-ins that wait to be judged."""
    return [path.read_bytes() for path in web_server.layout.arrivals.iterdir()]


@pytest.fixture
def secret(web_server: WebServer) -> Path:
    """Return a folder, with a file, that the user of the web server could read and write, and nobody may see."""
    folder = web_server.folder / "secret"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    (folder / "shadow").write_text("root:secret")
    return folder


SERVED = {
    "/store/": "../store",
    "/store/images/": "../store/images",
    "/store/chunks/": "../store/chunks",
    "/boot/": "http",
    "/boot/machines/": "http/machines",
    "/boot/loaders/": "tftp",
    "/status/": "status",
    "/status/machines/": "state",
}


@pytest.mark.parametrize("url", SERVED)
def test_a_link_is_neither_followed_nor_named(web_server: WebServer, secret: Path, url: str) -> None:
    folder = web_server.layout.root / SERVED[url]
    folder.mkdir(exist_ok=True)
    (folder / "plain").mkdir(exist_ok=True)
    (folder / "plain/file").write_text("for everybody")
    (folder / "to-folder").symlink_to(secret)
    (folder / "to-file").symlink_to(secret / "shadow")
    try:
        assert web_server.ask(f"{url}plain/file") == (200, "for everybody")
        for name in ("to-file", "to-folder/shadow", "to-folder/", "to-folder"):
            status, body = web_server.ask(f"{url}{name}")
            assert status in (403, 404) and "secret" not in body, name
        for listed in (url, f"{url}plain/"):
            body = web_server.ask(listed)[1]
            assert not any(name in body for name in ("to-folder", "to-file", "shadow", "plain/"))
    finally:
        (folder / "to-folder").unlink()
        (folder / "to-file").unlink()


def test_only_the_list_of_records_is_a_list(web_server: WebServer) -> None:
    (web_server.layout.states / "index.json").write_text('{"aa-bb-cc-dd-ee-ff.json": "1"}\n')
    assert web_server.ask("/status/machines/") == (200, '{"aa-bb-cc-dd-ee-ff.json": "1"}\n')
    assert web_server.ask("/store/images/")[0] == 403
    assert web_server.ask("/boot/machines/")[0] == 403
    assert web_server.ask("/checkin/")[0] == 404


def test_the_folder_of_a_token_is_for_writing_two_files(web_server: WebServer, inbox: Path) -> None:
    assert web_server.put(CHECKIN, b"{}") == 201
    assert arrived(web_server) == [b"{}"]
    assert web_server.put(PROGRESS, b"[]") == 201
    assert (inbox / PROGRESS_FILE).read_bytes() == b"[]"
    assert web_server.put(f"/checkin/{TOKEN}/other.json", b"{}") == 404
    assert web_server.ask(CHECKIN)[0] == 403


def test_a_folder_of_a_token_that_is_a_link_takes_nothing(web_server: WebServer, secret: Path) -> None:
    link = web_server.layout.inbox(TOKEN)
    link.symlink_to(secret)
    try:
        assert web_server.put(CHECKIN, b"{}") == 404
        assert [path.name for path in secret.iterdir()] == ["shadow"]
    finally:
        link.unlink()


def test_a_file_that_is_a_link_is_replaced_and_not_followed(web_server: WebServer, inbox: Path, secret: Path) -> None:
    (inbox / PROGRESS_FILE).symlink_to(secret / "shadow")
    web_server.put(PROGRESS, b"{}")
    assert (secret / "shadow").read_text() == "root:secret"


def test_the_web_server_can_neither_list_tokens_nor_make_links_beside_them(web_server: WebServer, inbox: Path) -> None:
    lists = (["ls", str(inbox.parent)], ["ls", str(web_server.layout.arrivals)])
    for command in (*lists, ["ln", "-s", "/etc", str(inbox.parent / "link")]):
        done = subprocess.run(["runuser", "-u", WEB_SERVER, "--", *command], capture_output=True, text=True, check=False)
        assert done.returncode != 0 and "Permission denied" in done.stderr


def test_a_full_disk_takes_nothing_leaves_nothing_and_tells_no_token(web_server: WebServer, inbox: Path) -> None:
    assert web_server.put(PROGRESS, b"old") == 201
    filler = web_server.layout.root / "filler"
    with pytest.raises(OSError, match="No space"), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    try:
        assert web_server.put(CHECKIN, bytes(60_000)) == 500
        assert web_server.put(PROGRESS, bytes(60_000)) == 500
    finally:
        filler.unlink()
    assert [(path.name, path.read_bytes()) for path in inbox.iterdir()] == [(PROGRESS_FILE, b"old")]
    assert arrived(web_server) == []
    assert not list((web_server.layout.root / "incoming").iterdir())
    assert web_server.put(PROGRESS, b"new") == 204
    assert TOKEN not in web_server.logged()


def test_no_refusal_tells_a_token(web_server: WebServer, inbox: Path) -> None:
    for path in (
        CHECKIN,
        f"/checkin/{TOKEN}",
        f"/checkin/{TOKEN}/",
        f"//checkin/./{TOKEN}/x",
        f"/%63heckin/{TOKEN}/checkin.json",
    ):
        for options in (
            [],
            ["--request", "DELETE"],
            ["--request", "MKCOL"],
            ["--request", "PUT", "--header", "Content-Length: -1"],
        ):
            web_server.ask(path, *options)
        web_server.put(path, bytes(100_000))
    inbox.chmod(0o550)  # as a folder that the web server cannot write
    assert web_server.put(PROGRESS, b"{}") == 500
    logged = web_server.logged()
    assert TOKEN not in logged and '"uri": "/checkin/"' in logged
