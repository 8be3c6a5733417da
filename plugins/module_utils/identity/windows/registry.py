# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The registry of a Windows that is not running, as one: which hive a key is in, and what would change."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Iterable, Sequence

from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows import hives
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.hives import Hive
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.regfile import HEADER, Change, Value, show
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.volume import Volume

_CURRENT = re.compile(r"CurrentControlSet(?=\\|$)", re.IGNORECASE)
_SYSTEM = "Windows/System32/config/SYSTEM"


@dataclass
class Merged:
    """Which hives changed, and the keys before and after, as registry files show them."""

    hives: list[str] = field(default_factory=list)
    before: str = ""
    after: str = ""


def open_hive(volume: Volume, file: str) -> Hive:
    """Open a hive for reading."""
    path = volume.find(file)
    if path is None:
        raise IdentityError(f"{volume.root}: there is no {file}")
    return Hive(path)


def by_hive(changes: Iterable[Change]) -> dict[str, list[tuple[str, Change]]]:
    """Return the changes of each hive, with the paths of their keys in it.

    :raises IdentityError: A key is in no hive.
    """
    planned: dict[str, list[tuple[str, Change]]] = {}
    for change in changes:
        file, key = hives.place(change.key)
        planned.setdefault(file, []).append((key, change))
    return planned


def merge(volume: Volume, changes: Sequence[Change], *, dry_run: bool = False) -> Merged:
    """Have the registry be as it should. Nothing is written where nothing differs, and nothing at all if one change cannot be.

    :raises IdentityError: A key is in no hive, or a hive is dirty or damaged.
    """
    result = Merged()
    pending: list[tuple[str, list[tuple[str, Change]]]] = []
    for file, wanted in by_hive(changes).items():
        hive = open_hive(volume, file)
        if file == _SYSTEM:
            current = hives.control_set(hive)
            wanted = [(_CURRENT.sub(current, key, count=1), change) for key, change in wanted]
        different = [(key, change) for key, change in wanted if _differs(hive, key, change)]
        if different:
            pending.append((file, different))
            result.hives.append(file)
            for key, change in different:
                before = hive.values(key)
                after = None if change.delete else hives.merged(before or {}, change.values)
                result.before += show(change.key, _only(before, change))
                result.after += show(change.key, _only(after, change))
    if not dry_run:
        for file, different in pending:
            path = volume.find(file)
            if path:
                hives.replace(path, different)
    return result


def export(volume: Volume, keys: Sequence[str]) -> str:
    """Return keys with all that is in them, as a registry file.

    :raises IdentityError: A key is in no hive, or not in its hive.
    """
    return HEADER + "".join(_exported(volume, key.rstrip("\\")) for key in keys)


def _exported(volume: Volume, key: str) -> str:
    file, path = hives.place(key)
    hive = open_hive(volume, file)
    if file == _SYSTEM:
        path = _CURRENT.sub(hives.control_set(hive), path, count=1)
    if hive.node(path) is None:
        raise IdentityError(f"{key}: there is no such key in {file}")
    pending, text = [""], ""
    while pending:
        below = pending.pop()
        text += show(key + below, hive.values(path + below))
        pending += [f"{below}\\{child}" for child in sorted(hive.children(path + below), reverse=True)]
    return text


def _differs(hive: Hive, key: str, change: Change) -> bool:
    before = hive.values(key)
    if change.delete:
        return before is not None
    if before is None and change.values and all(value is None for value in change.values.values()):
        return False
    return before is None or hives.merged(before, change.values) != before


def _only(values: dict[str, Value] | None, change: Change) -> dict[str, Value] | None:
    """Return the values that a change is about."""
    if values is None or change.delete:
        return values
    names = {name.lower() for name in change.values}
    return {name: value for name, value in values.items() if name.lower() in names}
