# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which run of Ansible this is, and whether another one on this controller has ended.

A run is its main process: host, process id, and the boot and the clock tick at which it started, so that a number that is used
again is not taken for it. The host is known by its name, its machine-id and its namespace of processes: a container is
another host.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import socket
from pathlib import Path

PROC = Path("/proc")


def this_run() -> str:
    """Return the id of the run that this worker of Ansible belongs to."""
    main = os.getppid()
    return f"{_host()}/{main}/{_started(main) or 'unknown'}"


def who() -> str:
    """Say for people who that is."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number that has no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}, process {os.getppid()},"


def has_ended(run: str) -> bool:
    """Return whether a run was on this host and is no more. Of what is not known for sure, it is False."""
    host, _slash, process = run.partition("/")
    main, _slash, started = process.partition("/")
    if host != _host() or not main.isdigit() or started in ("", "unknown"):
        return False
    return _started(int(main)) != started


def _host() -> str:
    try:
        namespace = str((PROC / "self/ns/pid").stat().st_ino)
    except OSError:
        namespace = ""
    try:
        machine = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except OSError:
        machine = ""
    return hashlib.sha256(f"{socket.gethostname()} {machine} {namespace}".encode()).hexdigest()[:16]


def _started(process: int) -> str:
    """Return when a process started, or nothing if there is none: one that only waits for its parent has ended."""
    try:
        # proc(5): the name, in parentheses, may hold anything; then come the state and, 19 fields on, the tick.
        fields = (PROC / f"{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        boot = (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else f"{boot}-{fields[19]}"
