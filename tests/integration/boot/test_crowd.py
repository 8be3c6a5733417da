# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two addresses that hold as many connections as they get do not shut out a third. The limits are lowered for the test."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.boot.tokens import close_inbox, open_inbox

from .conftest import WebServer

TOKEN = "0123456789abcdef" * 2
CONNECTIONS, EACH = 128, 20
LIMITED = {"connections": CONNECTIONS, "patience": "1s", "variables": {"boot_server_client_connections": EACH}}
HELD = {
    "nothing": "",
    "half a request": "GET /",
    "a whole request, and nothing more": "GET /status/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "a large file that is not read": "GET /store/chunks/large HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
}


pytestmark = pytest.mark.parametrize("web_server", [LIMITED], indirect=True)


def crowd(web_server: WebServer, sent: str) -> tuple[int, str]:
    """Return how many of 300 connections are held, and what a third address gets meanwhile."""
    (web_server.layout.states / "index.json").write_text("{}")
    chunks = web_server.store / "chunks"
    chunks.mkdir(exist_ok=True)
    with (chunks / "large").open("wb") as file:
        file.truncate(64 << 20)
    program = Path(__file__).with_name("crowd.py")
    said = web_server.run(
        sys.executable, str(program), web_server.address, "300", HELD[sent], "/status/machines/index.json"
    ).stdout
    held, _space, answer = said.strip().partition(" ")
    return int(held), answer


@pytest.mark.parametrize("sent", HELD)
def test_a_third_address_is_served(web_server: WebServer, sent: str) -> None:
    held, answer = crowd(web_server, sent)
    assert answer == "HTTP/1.1 200 OK"
    assert held <= 2 * EACH


@pytest.mark.parametrize(
    "sent",
    [
        "GET /",
        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n",
        f"PUT /checkin/{TOKEN}/checkin.json HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\nhalf",
    ],
    ids=["half a line", "half a header", "half a body"],
)
def test_who_sends_half_of_something_is_not_waited_for(web_server: WebServer, sent: str) -> None:
    open_inbox(web_server.layout, TOKEN)
    # It ends when the server closes the connection; timeout would end it with an error.
    web_server.run("timeout", "20", "socat", "-,ignoreeof", f"TCP:{web_server.address}:80", input=sent)
    assert not list((web_server.layout.root / "incoming").iterdir())
    close_inbox(web_server.layout, TOKEN)


def test_whole_requests_are_limited_where_another_firewall_flushed_ours(web_server: WebServer) -> None:
    web_server.run("nft", "flush", "ruleset")
    held, answer = crowd(web_server, "a large file that is not read")
    assert answer == "HTTP/1.1 200 OK"
    assert held <= 2 * EACH
