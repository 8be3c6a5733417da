# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""boot.json: what the role C(boot_server) says that a machine can boot."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ansible_collections.reimage.lab.plugins.module_utils.boot.errors import BootError
from ansible_collections.reimage.lab.plugins.module_utils.boot.files import read_json
from ansible_collections.reimage.lab.plugins.module_utils.boot.layout import Layout

LOCAL = "local"
# What iPXE hands on as it is: no spaces, no quotes, none of its own operators and variables.
_ARGUMENT = re.compile(r"(?!.*(?:\$\{|\|\||&&))[A-Za-z0-9_.,:;/@%+=~\[\]{}$|&^*!?<>()-]{1,512}")
_FILE = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9_.+/-]{0,200}")
_URL = re.compile(r"https?://[A-Za-z0-9.:\[\]_-]{1,255}(?:/[A-Za-z0-9._~/-]*)?")


@dataclass(frozen=True)
class Target:
    """Something to boot; file names are relative to the folder that is served at C(/boot/)."""

    name: str
    kernel: str
    initrd: str | None
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Configuration:
    """What boot.json holds."""

    url: str
    targets: dict[str, Target]
    access_log: str | None

    def target(self, name: str) -> Target:
        """Return a target by its name, or say which ones there are."""
        if name not in self.targets:
            known = ", ".join(sorted([LOCAL, *self.targets]))
            raise BootError(f"boot target {name!r} is unknown on this boot server: choose one of {known}")
        return self.targets[name]


def load_configuration(layout: Layout) -> Configuration:
    """Read boot.json and check every field of it."""
    path = layout.configuration
    value = read_json(path)
    if value is None:
        raise BootError(f"{path}: is missing: set this boot server up with reimage.lab.setup_server, or correct `root`")
    url = _matching(value, "url", _URL, str(path)).rstrip("/")
    targets = value.get("targets")
    if not isinstance(targets, dict):
        raise BootError(f"{path}: `targets` must be a mapping of names to kernels")
    log = value.get("access_log")
    if log is not None and not (isinstance(log, str) and log.startswith("/")):
        raise BootError(f"{path}: `access_log` must be an absolute path")
    return Configuration(url, {name: _target(name, targets[name], f"{path}: target {name!r}") for name in targets}, log)


def _target(name: str, value: Any, where: str) -> Target:
    if not isinstance(value, dict):
        raise BootError(f"{where}: must be a mapping with `kernel`, `initrd` and `arguments`")
    arguments = value.get("arguments", [])
    if not isinstance(arguments, list):
        raise BootError(f"{where}: `arguments` must be a list")
    for argument in arguments:
        if not (isinstance(argument, str) and _ARGUMENT.fullmatch(argument)):
            raise BootError(f"{where}: argument {argument!r} cannot be passed through iPXE: no spaces, quotes, ${{, ||, &&")
    initrd = _matching(value, "initrd", _FILE, where) if value.get("initrd") is not None else None
    return Target(name, _matching(value, "kernel", _FILE, where), initrd, tuple(arguments))


def _matching(value: dict[str, Any], key: str, pattern: re.Pattern[str], where: str) -> str:
    text = value.get(key)
    if not (isinstance(text, str) and pattern.fullmatch(text)):
        raise BootError(f"{where}: `{key}` is missing or malformed: {text!r}")
    return text
