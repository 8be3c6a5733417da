# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Registry hives of a Windows that is not running.

A hive is changed in a copy, whose bytes the caller writes. Each key that differs is written once: every write of a single value
would leave the hive larger.
"""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path
from typing import Any, Mapping, Sequence

from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows import hive_file, hive_log
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.regfile import DWORD, Change, Value, untext

try:
    import hivex
except ImportError:
    hivex = None

# Where in Windows each root of the registry is; longest first.
_FILES = (
    (r"HKEY_LOCAL_MACHINE\SOFTWARE", "Windows/System32/config/SOFTWARE"),
    (r"HKEY_LOCAL_MACHINE\SYSTEM", "Windows/System32/config/SYSTEM"),
    (r"HKEY_LOCAL_MACHINE\SECURITY", "Windows/System32/config/SECURITY"),
    (r"HKEY_LOCAL_MACHINE\SAM", "Windows/System32/config/SAM"),
    (r"HKEY_LOCAL_MACHINE\COMPONENTS", "Windows/System32/config/COMPONENTS"),
    (r"HKEY_USERS\.DEFAULT", "Windows/System32/config/DEFAULT"),
    (r"HKEY_USERS\S-1-5-18", "Windows/System32/config/DEFAULT"),
    (r"HKEY_USERS\S-1-5-19", "Windows/ServiceProfiles/LocalService/NTUSER.DAT"),
    (r"HKEY_USERS\S-1-5-20", "Windows/ServiceProfiles/NetworkService/NTUSER.DAT"),
    (r"HKEY_USERS\Default", "Users/Default/NTUSER.DAT"),
)
_NAME_LENGTH, _VALUE_NAME_LENGTH, DEPTH = 255, 16383, 512  # that Windows allows
_SHORT = {"HKLM": "HKEY_LOCAL_MACHINE", "HKU": "HKEY_USERS", "HKCR": r"HKEY_LOCAL_MACHINE\SOFTWARE\Classes"}


class Hive:
    """One hive, in memory.

    I(data) is what is in its file, with its logs replayed if Windows did not finish writing it.

    :param name: What to call it in an error.
    :param logs: What its transaction logs hold.
    :param write: Allow C(apply) and C(commit).
    :raises IdentityError: It is dirty and no log fits it, or it is cut or damaged.
    """

    def __init__(self, data: bytes, name: str, *, logs: Sequence[bytes] = (), write: bool = False) -> None:
        if hivex is None:
            raise IdentityError("the Python library hivex is not installed here: install python3-hivex")
        self.data = _clean(data, name, logs)
        self.name = name
        (hive_file.check if write else hive_file.check_head)(self.data, name)
        self._big = hive_file.BIG if hive_file.minor_version(self.data) >= 4 else len(self.data)
        self._extended: set[int] = set()  # keys in which others were made
        with tempfile.NamedTemporaryFile() as file:
            file.write(self.data)
            file.flush()
            try:
                self._hive: Any = hivex.Hivex(file.name, write=write)
            except RuntimeError as error:
                raise IdentityError(f"{name}: this registry hive is damaged: {error}") from error

    def node(self, path: str) -> int | None:
        """Return the node of a key, or None if there is none."""
        node = self._ask("root")
        for name in filter(None, path.split("\\")):
            node = self._child(node, name)
            if node is None:
                return None
        return int(node)

    def values(self, path: str) -> dict[str, Value] | None:
        """Return all values of a key, or None if there is no such key."""
        node = self.node(path)
        if node is None:
            return None
        found = {}
        for value in self._ask("node_values", node):
            kind, data = self._ask("value_value", value)
            found[str(self._ask("value_key", value))] = (int(kind), bytes(data))
        return found

    def get(self, path: str, name: str) -> Value | None:
        """Return one value, whatever the case of its name, or None."""
        for key, value in (self.values(path) or {}).items():
            if folded(key) == folded(name):
                return value
        return None

    def text(self, path: str, name: str) -> str:
        """Return a string, empty if there is none."""
        value = self.get(path, name)
        return untext(value[1]) if value else ""

    def number(self, path: str, name: str) -> int | None:
        """Return a number of 32 bits, or None."""
        value = self.get(path, name)
        return int(struct.unpack("<I", value[1])[0]) if value and value[0] == DWORD and len(value[1]) == 4 else None

    def children(self, path: str) -> list[str]:
        """Return the names of the keys in a key."""
        node = self.node(path)
        return [] if node is None else [str(self._ask("node_name", child)) for child in self._ask("node_children", node)]

    def apply(self, path: str, change: Change) -> None:
        """Have a key be as it should; C(commit) returns the result."""
        node = self.node(path)
        if change.delete:
            if node is not None:
                self._ask("node_delete_child", node)
            return
        before = self.values(path) or {}
        wanted = merged(before, change.values)
        if node is None:
            node = self._make(path)
        if wanted != before:
            self._check_sizes(path, wanted)
            self._ask("node_set_values", node, [{"key": key, "t": kind, "value": data} for key, (kind, data) in wanted.items()])

    def commit(self) -> bytes:
        """Return the hive with what was changed."""
        with tempfile.NamedTemporaryFile() as file:
            self._ask("commit", file.name)
            data = bytearray(Path(file.name).read_bytes())
        for key in self._extended:
            hive_file.sort_keys(data, key)
        return bytes(data)

    def _ask(self, method: str, *arguments: Any) -> Any:
        """Call a method of hivex."""
        try:
            return getattr(self._hive, method)(*arguments)
        except (RuntimeError, ValueError, OverflowError) as error:  # a name that is no text is a ValueError
            raise IdentityError(f"{self.name}: this registry hive is damaged, or too big ({method}: {error})") from error

    def _check_sizes(self, path: str, values: Mapping[str, Value]) -> None:
        """Refuse what hivex would write wrong: it writes all values of a key anew, each into one cell."""
        for name, (_kind, data) in values.items():
            if len(data) > self._big:
                raise IdentityError(
                    f"{self.name}: {path}: the value {name!r} has {len(data)} bytes. Values of a key that holds one of more than"
                    f" {self._big} bytes cannot be changed here: have Windows change it at its first start"
                )

    def _make(self, path: str) -> int:
        node = self._ask("root")
        for name in filter(None, path.split("\\")):
            child = self._child(node, name)
            if child is None:
                self._extended.add(node)
                child = self._ask("node_add_child", node, name)
            node = child
        return int(node)

    def _child(self, node: int, name: str) -> int | None:
        found: int | None = self._ask("node_get_child", node, name)
        if found is None and not name.isascii():  # hivex ignores the case of ASCII alone
            same = (child for child in self._ask("node_children", node) if folded(self._ask("node_name", child)) == folded(name))
            found = next(same, None)
        return found


def folded(name: str) -> str:
    """Return a name, or a path, by which Windows tells it from others: each character in upper case if that is one too."""
    return "".join(map(hive_file.upper, name))


def merged(before: Mapping[str, Value], wanted: Mapping[str, Value | None]) -> dict[str, Value]:
    """Return values with others put over them. Names keep the case that they had."""
    result = dict(before)
    for name, value in wanted.items():
        old = next((key for key in result if folded(key) == folded(name)), None)
        if value is None:
            result.pop(old or name, None)
        else:
            result[old or name] = value
    return result


def control_set(system: Hive) -> str:
    """Return the control set that Windows will use, such as C(ControlSet001); offline there is no CurrentControlSet."""
    current = system.number("Select", "Current")
    if current is None:
        raise IdentityError(f"{system.name}: the hive does not say which control set is the current one")
    return f"ControlSet{current:03d}"


def place(path: str) -> tuple[str, str]:
    """Return the file of a hive, below the volume's root, and the path of a key in it.

    :raises IdentityError: The key is in no hive that a Windows which is not running has.
    """
    _check_key(path)
    root, _sep, rest = path.partition("\\")
    full = "\\".join(filter(None, [_SHORT.get(root.upper(), root), rest]))
    if full.upper().startswith("HKEY_CLASSES_ROOT"):
        full = _SHORT["HKCR"] + full[len("HKEY_CLASSES_ROOT") :]
    for start, file in _FILES:
        if full.upper() == start.upper() or full.upper().startswith(start.upper() + "\\"):
            return file, full[len(start) + 1 :]
    known = ", ".join(start for start, _file in _FILES)
    raise IdentityError(f"{path}: this key is in no hive of a Windows that is not running; there is: {known}")


def _check_key(path: str) -> None:
    parts = path.split("\\")
    if max(len(part.encode("utf-16-le", errors="surrogatepass")) // 2 for part in parts) > _NAME_LENGTH:
        raise IdentityError(f"{path[:80]}…: a key's name may have {_NAME_LENGTH} characters")
    if len(parts) > DEPTH:
        raise IdentityError(f"{path[:80]}…: keys may be {DEPTH} deep")
    _check_name(path, path)


def check_value_names(change: Change) -> None:
    """Raise C(IdentityError) if a value of a change has a name that Windows does not allow."""
    for name in change.values:
        if len(name) > _VALUE_NAME_LENGTH:
            raise IdentityError(f"{change.key}: a value's name may have {_VALUE_NAME_LENGTH} characters: {name[:80]}…")
        _check_name(name, change.key)


def _check_name(name: str, where: str) -> None:
    if "\0" in name or any("\ud800" <= letter <= "\udfff" for letter in name):
        raise IdentityError(f"{where[:80]!r}: a name cannot have a NUL or half a character (a lone surrogate)")


def root_of(file: str) -> str:
    """Return the root of the registry that a file of a hive holds."""
    return next(start for start, name in _FILES if name == file)


def changed(data: bytes, name: str, changes: Sequence[tuple[str, Change]], logs: Sequence[bytes] = ()) -> bytes:
    """Return a hive with changes made to it."""
    hive = Hive(data, name, logs=logs, write=True)
    for key, change in changes:
        hive.apply(key, change)
    new = hive.commit()
    hive_file.check(new, f"{name}, as it would be written")
    return new


def _clean(data: bytes, name: str, logs: Sequence[bytes]) -> bytes:
    """Return a hive as Windows would load it."""
    if data[:4] != b"regf" or len(data) < hive_file.BASE or not hive_log.is_dirty(data):
        return data
    replayed = hive_log.replay(data, logs)
    if replayed is None and data[4:8] != data[8:12]:
        raise IdentityError(
            f"{name}: this hive is dirty: Windows did not finish writing it, and none of its logs (LOG1, LOG2) fits it. Start the"
            " master, shut it down, and capture it again"
        )
    return replayed or data
