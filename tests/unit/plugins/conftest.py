# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.boot.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Return a boot server's folder as the roles leave it."""
    for folder in ("hosts", "http/machines", "http/automation", "tokens", "checkin", "state"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "http/automation/vmlinuz").touch()
    (tmp_path / "http/automation/initrd.img").touch()
    (tmp_path / "http/memtest").touch()
    configuration = {
        "url": "http://10.77.1.2",
        "targets": {
            "automation": {"kernel": "automation/vmlinuz", "initrd": "automation/initrd.img", "arguments": ["quiet"]},
            "memtest": {"kernel": "memtest"},
            "broken": {"kernel": "nothing/here"},
        },
        "access_log": str(tmp_path / "access.log"),
    }
    (tmp_path / "boot.json").write_text(json.dumps(configuration))
    return Layout(tmp_path)
