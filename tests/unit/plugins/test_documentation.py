# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The documentation of every plugin can be read: a colon in a sentence is enough to break it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml

PLUGINS = Path(__file__).resolve().parents[3] / "plugins"
TEXTS = ("DOCUMENTATION", "EXAMPLES", "RETURN")
FILES = [file for file in sorted(PLUGINS.rglob("*.py")) if "module_utils" not in file.parts and "plugin_utils" not in file.parts]


def texts(file: Path) -> dict[str, str]:
    """Return what a plugin assigns to the names that ansible-doc reads."""
    found = {}
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = node.value.value
    return {name: found[name] for name in TEXTS if name in found}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PLUGINS)))
def test_documentation_is_yaml(file: Path) -> None:
    for text in texts(file).values():
        assert yaml.safe_load(text)


@pytest.mark.parametrize("file", sorted((PLUGINS / "modules").glob("*.py")), ids=lambda file: file.stem)
def test_a_module_documents_itself(file: Path) -> None:
    assert list(texts(file)) == list(TEXTS)
    assert yaml.safe_load(texts(file)["DOCUMENTATION"])["module"] == file.stem
