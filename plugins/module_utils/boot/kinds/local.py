# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The machine's own disk. As the target C(local) it means no answer at all; another of this kind is an answer that says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping

from ansible_collections.reimage.lab.plugins.module_utils.boot.kinds.target import Boot, Target
from ansible_collections.reimage.lab.plugins.module_utils.boot.loaders import Loader


@dataclass(frozen=True)
class Local(Target):
    """An answer that has the machine go on to its own disk at once, for firmware that waits long when it gets none."""

    kind = "local"
    needs_token = False
    files = ()

    @classmethod
    def read(cls, name: str, value: Mapping[str, Any], where: str) -> Local:
        return cls(name)

    def script(self, loader: Loader, boot: Boot) -> str:
        said = f"# {boot.mac} goes on to its own disk\n"
        return {Loader.IPXE: f"#!ipxe\n{said}exit 1\n", Loader.GRUB: said}[loader]
