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

# What iPXE and, in single quotes, GRUB hand on as it is: no spaces, no quotes, none of iPXE's own operators and variables.
_ARGUMENT = re.compile(r"(?!.*(?:\$\{|\|\||&&))[A-Za-z0-9_.,:;/@%+=~\[\]{}$|&^*!?<>()-]{1,512}")
_FILE = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9_.+/-]{0,200}")


@dataclass(frozen=True)
class Kernel(Target):
    """A kernel, its initramfs, which may be in several files or missing, and the end of its command line."""

    kind = "kernel"
    needs_token = True
    kernel: str
    initrd: tuple[str, ...]
    arguments: tuple[str, ...]

    @classmethod
    def read(cls, name: str, value: Mapping[str, Any], where: str) -> Kernel:
        arguments = value.get("arguments", [])
        if not isinstance(arguments, list):
            raise BootError(f"{where}: `arguments` must be a list")
        for argument in arguments:
            if not (isinstance(argument, str) and _ARGUMENT.fullmatch(argument)):
                raise BootError(
                    f"{where}: argument {argument!r} cannot be passed through a boot loader: no spaces, quotes, ${{, ||, &&"
                )
        initrd = value.get("initrd") or []
        files = initrd if isinstance(initrd, list) else [initrd]
        initrds = tuple(text_field({"initrd": file}, "initrd", _FILE, where) for file in files)
        return cls(name, text_field(value, "kernel", _FILE, where), initrds, tuple(arguments))

    @property
    def files(self) -> tuple[str, ...]:
        return (self.kernel, *self.initrd)

    def script(self, loader: Loader, boot: Boot) -> str:
        return {Loader.IPXE: self._ipxe, Loader.GRUB: self._grub}[loader](boot)

    def _ipxe(self, boot: Boot) -> str:
        base = f"{boot.url}/boot"
        # Under UEFI the kernel asks for them by these names.
        initrds = {f"initrd{number or ''}": file for number, file in enumerate(self.initrd)}
        words = [*(f"initrd={name}" for name in initrds), *self._command_line(boot)]
        lines = [
            "#!ipxe",
            f"# {boot.mac} boots {self.name}; written by reimage.lab, removed when the machine is disarmed",
            f"kernel --name kernel {base}/{self.kernel} {' '.join(words)} || goto failed",
            *(f"initrd --name {name} {base}/{file} || goto failed" for name, file in initrds.items()),
            "boot || goto failed",
            ":failed",
            f"echo reimage.lab: {self.name} did not start; in 10 s this machine goes on to its own disk",
            "sleep 10",
            "exit 1",
        ]
        return "\n".join(lines) + "\n"

    def _grub(self, boot: Boot) -> str:
        initrds = " ".join(f"{boot.grub_path}/boot/{file}" for file in self.initrd)
        arguments = " ".join(f"'{argument}'" for argument in self._command_line(boot))
        lines = [
            f"# {boot.mac} boots {self.name}; written by reimage.lab, removed when the machine is disarmed",
            f"if linux {boot.grub_path}/boot/{self.kernel} {arguments}; then",
            f"  if initrd {initrds}; then boot; fi" if initrds else "  boot",
            "fi",
            f"echo 'reimage.lab: {self.name} did not start; in 10 s this machine goes on to its own disk'",
            "sleep 10",
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
