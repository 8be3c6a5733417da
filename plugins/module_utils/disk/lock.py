# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One writer for a disk: a lock that all modules take, and that udev and other programs honour.

Source: U(https://systemd.io/BLOCK_DEVICE_LOCKING), proc(5).
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Iterator

from ansible_collections.reimage.lab.plugins.module_utils.disk.errors import DiskError

PATIENCE = 30.0  # seconds: udev looks at a disk for a moment whenever somebody closes it, and slow machines take their time
_PAUSE = 0.1
_SEARCH = 1.0  # seconds
_MOST_NAMED = 5


@contextmanager
def locked(path: str, *, exclusive: bool) -> Iterator[None]:
    """Hold the lock of a disk: of a partition's whole disk, and of what lies beneath a loop device too.

    :param path: A block device, or a raw disk file.
    :param exclusive: For who writes. Those that only read share the lock with each other.
    :raises DiskError: Somebody else has it, also after some seconds; the message says who.
    """
    with ExitStack() as stack:
        for node in _nodes(Path(path)):
            stack.enter_context(_locked(node, path, exclusive))
        yield


def holders(path: str) -> str:
    """Say which processes have a disk open, those that lock it before others. The search ends after a second."""
    node, end = Path(path), time.monotonic() + _SEARCH
    locking: list[str] = []
    others: list[str] = []
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal() or process.name == str(os.getpid()) or time.monotonic() > end:
            continue
        with suppress(OSError):  # it ended meanwhile
            found = [file.name for file in (process / "fd").iterdir() if _is(file, node)]
            if found:
                locks = any("FLOCK" in (process / "fdinfo" / name).read_text(encoding="ascii") for name in found)
                (locking if locks else others).append(f"pid {process.name} ({_name(process)})")
    return ", ".join((locking or others)[:_MOST_NAMED]) or "no process that is seen from here"


@contextmanager
def _locked(node: Path, path: str, exclusive: bool) -> Iterator[None]:
    try:
        file = os.open(node, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise DiskError(f"disk {node} cannot be opened: {error.strerror}") from error
    try:
        end = time.monotonic() + PATIENCE
        while not _taken(file, exclusive):
            if time.monotonic() > end:
                raise DiskError(f"disk {path} is being worked on by {holders(str(node))}: wait until that has ended")
            time.sleep(_PAUSE)
        yield
    finally:
        os.close(file)


def _taken(file: int, exclusive: bool) -> bool:
    try:
        fcntl.flock(file, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _nodes(path: Path) -> list[Path]:
    """Return what to lock for a disk, what lies beneath first, so that all lock in the same order."""
    status = path.stat()
    if not stat.S_ISBLK(status.st_mode):
        return [path]
    place = Path(f"/sys/dev/block/{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}").resolve()
    if not place.exists():
        return [path]
    if (place / "partition").exists():
        place = place.parent
    whole, backing = Path("/dev", place.name.replace("!", "/")), place / "loop/backing_file"
    beneath = Path(backing.read_text(encoding="utf-8", errors="surrogateescape").rstrip("\n")) if backing.exists() else None
    return [*(_nodes(beneath) if beneath and beneath.exists() else []), whole]


def _is(file: Path, node: Path) -> bool:
    # The name first: looking at a file itself waits where it is on a server that does not answer.
    if Path(os.readlink(file)).name != node.name:
        return False
    one, other = file.stat(), node.stat()
    return os.path.samestat(one, other) or (stat.S_ISBLK(one.st_mode) and one.st_rdev == other.st_rdev)


def _name(process: Path) -> str:
    """Return the name of a program, which says anything, as something to be shown."""
    name = (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
    return "".join(letter if letter.isprintable() else "?" for letter in name)
