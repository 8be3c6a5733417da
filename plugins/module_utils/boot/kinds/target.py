# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every kind of boot target has. A new kind is a class like this in a file of its own, and a line in C(registry.py)."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Mapping

from ansible_collections.reimage.lab.plugins.module_utils.boot.errors import BootError
from ansible_collections.reimage.lab.plugins.module_utils.boot.loaders import Loader


@dataclass(frozen=True)
class Boot:
    """What a script is made of: the boot server's URL, the MACs of the machine and of the card that boots, and the token.

    The token is empty for a kind that needs none.
    """

    url: str
    mac: str
    card: str
    token: str

    @property
    def grub_path(self) -> str:
        """The URL as GRUB writes it, C((http,SERVER)) and a path.

        :raises BootError: GRUB has no HTTPS.
        """
        scheme, _colon, rest = self.url.partition("://")
        if scheme != "http":
            raise BootError(
                f"{self.url}: GRUB cannot fetch from there: it has no HTTPS, so `url` in boot.json must begin with http://"
            )
        server, slash, path = rest.partition("/")
        return f"(http,{server}){slash}{path}"


@dataclass(frozen=True)
class Target(ABC):
    """Something to boot. The fields of a kind, besides C(name), are those that its mapping in boot.json may have."""

    kind: ClassVar[str]
    needs_token: ClassVar[bool]
    name: str

    @classmethod
    @abstractmethod
    def read(cls, name: str, value: Mapping[str, Any], where: str) -> Target:
        """Return the target that a mapping of boot.json describes; its fields are known ones.

        :param where: What errors begin with.
        :raises BootError: A field is missing or malformed.
        """

    @property
    @abstractmethod
    def files(self) -> tuple[str, ...]:
        """The files that the target needs, relative to the folder that is served at C(/boot/)."""

    @abstractmethod
    def script(self, loader: Loader, boot: Boot) -> str:
        """Return what a loader runs to start this target. If that fails, the machine goes on to its own disk.

        At the end of a script for GRUB the file that reads it, C(grub.cfg) of the role C(proxy_dhcp), does that.
        """


def text_field(value: Mapping[str, Any], key: str, pattern: re.Pattern[str], where: str) -> str:
    """Return a text field of boot.json that matches a pattern as a whole."""
    text = value.get(key)
    if not (isinstance(text, str) and pattern.fullmatch(text)):
        raise BootError(f"{where}: `{key}` is missing or malformed: {text!r}")
    return text
