# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that a system is to have or not to have, all known before the first is written."""

from __future__ import annotations

from dataclasses import dataclass, field

from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.tree import Tree


@dataclass(frozen=True)
class File:
    """What a file is to hold; by default it keeps its permissions, and a new one gets 0644."""

    text: str
    mode: int | None = None


@dataclass
class Settings:
    """The files by name, None where there is to be none, and what a person should know."""

    files: dict[str, File | None] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def add(self, other: Settings) -> None:
        """Take all of I(other) too."""
        self.files.update(other.files)
        self.warnings += other.warnings

    def differing(self, tree: Tree) -> list[str]:
        """Return the names of the files that are not yet as they are to be, sorted."""
        return sorted(name for name, file in self.files.items() if not _is_so(tree, name, file))

    def diff(self, tree: Tree) -> list[dict[str, str]]:
        """Return what would change in each file, as Ansible shows it. None of these files holds a secret."""
        found = []
        for name in self.differing(tree):
            file = self.files[name]
            after = file.text if file else ""
            found.append({"before_header": name, "after_header": name, "before": tree.read(name) or "", "after": after})
        return found

    def apply(self, tree: Tree) -> None:
        """Have all files as they are to be."""
        for name in self.differing(tree):
            file = self.files[name]
            if file is None:
                tree.remove(name)
            else:
                tree.write(name, file.text, file.mode)


def _is_so(tree: Tree, name: str, file: File | None) -> bool:
    return not tree.exists(name) if file is None else tree.holds(name, file.text, file.mode)
