# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""F2FS.

It does not grow here: there is a resize.f2fs, but no kernel that runs the tests can say whether what it makes can be mounted.
"""

from __future__ import annotations

import re

from ansible_collections.reimage.lab.plugins.module_utils.command import run
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.base import DIRTY, Unfit
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.mapped import Mapped


class F2fs(Mapped):
    """F2FS."""

    names = ("f2fs",)
    programs = {"dump.f2fs": "f2fs-tools"}
    holds_linux = True

    def unfit(self, device: str) -> Unfit | None:
        """Blocks written since the last checkpoint, partclone has as free."""
        state = re.search(r"^Info: checkpoint state = (.*)$", run(["dump.f2fs", device]).stdout.decode(errors="replace"), re.M)
        if state and "unmount" in state[1].split():
            return None
        return Unfit(DIRTY, "was not unmounted cleanly: start the master and shut it down")
