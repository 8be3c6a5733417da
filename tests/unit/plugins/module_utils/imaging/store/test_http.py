# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A web server that is restarted is waited for, one that is hostile fills no memory."""

from __future__ import annotations

import http.server
import threading
from typing import Callable, Iterator

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import MissingError, UnreachableError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store import http as http_store
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.http import HttpStore

MIB = 1 << 20
Handler = http.server.BaseHTTPRequestHandler
Answer = Callable[[Handler], None]


class Server(http.server.ThreadingHTTPServer):
    """Gives one answer after the other, the last one for ever, and counts the requests."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.requests = 0
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/store"


class _Handler(Handler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:  # noqa: N802
        server = self.server
        assert isinstance(server, Server)
        server.requests += 1
        answer = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
        answer(self)

    def log_message(self, *_unused: object) -> None:
        pass


def say(status: int, body: bytes = b"content", length: int | None = None) -> Answer:
    def answer(handler: Handler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body) if length is None else length))
        handler.end_headers()
        handler.wfile.write(body)
        handler.close_connection = length is not None

    return answer


def drop(handler: Handler) -> None:
    handler.close_connection = True


def never_end(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.close_connection = True
    try:
        while True:
            handler.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
    except OSError:
        pass  # whoever asked has gone


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(http_store, "PAUSES", (0.0, 0.0, 0.0))
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("trouble", [drop, say(503), say(500), say(200, b"cut sho", 20)])
def test_trouble_that_passes_is_waited_for(server: Server, trouble: Answer) -> None:
    server.answers = [trouble, trouble, say(200)]
    assert HttpStore(server.url).description("lab", "", "latest") == b"content"
    assert server.requests == 3


def test_pauses_grow_between_the_tries(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(http_store.time, "sleep", pauses.append)
    monkeypatch.setattr(http_store, "PAUSES", (0.5, 2.0, 5.0))
    server.answers = [say(503)]
    with pytest.raises(UnreachableError, match=r"does not answer: .*503"):
        HttpStore(server.url).description("lab", "", "latest")
    assert pauses == [0.0, 0.5, 2.0, 5.0]


@pytest.mark.parametrize("status", [301, 403, 410])
def test_refusal_is_not_tried_again(server: Server, status: int) -> None:
    server.answers = [say(status)]
    with pytest.raises(ReimageError, match=f"images/lab/latest: the web server answers HTTP {status}"):
        HttpStore(server.url).description("lab", "", "latest")
    assert server.requests == 1


def test_missing_file_is_not_tried_again(server: Server) -> None:
    server.answers = [say(404)]
    with pytest.raises(MissingError, match="has no image 'lab'"):
        HttpStore(server.url).description("lab", "", "latest")
    assert server.requests == 1


@pytest.mark.parametrize("endless", [never_end, say(200, bytes(3 * MIB), 1 << 50)])
def test_endless_answer_is_refused_before_it_fills_the_memory(server: Server, endless: Answer) -> None:
    server.answers = [endless]
    with pytest.raises(ReimageError, match=r"chunks/0000/0{64}\.cacnk is larger than 1114112 bytes"):
        HttpStore(server.url).chunk(bytes(32))
    assert server.requests == 1


def test_file_with_the_description_of_an_image_may_be_large(server: Server) -> None:
    server.answers = [say(200, bytes(5 * MIB))]
    assert len(HttpStore(server.url).description("lab", "1", "p1.caibx")) == 5 * MIB
