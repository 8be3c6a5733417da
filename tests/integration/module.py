# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modules as Ansible runs them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def run(module: str, check: bool = False, **options: Any) -> dict[str, Any]:
    """Run a module and return its result, and what was shown meanwhile as C(said)."""
    words = ["ansible", "localhost", "-m", f"reimage.lab.{module}", "-a", json.dumps(options), *(["--check"] if check else [])]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert " => " in done.stdout, done.stderr
    said, _arrow, text = done.stdout.rpartition(" => ")
    result: dict[str, Any] = json.loads(text)
    return {**result, "said": said, "failed": done.returncode != 0}
