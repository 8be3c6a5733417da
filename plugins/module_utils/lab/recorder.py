# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Records the screens of a lab's PCs, for the report: C(python3 recorder.py ROOT) runs until it is ended.

A screenshot is C(screens/NAME/SECONDS.png), kept only if it differs from the one before it.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError
from ansible_collections.reimage.lab.plugins.module_utils.lab.pc import Pc

INTERVAL = 4.0


def record(root: Path, last: dict[str, bytes]) -> None:
    """Take one screenshot of every PC that runs.

    :param last: The latest picture of each PC, which is updated.
    """
    for definition in sorted((root / "pcs").glob("*.json")):
        name = definition.stem
        folder = root / "screens" / name
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{time.time():.1f}.png"
        try:
            pc = Pc(root, name)
            if not pc.running:
                continue
            pc.screenshot(path)
            picture = path.read_bytes()
        except (ReimageError, OSError):
            continue  # it was switched off in this moment
        if picture == last.get(name):
            path.unlink()
        last[name] = picture


if __name__ == "__main__":
    pictures: dict[str, bytes] = {}
    while True:
        record(Path(sys.argv[1]), pictures)
        time.sleep(INTERVAL)
