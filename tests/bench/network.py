# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""nginx in a network namespace of its own, behind a link that may be shaped."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from master import sh

CONFIGURATION = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log; worker_processes 1; user root;
events {{ worker_connections 256; }}
http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; client_body_temp_path {folder}/b;
  proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 8080; location / {{ root {store}; }} }} }}
"""
SERVER, CLIENT = f"bench-{os.getpid()}-s", f"bench-{os.getpid()}-c"


@contextmanager
def served(store: Path, folder: Path, rate: str = "") -> Iterator[tuple[str, list[str]]]:
    """Yield the URL of a store, and the words before a command that is to reach it.

    :param rate: How fast the link is, as tc says it; not shaped by default.
    """
    configuration = folder / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(folder=folder, store=store))
    for name in (SERVER, CLIENT):
        sh("ip", "netns", "add", name)
        sh("ip", "-n", name, "link", "set", "lo", "up")
    try:
        sh("ip", "-n", SERVER, "link", "add", "link0", "type", "veth", "peer", "name", "link0", "netns", CLIENT)
        for name, address in ((SERVER, "192.0.2.1/24"), (CLIENT, "192.0.2.2/24")):
            sh("ip", "-n", name, "address", "add", address, "dev", "link0")
            sh("ip", "-n", name, "link", "set", "link0", "up")
        if rate:
            sh("ip", "netns", "exec", SERVER, "tc", "qdisc", "add", "dev", "link0", "root", "tbf",
               "rate", rate, "burst", "256k", "latency", "50ms")  # fmt: skip
        nginx = subprocess.Popen(["ip", "netns", "exec", SERVER, "nginx", "-c", str(configuration)])
        try:
            client = ["ip", "netns", "exec", CLIENT]
            sh(*client, "curl", "--silent", "--retry", 20, "--retry-connrefused", "--retry-delay", 1, "http://192.0.2.1:8080/")
            yield "http://192.0.2.1:8080", client
        finally:
            nginx.terminate()
            nginx.wait(10)
    finally:
        for name in (SERVER, CLIENT):
            sh("ip", "netns", "delete", name)
