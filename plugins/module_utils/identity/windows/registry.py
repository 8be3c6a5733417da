# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The registry of a Windows that is not running, as one: which hive a key is in, and what would change."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Iterable, Sequence

from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows import hive_log, hives
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.draft import Draft
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.hives import Hive
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.regfile import HEADER, Change, Value, show
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.volume import Volume

_CURRENT = re.compile(r"^CurrentControlSet(?=\\|$)", re.IGNORECASE)
_SYSTEM = "Windows/System32/config/SYSTEM"


@dataclass
class Merged:
    """The new contents of the hives that change, by their files, and the keys before and after, as registry files show them."""

    contents: dict[str, bytes | None] = field(default_factory=dict)
    before: str = ""
    after: str = ""

    @property
    def hives(self) -> list[str]:
        """The files of the hives that change."""
        return list(self.contents)


def open_hive(volume: Volume, file: str) -> Hive:
    """Open a hive for reading, with what its logs hold."""
    path = volume.find(file)
    if path is None:
        raise IdentityError(f"{volume.root}: there is no {file}")
    logs = [volume.read(file + ending) for ending in hive_log.ENDINGS]
    return Hive(volume.read(file) or b"", str(path), logs=[log for log in logs if log])


def by_hive(changes: Iterable[Change]) -> dict[str, list[tuple[str, Change]]]:
    """Return the changes of each hive, with the paths of their keys in it.

    :raises IdentityError: A key is in no hive.
    """
    planned: dict[str, list[tuple[str, Change]]] = {}
    for change in changes:
        file, key = hives.place(change.key)
        hives.check_value_names(change)
        planned.setdefault(file, []).append((key, change))
    return planned


def in_default_profile(change: Change) -> Change:
    """Return a change of the current user's keys as one of the profile that new accounts get, and any other as it is.

    :raises IdentityError: The key is among the user's classes, which are in no hive of that profile.
    """
    root, _separator, path = change.key.partition("\\")
    if root.upper() not in ("HKCU", "HKEY_CURRENT_USER"):
        return change
    if re.match(r"(?i)software\\classes(\\|$)", path):
        raise IdentityError(
            rf"{change.key}: the default profile does not have the hive of a user's classes: use HKLM\SOFTWARE\Classes"
        )
    return replace(change, key=rf"HKEY_USERS\Default\{path}".rstrip("\\"))


def plan(volume: Volume, changes: Iterable[Change]) -> Merged:
    """Return what has the registry be as it should; each change sees the result of those before it. Nothing is written.

    :raises IdentityError: A key is in no hive, or a hive is dirty or damaged.
    """
    result = Merged()
    for file, wanted in by_hive(changes).items():
        hive = open_hive(volume, file)
        current = hives.control_set(hive) if file == _SYSTEM else ""
        draft = Draft(hive)
        for key, change in wanted:
            draft.apply(_CURRENT.sub(current, key) if current else key, change)
        different = list(draft.changes())
        if not different:
            continue
        result.contents[file] = hives.changed(hive.data, hive.name, different)
        start = hives.root_of(file)
        for key, change in different:
            before = hive.values(key)
            after = None if change.delete else hives.merged(before or {}, change.values)
            result.before += show(f"{start}\\{key}", _only(before, change))
            result.after += show(f"{start}\\{key}", _only(after, change))
    return result


def merge(volume: Volume, changes: Iterable[Change], *, dry_run: bool = False) -> Merged:
    """Have the registry be as it should. Nothing is written where nothing differs, and nothing at all if one change cannot be.

    :raises IdentityError: As C(plan) does, or the volume has no room for the new hives.
    """
    result = plan(volume, changes)
    if not dry_run:
        volume.write_all(result.contents)
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
        path = _CURRENT.sub(hives.control_set(hive), path)
    if hive.node(path) is None:
        raise IdentityError(f"{key}: there is no such key in {file}")
    pending, text = [""], ""
    while pending:
        below = pending.pop()
        if below.count("\\") > hives.DEPTH:
            raise IdentityError(f"{hive.name}: this registry hive is damaged: {key} has keys that are in themselves")
        text += show(key + below, hive.values(path + below))
        pending += [f"{below}\\{child}" for child in sorted(hive.children(path + below), reverse=True)]
    return text


def _only(values: dict[str, Value] | None, change: Change) -> dict[str, Value] | None:
    """Return the values that a change is about."""
    if values is None or change.delete:
        return values
    names = {hives.folded(name) for name in change.values}
    return {name: value for name, value in values.items() if hives.folded(name) in names}
