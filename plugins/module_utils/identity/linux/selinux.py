# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The SELinux label that the policy of a system that is not running has for a file.

Sources: selinux_config(5), file_contexts(5), selabel_file(5).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Callable, Iterator

ATTRIBUTE = "security.selinux"
RELABEL = "/.autorelabel"  # a system that finds it labels all of its files at its next start
_CONFIG = "/etc/selinux/config"
_MOST_SPECS = 50_000  # Fedora has about 7,000
_LINE = re.compile(r"(/\S*)[ \t]+(?:(-[-dbcpls])[ \t]+)?(\S+)")
_LABEL = re.compile(r"[\w.]+:[\w.]+:[\w.]+(?::[\w.,:-]+)?", re.ASCII)
_SPECIAL = re.compile(r"\\.|[.^$?*+|\[({]")  # and what is not, by a backslash
# An expression of the image must not keep us busy: no group is repeated, and little else.
_REPEATED_GROUP = re.compile(r"\)[*+{]")
_REPEAT = re.compile(r"(?<!\\)[*+{]")
_MOST_REPEATS = 3


@dataclass(frozen=True)
class _Spec:
    """A line of file_contexts: the paths and the kind of file that it is about, and their label."""

    expression: str
    kind: str
    label: str

    @property
    def _stem(self) -> int:
        """How many characters come before the first that may stand for others."""
        special = (match.start() for match in _SPECIAL.finditer(self.expression) if match[0][0] != "\\")
        return next(special, len(self.expression))

    @property
    def is_plain(self) -> bool:
        """Whether it is one path, not a pattern."""
        return self._stem == len(self.expression)

    def matches(self, path: str) -> bool | None:
        """Return whether it is about a path, or None if that cannot be said."""
        plain = re.sub(r"\\(.)", r"\1", self.expression[: self._stem])
        if self.is_plain:
            return plain == path
        # What may be repeated may be missing.
        if not path.startswith(plain[:-1] if self.expression[self._stem] in "?*{" else plain):
            return False
        if _REPEATED_GROUP.search(self.expression) or len(_REPEAT.findall(self.expression)) > _MOST_REPEATS:
            return None
        try:
            return re.fullmatch(self.expression, path) is not None
        except re.error:  # libselinux has PCRE
            return None


class Policy:
    """The file contexts of a system."""

    def __init__(self, read: Callable[[str], str | None]) -> None:
        """Read what the system would.

        :param read: Returns the text of a file of the system, or None.
        """
        found = dict(re.findall(r"^[ \t]*(SELINUX|SELINUXTYPE)[ \t]*=[ \t]*([\w-]+)", read(_CONFIG) or "", re.MULTILINE))
        self.enabled = found.get("SELINUX", "disabled") in ("enforcing", "permissive")
        folder = f"/etc/selinux/{found.get('SELINUXTYPE', 'targeted')}/contexts/files"
        texts = [read(f"{folder}/file_contexts{suffix}") or "" for suffix in ("", ".homedirs", ".local")] if self.enabled else []
        specs = [_Spec(*match.groups("")) for match in map(_LINE.match, "\n".join(texts).splitlines()) if match]
        # As libselinux has it: a plain path comes before a pattern, and the last of each counts.
        self._specs = sorted(specs[:_MOST_SPECS], key=lambda spec: spec.is_plain)[::-1]
        suffixes = (".subs", ".subs_dist") if self.enabled else ()
        self._instead = [list(_pairs(read(f"{folder}/file_contexts{suffix}") or "")) for suffix in suffixes]

    def label(self, path: str, *, folder: bool = False) -> str | None:
        """Return the label of a file or a folder, nothing if it needs none, and None if that cannot be said."""
        if not self.enabled:
            return ""
        for pairs in self._instead:
            path = next((new + path[len(old) :] for old, new in pairs if f"{path}/".startswith(f"{old}/")), path)
        for spec in self._specs:
            if spec.kind not in ("", "-d" if folder else "--"):
                continue
            matches = spec.matches(path)
            if matches is None:
                return None
            if matches:
                return "" if spec.label == "<<none>>" else spec.label if _LABEL.fullmatch(spec.label) else None
        return None


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """Yield the folders whose files are labelled as if they lay in another, the last first, which counts."""
    for line in reversed(text.splitlines()):
        fields = line.split()
        if len(fields) == 2 and fields[0].startswith("/"):
            yield fields[0], fields[1].rstrip("/")
