# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files of a system that is not running, below the folder where it is mounted.

The tree is untrusted: a symbolic link in it must not lead a write out of it.
"""

from __future__ import annotations

import os
import shutil
import stat
from functools import cached_property
from pathlib import Path

from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.selinux import ATTRIBUTE, RELABEL, Policy


class Tree:
    """A mounted root filesystem."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.unlabelled: list[str] = []  # what was written and needs an SELinux label that is not known

    @cached_property
    def _policy(self) -> Policy:
        return Policy(self.read)

    def path(self, name: str) -> Path:
        """Return where a file is.

        :raises IdentityError: A folder above it, or the file itself, is a symbolic link that leaves the tree.
        """
        wanted = self.root / name.lstrip("/")
        parent = wanted.parent.resolve()
        if parent != self.root and self.root not in parent.parents:
            raise IdentityError(f"{name}: a symbolic link of the image leads out of it, to {parent}")
        return parent / wanted.name

    def read(self, name: str) -> str | None:
        """Return what a regular file holds, or None if there is none. A symbolic link is not followed."""
        path = self.path(name)
        if path.is_symlink() or not path.is_file():
            return None
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:  # line ends stay what they are
            return file.read()

    def exists(self, name: str) -> bool:
        """Return whether there is anything of that name, be it a symbolic link. What is beyond one that leads out is not."""
        try:
            return os.path.lexists(self.path(name))
        except IdentityError:
            return False

    def holds(self, name: str, text: str, mode: int | None = None) -> bool:
        """Return whether a regular file holds I(text), with these permissions if I(mode) is given."""
        if self.read(name) != text:
            return False
        return mode is None or stat.S_IMODE(self.path(name).lstat().st_mode) == mode

    def write(self, name: str, text: str, mode: int | None = None) -> bool:
        """Have a file hold I(text), replacing it as a whole, and return whether it did not before.

        It keeps its SELinux label; a new one, and each new folder above it, gets the one that the system's policy has for it.
        Where nobody knows that, the system labels all of its files at its next start.

        :param mode: Its permissions; by default those that it had, or 0644.
        """
        path = self.path(name)
        if self.holds(name, text, mode):
            return False
        old = path.lstat().st_mode if path.exists() and not path.is_symlink() else None
        wanted = mode if mode is not None else (stat.S_IMODE(old) if old is not None else 0o644)
        label = _label(path) if old is not None else None
        self._make_folder(path.parent)
        temporary = path.with_name(f".{path.name}.reimage")
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, wanted)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            os.fchmod(file.fileno(), wanted)
            file.write(text)
            self._set_label(file.fileno(), path, label)
            file.flush()
            os.fsync(file.fileno())
        if self.unlabelled and name != RELABEL:
            self.write(RELABEL, "")
        temporary.replace(path)
        return True

    def _make_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            self._make_folder(folder.parent)
            folder.mkdir()
            self._set_label(folder, folder, None)

    def _set_label(self, target: int | Path, path: Path, label: bytes | None) -> None:
        """Label I(target), which is what I(path) will be, with the label that it had or else with the policy's."""
        name = f"/{path.relative_to(self.root)}"
        if label is None:
            known = self._policy.label(name, folder=isinstance(target, Path))
            if known is None and name != RELABEL:
                self.unlabelled.append(name)
            label = known.encode() + b"\0" if known else b""
        if label:
            try:
                os.setxattr(target, ATTRIBUTE, label)
            except OSError:  # the filesystem has no room, or no labels
                self.unlabelled.append(name)

    def remove(self, name: str) -> bool:
        """Have no file there, and return whether there was one."""
        path = self.path(name)
        if not path.is_symlink() and not path.is_file():
            return False
        path.unlink()
        return True

    def remove_all(self, name: str) -> None:
        """Have no file, link or folder there. Links in a folder are removed, not followed."""
        path = self.path(name)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def match(self, folder: str, pattern: str) -> list[str]:
        """Return the names of the regular files in a folder that match, sorted."""
        place = self.path(f"{folder}/x").parent
        if not place.is_dir():
            return []
        return sorted(f"{folder}/{item.name}" for item in place.glob(pattern) if item.is_file() and not item.is_symlink())


def _label(path: Path) -> bytes | None:
    try:
        return os.getxattr(path, ATTRIBUTE, follow_symlinks=False)
    except OSError:  # it has none, or its filesystem has none
        return None
