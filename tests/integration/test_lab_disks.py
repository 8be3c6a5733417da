# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The disks of the lab's PCs: the role makes its own, and an inventory brings what makes others."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from .module import ROOT

DISK = ROOT / "roles/virtual_lab/files/disk"


def more_pcs() -> list[dict[str, Any]]:
    """Return what the lab's inventory adds to the PCs of the role."""
    words = ["ansible", "localhost", "-i", "inventories/virtual-lab", "-m", "debug", "-a", "var=virtual_lab_more_pcs"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    found: list[dict[str, Any]] = json.loads(done.stdout.partition(" => ")[2])["virtual_lab_more_pcs"]
    return found


def test_inventory_of_the_lab_brings_what_stands_in_for_windows(tmp_path: Path) -> None:
    (master,) = (pc for pc in more_pcs() if "disk_maker" in pc)
    made = tmp_path / f"{master['disk']}.raw"
    subprocess.run([*master["disk_maker"], made], check=True, timeout=120)
    assert [path.name for path in tmp_path.iterdir()] == [made.name]
    subprocess.run([DISK, master["disk"], tmp_path / "pc", "1M", tmp_path], check=True)
    assert (tmp_path / "pc.raw").read_bytes() == made.read_bytes()
    table = json.loads(subprocess.run(["sfdisk", "--json", made], check=True, capture_output=True).stdout)["partitiontable"]
    offset = str(table["partitions"][2]["start"] * 512)
    probe = ["blkid", "--probe", "--offset", offset, "--output", "value", "--match-tag", "TYPE", tmp_path / "pc.raw"]
    assert subprocess.run(probe, check=True, capture_output=True, text=True).stdout == "ntfs\n"


def test_disk_that_nobody_makes_is_named(tmp_path: Path) -> None:
    done = subprocess.run([DISK, "widnows", tmp_path / "pc-05", "1M", tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "pc-05: there is no disk widnows: use blank, master or message, or say with disk_maker how to make it\n"
    assert not list(tmp_path.iterdir())
