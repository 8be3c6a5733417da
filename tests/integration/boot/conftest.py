# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Debian's nginx with the site of the role C(boot_server), in a network namespace of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.reimage.lab.plugins.module_utils.boot.layout import Layout

PROJECT = Path(__file__).resolve().parents[3]
ROLE = PROJECT / "roles/boot_server"
PROXY = PROJECT / "roles/proxy_dhcp"
LOADERS = PROJECT / "var/cache/lab/loaders"  # the virtual lab's, too
MIRROR = "http://deb.debian.org/debian"
WEB_SERVER = "www-data"


def fetch_loaders(destination: Path, *more: str, cache: Path = LOADERS, mirror: str = MIRROR) -> subprocess.CompletedProcess[str]:
    """Run what the role proxy_dhcp runs."""
    words = [PROXY / "files/signed-loaders", cache, destination, mirror, f"{MIRROR}-security", "amd64", *more]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)


def render(role: Path, variables: dict[str, Any], **templates: Path) -> None:
    """Write templates of a role, by their names without dots, as Ansible does, to where they are wanted."""
    defaults = [
        yaml.safe_load(path.read_text()) for path in (role / "defaults/main.yml", role / "vars/main.yml") if path.exists()
    ]
    known = {key: value for file in defaults for key, value in file.items()}
    tasks = [
        {"ansible.builtin.template": {"src": str(role / "templates" / f"{name.replace('_', '.')}.j2"), "dest": str(target)}}
        for name, target in templates.items()
    ]
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as playbook:
        json.dump([{"hosts": "localhost", "gather_facts": False, "vars": {**known, **variables}, "tasks": tasks}], playbook)
        playbook.flush()
        subprocess.run(["ansible-playbook", playbook.name], cwd=PROJECT, check=True, capture_output=True, timeout=120)


class WebServer:
    """A running nginx, its folders, and whoever asks it something."""

    address = "127.0.0.1"

    def __init__(
        self, folder: Path, namespace: str, variables: dict[str, Any], connections: int = 768, patience: str = ""
    ) -> None:
        """Prepare one with variables of the role, and lower limits: connections of the worker, time for a request."""
        self.folder = folder
        self.namespace = namespace
        self.layout = Layout(folder / "boot")
        self.store = folder / "store"
        self.logs = folder / "log"
        self._site = folder / "sites-enabled/reimage.conf"
        self._limits = folder / "reimage.nft"
        self._connections = connections
        self._patience = patience
        self._variables = {
            "boot_server_root": str(self.layout.root),
            "boot_server_store": str(self.store),
            "boot_server_address": self.address,
            "boot_server_access_log": "/var/log/nginx/reimage.log",
            **variables,
        }

    def make_folders(self) -> None:
        """Make what the role makes, as its tasks say it, and what Debian's package makes."""
        for name in ("sites-enabled", "log", "lib", "run", "store"):
            (self.folder / name).mkdir()
        task = next(task for task in yaml.safe_load((ROLE / "tasks/main.yml").read_text()) if "folders" in task["name"])
        for item in task["loop"]:
            path = Path(f"{self.layout.root}{item['path']}")
            path.mkdir(exist_ok=True)
            shutil.chown(path, item.get("owner", "root"), item.get("group", "root"))
            path.chmod(int(item.get("mode", "0755"), 8))
        for name in ("hosts", "tftp"):  # of the role proxy_dhcp
            (self.layout.root / name).mkdir()

    def start(self) -> None:
        """Start nginx with Debian's own configuration, but one worker, as the service of the role does."""
        render(ROLE, self._variables, nginx_conf=self._site, reimage_nft=self._limits)
        if self._patience:
            self._site.write_text(re.sub(r"(client_\w+_timeout) 10s", rf"\1 {self._patience}", self._site.read_text()))
        main = self.folder / "nginx.conf"
        text = Path("/etc/nginx/nginx.conf").read_text().replace("worker_processes auto", "worker_processes 1")
        main.write_text(text.replace("worker_connections 768", f"worker_connections {self._connections}"))
        script = f"""
            mount --bind {self.folder}/sites-enabled /etc/nginx/sites-enabled
            mount --bind {main} /etc/nginx/nginx.conf
            mount --bind {self.logs} /var/log/nginx
            mount --bind {self.folder}/lib /var/lib/nginx
            mount --bind {self.folder}/run /run
            nft --file {self._limits}
            exec nginx -g 'daemon off;'
        """
        command = ["ip", "netns", "exec", self.namespace, "sh", "-e", "-c", script]
        self._process = subprocess.Popen(command, start_new_session=True)
        self.run("curl", "--silent", "--retry", "20", "--retry-connrefused", "--retry-delay", "1", f"http://{self.address}/")

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(20)

    def run(self, *command: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a program in the network of the server."""
        words = ["ip", "netns", "exec", self.namespace, *command]
        return subprocess.run(words, check=True, capture_output=True, text=True, timeout=60, **options)

    def ask(self, path: str, *options: str) -> tuple[int, str]:
        """Return status and body of what the server answers."""
        words = ["curl", "--silent", "--path-as-is", "--max-time", "30", "--write-out", "\n%{http_code}"]
        body, _line, status = self.run(*words, *options, f"http://{self.address}{path}").stdout.rpartition("\n")
        return int(status), body

    def put(self, path: str, body: bytes) -> int:
        """Return the status of an upload."""
        with tempfile.NamedTemporaryFile() as file:
            file.write(body)
            file.flush()
            return self.ask(path, "--upload-file", file.name)[0]

    def logged(self) -> str:
        """Return all that is in the logs."""
        return "".join(path.read_text() for path in self.logs.iterdir())


@pytest.fixture(scope="module")
def web_server(request: pytest.FixtureRequest) -> Iterator[WebServer]:
    """Return a running web server; C(request.param) are options of C(WebServer)."""
    namespace = f"reimage-test-{os.getpid()}"
    real = Path(tempfile.mkdtemp(prefix="reimage-web-", dir="/var/tmp"))  # which the web server's user can reach
    real.chmod(0o755)
    # Above the folders that the role is told, links are the administrator's, such as one from /srv to another disk.
    folder = real.with_name(f"{real.name}-link")
    folder.symlink_to(real)
    subprocess.run(["ip", "netns", "add", namespace], check=True)
    try:
        subprocess.run(["ip", "-n", namespace, "link", "set", "lo", "up"], check=True)
        # Small, and one that a test can fill.
        (folder / "boot").mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M,mode=755", "boot", folder / "boot"], check=True)
        server = WebServer(folder, namespace, **getattr(request, "param", {"variables": {}}))
        server.make_folders()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        subprocess.run(["umount", folder / "boot"], check=False)
        subprocess.run(["ip", "netns", "delete", namespace], check=True)
        folder.unlink()
        shutil.rmtree(real)
