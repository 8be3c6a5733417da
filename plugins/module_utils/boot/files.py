# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Small files, read with a bound and written so that a reader or a crash never meets half of one."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

from ansible_collections.reimage.lab.plugins.module_utils.boot.errors import BootError

LARGEST = 1 << 20


def read_text(path: Path, largest: int = LARGEST) -> str | None:
    """Return what a regular file holds, or None where there is none.

    :param largest: Bytes; a larger file is an error, not a memory problem.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise BootError(f"{path}: cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BootError(f"{path}: is not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise BootError(f"{path}: is larger than {largest} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise BootError(f"{path}: is not UTF-8 text") from error


def read_json(path: Path, largest: int = LARGEST) -> dict[str, Any] | None:
    """Return the JSON object that a file holds, or None where there is no file."""
    text = read_text(path, largest)
    if text is None:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BootError(f"{path}: is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise BootError(f"{path}: is not a JSON object")
    return value


def arrived_at(path: Path) -> float:
    """Return when a file that the web server put somewhere came there, in seconds since the epoch.

    Its time of modification is what the client said: nginx takes it from the header C(Date) of a PUT.
    """
    return round(path.lstat().st_ctime, 3)


def write_text(path: Path, content: str, mode: int = 0o644) -> None:
    """Replace a file in one step, through to the disk.

    The temporary name starts with a dot: dnsmasq and nginx do not take it for one of theirs.
    """
    try:
        descriptor, name = tempfile.mkstemp(prefix=".", suffix="~", dir=path.parent)
    except OSError as error:
        raise BootError(f"{path}: cannot be written: {error.strerror}") from error
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink()
        raise BootError(f"{path}: cannot be written: {error.strerror}") from error
    sync_folder(path.parent)


def write_json(path: Path, value: dict[str, Any], mode: int = 0o644) -> None:
    """Replace a file by a JSON object in one step, through to the disk."""
    write_text(path, json.dumps(value, indent=1) + "\n", mode)


def remove(path: Path) -> None:
    """Remove a file if it is there, through to the disk."""
    try:
        path.unlink()
    except FileNotFoundError:
        return
    except OSError as error:
        raise BootError(f"{path}: cannot be removed: {error.strerror}") from error
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make the names in a folder survive a power cut."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise BootError(f"{path}: cannot be written: {error.strerror}") from error
