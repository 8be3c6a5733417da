# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keys of a hive as they will be after some changes, each of which sees the result of those before it."""

from __future__ import annotations

from typing import Iterator

from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.hives import Hive, folded, merged
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.regfile import Change, Value


class Draft:
    """The keys of one hive; those that no change touches are read from it as they are needed."""

    def __init__(self, hive: Hive) -> None:
        self._hive = hive
        self._after: dict[str, tuple[str, dict[str, Value] | None]] = {}  # by folded path: the path, and the values or no key
        self._deleted: dict[str, str] = {}  # the paths of keys that were deleted, by folded path

    def apply(self, path: str, change: Change) -> None:
        """Have a key be as a change wants it.

        :raises IdentityError: It would delete the hive's root.
        """
        path = path.strip("\\")
        if change.delete:
            self._delete(path)
            return
        before = self._values(path)
        if before is None and change.values and all(value is None for value in change.values.values()):
            return
        for above in _above(path):
            if self._values(above) is None:
                self._after[folded(above)] = above, {}
        self._after[folded(path)] = path, merged(before or {}, change.values)

    def changes(self) -> Iterator[tuple[str, Change]]:
        """Yield how the hive differs from the result: first what goes, then what is to be there; each key once."""
        for path in self._deleted.values():
            yield from self._gone(path)
        for path, after in self._after.values():
            before = self._hive.values(path)
            if after is None or after == before:
                continue
            old = before or {}
            removed: dict[str, Value | None] = {name: None for name in old if name not in after}
            new = {name: value for name, value in after.items() if old.get(name) != value}
            yield path, Change(path, values={**removed, **new})

    def _values(self, path: str) -> dict[str, Value] | None:
        key = folded(path)
        if key in self._after:
            return self._after[key][1]
        if any(folded(above) in self._deleted for above in _above(path)):
            return None
        return self._hive.values(path)

    def _delete(self, path: str) -> None:
        if not path:
            raise IdentityError(f"{self._hive.name}: the root of a hive cannot be deleted: name the keys in it")
        key = folded(path)
        for below in [name for name in self._after if name == key or name.startswith(f"{key}\\")]:
            del self._after[below]
        self._after[key] = path, None
        self._deleted[key] = path

    def _gone(self, path: str) -> Iterator[tuple[str, Change]]:
        """Yield which keys of a deleted one go: all of it, unless it was made again."""
        if self._hive.node(path) is None:
            return
        if self._after.get(folded(path), (path, None))[1] is None:
            yield path, Change(path, delete=True)
            return
        for child in self._hive.children(path):
            yield from self._gone(f"{path}\\{child}")


def _above(path: str) -> list[str]:
    """Return the keys that a key is in, outermost first."""
    parts = path.split("\\")
    return ["\\".join(parts[:number]) for number in range(1, len(parts))]
