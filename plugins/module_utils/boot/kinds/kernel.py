# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A kernel with its initramfs, such as automation: it is told the boot server and the token on its command line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Mapping

from ansible_collections.reimage.lab.plugins.module_utils.boot.errors import BootError
from ansible_collections.reimage.lab.plugins.module_utils.boot.kinds.target import Boot, Target, text_field
from ansible_collections.reimage.lab.plugins.module_utils.boot.loaders import Loader
from ansible_collections.reimage.lab.plugins.module_utils.mac import dashed

# What iPXE hands on as it is: no spaces, no quotes, none of its own operators and variables.
_ARGUMENT = re.compile(r"(?!.*(?:\$\{|\|\||&&))[A-Za-z0-9_.,:;/@%+=~\[\]{}$|&^*!?<>()-]{1,512}")
_FILE = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9_.+/-]{0,200}")


@dataclass(frozen=True)
class Kernel(Target):
    """A kernel, its initramfs if it has one, and the end of its command line."""

    kind = "kernel"
    needs_token = True
    kernel: str
    initrd: str | None
    arguments: tuple[str, ...]

    @classmethod
    def read(cls, name: str, value: Mapping[str, Any], where: str) -> Kernel:
        arguments = value.get("arguments", [])
        if not isinstance(arguments, list):
            raise BootError(f"{where}: `arguments` must be a list")
        for argument in arguments:
            if not (isinstance(argument, str) and _ARGUMENT.fullmatch(argument)):
                raise BootError(f"{where}: argument {argument!r} cannot be passed through iPXE: no spaces, quotes, ${{, ||, &&")
        initrd = text_field(value, "initrd", _FILE, where) if value.get("initrd") is not None else None
        return cls(name, text_field(value, "kernel", _FILE, where), initrd, tuple(arguments))

    @property
    def files(self) -> tuple[str, ...]:
        return (self.kernel, *([self.initrd] if self.initrd else []))

    def script(self, loader: Loader, boot: Boot) -> str:
        return {Loader.IPXE: self._ipxe}[loader](boot)

    def _ipxe(self, boot: Boot) -> str:
        base = f"{boot.url}/boot"
        initrd = ["initrd=initrd"] if self.initrd else []  # under UEFI the kernel asks for it by this name
        lines = [
            "#!ipxe",
            f"# {boot.mac} boots {self.name}; written by reimage.lab, removed when the machine is disarmed",
            f"kernel --name kernel {base}/{self.kernel} {' '.join([*initrd, *self._command_line(boot)])} || goto failed",
            *([f"initrd --name initrd {base}/{self.initrd} || goto failed"] if self.initrd else []),
            "boot || goto failed",
            ":failed",
            f"echo reimage.lab: {self.name} did not start; in 10 s this machine goes on to its own disk",
            "sleep 10",
            "exit 1",
        ]
        return "\n".join(lines) + "\n"

    def _command_line(self, boot: Boot) -> list[str]:
        return [
            f"reimage.url={boot.url}",
            f"reimage.token={boot.token}",
            f"reimage.mac={boot.mac}",
            f"BOOTIF=01-{dashed(boot.card)}",
            *self.arguments,
        ]
