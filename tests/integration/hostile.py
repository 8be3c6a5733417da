# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A machine whose root is an attacker: a real sshd on loopback, which answers each command with what a test says."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible_collections.reimage.lab.plugins.module_utils.command import wait_until

MODULE = "_ANSIBALLZ_WRAPPER"  # matches every module

# What sshd runs instead of the command that it was sent. A module comes through standard input, a raw command as the command.
# Other commands are given no end of their input. Ansible believes in its temporary folder if it is told that there is one.
_PROGRAM = r"""
import json, os, re, sys, time
folder = os.path.dirname(os.path.abspath(__file__))
command = os.environ.get("SSH_ORIGINAL_COMMAND", "")
reads = re.search("python|cat *>|dd of=", command) and not sys.stdin.isatty()
given = sys.stdin.buffer.read().decode("utf-8", "replace") if reads else ""
with open(folder + "/heard", "a") as file:
    file.write(json.dumps({"command": command, "stdin": given}) + "\n")
made = re.search(r'(ansible-tmp-[\w.-]+)="', command)
answer = {"stdout": f"{made[1]}=/tmp/{made[1]}\n" if made else "", "stderr": "", "rc": 0}
for rule in json.load(open(folder + "/answers")):
    if re.search(rule["pattern"], command + "\n" + given):
        answer = rule
        end = time.monotonic() + rule["seconds"]
        while time.monotonic() < end and os.path.exists(folder + "/running"):
            time.sleep(0.1)
        break
sys.stdout.buffer.write(answer["stdout"].encode("utf-8", "surrogateescape"))
sys.stdout.flush()
sys.stderr.buffer.write(answer["stderr"].encode("utf-8", "surrogateescape"))
sys.stderr.flush()
sys.exit(answer["rc"])
"""


class HostileMachine:
    """Answers over SSH; C(with) starts and stops it.

    :ivar host_keys: What it would put into its check-in.
    :ivar variables: Connection variables of Ansible that lead to it, whatever C(ansible_host) says.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._answers: list[dict[str, Any]] = []
        for name in ("host", "key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", folder / name], check=True)
        (folder / "program").write_text(_PROGRAM)
        (folder / "heard").touch()
        self._save()
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._port = probe.getsockname()[1]
        # Ansible's connections last longer than a test, and the next one is to make its own. The path of a socket must be short.
        self._sockets = tempfile.mkdtemp(prefix="hostile-")
        self.host_keys = [(folder / "host.pub").read_text().strip()]
        self.variables = {
            "ansible_connection": "ansible.builtin.ssh",
            "ansible_host": "192.0.2.66",
            "ansible_user": "root",
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_ssh_private_key_file": str(folder / "key"),
            "ansible_ssh_common_args": (
                f'-F /dev/null -o ProxyCommand="socat STDIO TCP:127.0.0.1:{self._port}" -o IdentitiesOnly=yes'
                " -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
            ),
            "ansible_control_path_dir": self._sockets,
            "ansible_ssh_transfer_method": "piped",
        }

    def __enter__(self) -> HostileMachine:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd insists on this folder
        (self._folder / "running").touch()
        options = {
            "ListenAddress": f"127.0.0.1:{self._port}",
            "HostKey": self._folder / "host",
            "AuthorizedKeysFile": self._folder / "key.pub",
            "StrictModes": "no",
            "UsePAM": "no",
            "PermitRootLogin": "prohibit-password",
            "MaxStartups": "100",
            "PidFile": "none",
            "ForceCommand": f"/usr/bin/python3 -I -S {self._folder}/program",
        }
        words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        self._server = subprocess.Popen(
            ["/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null", *words],
            stderr=(self._folder / "log").open("wb"),
        )
        wait_until(lambda: "listening on" in (self._folder / "log").read_text().lower(), 20, "sshd to listen")
        return self

    def __exit__(self, *_error: object) -> None:
        (self._folder / "running").unlink()
        # Its sessions too: Ansible keeps them open.
        listed = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self._server.pid)], capture_output=True, text=True, check=False
        )
        for pid in map(int, listed.stdout.split()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        self._server.terminate()
        self._server.wait(10)
        shutil.rmtree(self._sockets)

    def answers(self, pattern: str, stdout: str | dict[str, Any] = "", stderr: str = "", rc: int = 0, seconds: int = 0) -> None:
        """Have it answer what matches a regular expression, the command or what comes with it; the latest answer counts.

        :param stdout: A dictionary becomes JSON, as the result of a module.
        :param seconds: How long it takes to answer.
        """
        text = stdout if isinstance(stdout, str) else json.dumps(stdout)
        self._answers.insert(0, {"pattern": pattern, "stdout": text, "stderr": stderr, "rc": rc, "seconds": seconds})
        self._save()

    def heard(self) -> list[dict[str, str]]:
        """Return what it was told to run, each as C(command) and C(stdin)."""
        return [json.loads(line) for line in (self._folder / "heard").read_text().splitlines()]

    def _save(self) -> None:
        (self._folder / "answers").write_text(json.dumps(self._answers))
