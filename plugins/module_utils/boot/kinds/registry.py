# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kinds of boot targets that there are."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

from ansible_collections.reimage.lab.plugins.module_utils.boot.errors import BootError
from ansible_collections.reimage.lab.plugins.module_utils.boot.kinds.kernel import Kernel
from ansible_collections.reimage.lab.plugins.module_utils.boot.kinds.local import Local
from ansible_collections.reimage.lab.plugins.module_utils.boot.kinds.target import Target

KINDS: dict[str, type[Target]] = {kind.kind: kind for kind in (Kernel, Local)}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def read_target(name: str, value: Any, where: str) -> Target:
    """Return the target that boot.json describes under a name; without C(kind) it is a kernel.

    :param where: What errors begin with.
    :raises BootError: There is no such kind, or it has no such field.
    """
    if not _NAME.fullmatch(name):
        raise BootError(f"{where}: the name of a target has letters, digits, '.', '_' and '-', at most 64")
    if not isinstance(value, dict):
        raise BootError(f"{where}: must be a mapping with `kind` and what that kind needs")
    kind = KINDS.get(str(value.get("kind", Kernel.kind)))
    if kind is None:
        raise BootError(f"{where}: kind {value['kind']!r} is unknown: choose one of {', '.join(sorted(KINDS))}")
    known = [field.name for field in fields(kind) if field.name != "name"]
    for key in value:
        if key not in ("kind", *known):
            raise BootError(
                f"{where}: kind {kind.kind} has no `{key}`; it has {', '.join(f'`{one}`' for one in known) or 'no fields'}"
            )
    return kind.read(name, value, where)
