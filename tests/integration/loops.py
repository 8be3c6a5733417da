# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Loop devices that should be gone."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ansible_collections.reimage.lab.plugins.module_utils.command import wait_until


def await_no_loop(disk: Path) -> None:
    """Fail if a disk stays attached; whatever looks at new devices may hold one for a moment."""

    def gone() -> bool:
        return not subprocess.run(["losetup", "--associated", disk], capture_output=True, check=True).stdout

    wait_until(gone, 10, f"the loop devices of {disk} to go")
