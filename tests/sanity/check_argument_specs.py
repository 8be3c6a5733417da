# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every default of a role is a documented option with that default, and every option with a default has it there."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

ROLES = Path(__file__).resolve().parents[2] / "roles"


def spaced(value: object) -> object:
    """Return a text with one space between words: how a template is folded does not matter."""
    return " ".join(value.split()) if isinstance(value, str) else value


def complaints(role: Path) -> list[str]:
    """Return what is wrong with one role, a sentence each."""
    specs = role / "meta/argument_specs.yml"
    if not specs.exists():
        return [f"{role.name}: meta/argument_specs.yml is missing"]
    options = yaml.safe_load(specs.read_text())["argument_specs"]["main"].get("options", {})
    defaults_file = role / "defaults/main.yml"
    defaults = (yaml.safe_load(defaults_file.read_text()) or {}) if defaults_file.exists() else {}
    found = [f"{role.name}: {name} is a default but not an option" for name in defaults.keys() - options.keys()]
    for name, option in options.items():
        if option.get("required"):
            if name in defaults:
                found.append(f"{role.name}: {name} is required and has a default")
        elif name not in defaults and "default" in option:
            found.append(f"{role.name}: {name} has a default in the specification only")
        elif name in defaults and spaced(defaults[name]) != spaced(option.get("default")):
            found.append(f"{role.name}: {name} is {defaults[name]!r}, documented as {option.get('default')!r}")
        if not option.get("description"):
            found.append(f"{role.name}: {name} has no description")
    if not (role / "README.md").exists():
        found.append(f"{role.name}: README.md is missing")
    return found


if __name__ == "__main__":
    wrong = [line for role in sorted(ROLES.iterdir()) if role.is_dir() for line in complaints(role)]
    print("\n".join(wrong) or "all roles agree")
    sys.exit(bool(wrong))
