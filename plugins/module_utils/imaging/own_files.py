# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files of a folder that anybody may have filled: a store, or an image folder of another program.

Only the folder's own regular files are read. A link in it, also one to a folder, may lead to what only root may read; a pipe
would be waited for; opening a device may do something. The folder itself may be a link: whoever names it means it.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError

# Such a descriptor names a file without opening it.
_NAMED = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def open_file(root: Path, name: str) -> BinaryIO:
    """Open a file for reading.

    :param name: Its path below I(root).
    :raises FileNotFoundError: There is none.
    :raises ImagingError: It is not a regular file, or something above it, below the root, is not a folder.
    """
    parts = PurePosixPath(name).parts
    if ".." in parts or name.startswith("/"):
        raise ImagingError(f"{root}: {name!r:.100} leads out of this folder")
    found = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for depth, part in enumerate(parts, 1):
            inner = os.open(part, _NAMED, dir_fd=found)
            os.close(found)
            found = inner
            _refuse_other(root.joinpath(*parts[:depth]), os.fstat(found).st_mode, is_folder=depth < len(parts))
        return open(f"/proc/self/fd/{found}", "rb")  # noqa: PTH123  the caller closes it
    finally:
        os.close(found)


def file_size(path: Path) -> int:
    """Return the bytes of a regular file; see C(open_file) for errors."""
    status = path.lstat()
    _refuse_other(path, status.st_mode, is_folder=False)
    return status.st_size


def _refuse_other(place: Path, mode: int, *, is_folder: bool) -> None:
    if stat.S_ISLNK(mode):
        raise ImagingError(f"{place} is a link, and links are not followed here: put there what it points to")
    if is_folder and not stat.S_ISDIR(mode):
        raise ImagingError(f"{place} is no folder")
    if not is_folder and not stat.S_ISREG(mode):
        raise ImagingError(f"{place} is no regular file")
