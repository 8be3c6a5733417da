# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filesystems that are mounted for a moment."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Iterator

from ansible_collections.reimage.lab.plugins.module_utils.command import run


@contextmanager
def mounted(device: str, options: str, kind: str = "auto") -> Iterator[Path]:
    """Mount a block device, and yield its folder.

    :param options: Options of mount(8), separated by commas.
    :raises CommandError: It cannot be mounted, or not be unmounted, for something in it is still open.
    """
    # Not a TemporaryDirectory: that deletes what is in it, which is the filesystem if it cannot be unmounted.
    folder = Path(tempfile.mkdtemp(prefix="reimage-mount-"))
    try:
        run(["mount", "-t", kind, "-o", f"{options},nosuid,nodev,noexec", device, str(folder)])
        failed = True
        try:
            yield folder
            failed = False
        finally:
            # What failed may still hold a file; that must not hide what failed.
            run(["umount", *(["--lazy"] if failed else []), str(folder)], accept=range(256) if failed else (0,))
    finally:
        with suppress(OSError):
            folder.rmdir()
