# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The list of the machines' records, for the status page: the web server lists no folder."""

from __future__ import annotations

import fcntl
import os
import re

from ansible_collections.reimage.lab.plugins.module_utils.boot.files import write_json
from ansible_collections.reimage.lab.plugins.module_utils.boot.layout import Layout
from ansible_collections.reimage.lab.plugins.module_utils.fleet.errors import FleetError

_RECORD = re.compile(r"[0-9a-f]{2}(?:-[0-9a-f]{2}){5}\.json")


def list_records(layout: Layout) -> None:
    """Write C(index.json): the file name of each record, and a text that is another one whenever the record is."""
    try:
        folder = os.open(layout.states, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise FleetError(f"{layout.states}: cannot be read: {error.strerror}") from error
    try:
        # Of several that write records at once, the last one to come here sees all of them.
        fcntl.flock(folder, fcntl.LOCK_EX)
        with os.scandir(folder) as entries:
            files = [entry for entry in entries if _RECORD.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)]
        write_json(layout.states / "index.json", dict(sorted((entry.name, _version(entry)) for entry in files)))
    finally:
        os.close(folder)


def _version(entry: os.DirEntry[str]) -> str:
    """Each change makes a new file; the clock of a filesystem alone may not tell two of them apart."""
    status = entry.stat(follow_symlinks=False)
    return f"{status.st_ino}-{status.st_mtime_ns}"
