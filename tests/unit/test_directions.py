# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Arrows go one way: playbooks → roles → modules → module_utils, and in module_utils from the fleet down to the ground floor."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Iterator

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = ROOT / "plugins"
COLLECTION = "ansible_collections.reimage.lab."
# Each imports only what stands before it, and itself.
FLOORS = (
    ("command", "errors", "entry", "options", "untrusted"),
    ("names",),
    ("mac",),
    ("disk",),
    ("hardware",),
    ("boot",),
    ("imaging",),
    ("identity",),
    ("fleet",),
)
GROUND = {"command", "errors", "entry"}
# Which folders of plugins/ those of another folder may import, besides their own.
MAY_IMPORT: dict[str, set[str]] = {
    "module_utils": set(),
    "modules": {"module_utils"},
    "doc_fragments": {"module_utils"},
    "plugin_utils": {"module_utils"},
    "action": {"module_utils", "plugin_utils"},
    "callback": {"module_utils", "plugin_utils"},
    "filter": {"module_utils"},
    "inventory": {"module_utils", "plugin_utils"},
}


def imports(path: Path) -> Iterator[str]:
    """Yield the modules that a file imports, wherever in it, with their whole names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def sources(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def room(path: Path) -> str:
    """Return which package or module of module_utils a file belongs to."""
    return path.relative_to(PLUGINS / "module_utils").parts[0].removesuffix(".py")


def allowed(name: str) -> set[str]:
    if name == "lab":
        return {"lab", *GROUND}
    floor = next(number for number, names in enumerate(FLOORS) if name in names)
    return {name, *(one for names in FLOORS[: max(floor, 1)] for one in names)}


def wrong_floors(path: Path) -> list[str]:
    prefix = f"{COLLECTION}plugins.module_utils."
    names = [name.removeprefix(prefix).split(".")[0] for name in imports(path) if name.startswith(prefix)]
    return [name for name in names if name not in allowed(room(path))]


def test_every_room_of_module_utils_has_its_floor() -> None:
    known = {name for names in FLOORS for name in names} | {"lab", "__init__"}
    assert {room(path) for path in sources(PLUGINS / "module_utils")} == known


def test_rooms_of_module_utils_import_only_what_stands_below_them() -> None:
    found = {str(path.relative_to(ROOT)): wrong_floors(path) for path in sources(PLUGINS / "module_utils")}
    assert {path: names for path, names in found.items() if names} == {}


def test_module_utils_know_nothing_of_ansible() -> None:
    """C(entry) does, for type checkers only."""
    found = {
        (path.name, name) for path in sources(PLUGINS / "module_utils") for name in imports(path) if name.startswith("ansible.")
    }
    assert found == {("entry.py", "ansible.module_utils.basic.AnsibleModule")}


@pytest.mark.parametrize("folder", sorted(path.name for path in PLUGINS.iterdir() if path.is_dir()))
def test_plugins_import_only_what_is_meant_for_them(folder: str) -> None:
    may = MAY_IMPORT[folder] | ({folder} if folder.endswith("_utils") else set())
    for path in sources(PLUGINS / folder):
        ours = [name.removeprefix(f"{COLLECTION}plugins.").split(".")[0] for name in imports(path) if name.startswith(COLLECTION)]
        assert set(ours) <= may, path
        assert not [name for name in imports(path) if name.split(".")[0] == "tests"], path


def test_roles_reach_neither_playbooks_nor_tests_nor_inventories() -> None:
    upwards = re.compile(r"import_playbook|(?:^|[\s\"'/])(?:playbooks|tests|inventories)/")
    for path in (ROOT / "roles").rglob("*"):
        if path.is_file() and path.suffix != ".md":
            assert not upwards.search(path.read_text(errors="replace")), path


def test_a_wrong_import_would_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.PLUGINS", tmp_path)
    for name, line, wrong in (
        ("disk/x.py", "from ansible_collections.reimage.lab.plugins.module_utils.imaging.index import Index", ["imaging"]),
        ("boot/x.py", "def f():\n    from ansible_collections.reimage.lab.plugins.module_utils import fleet", ["fleet"]),
        ("lab/x.py", "from ansible_collections.reimage.lab.plugins.module_utils.disk.mount import mounted", ["disk"]),
        ("fleet/x.py", "from ansible_collections.reimage.lab.plugins.module_utils.boot.layout import Layout", []),
    ):
        path = tmp_path / "module_utils" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(line)
        assert wrong_floors(path) == wrong
