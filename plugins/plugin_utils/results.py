# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is believed of the result of a module: the fields that its documentation names, each with the documented type.

A machine can answer a module with any JSON. Ansible takes some of it for its own, as C(ansible_facts), which become variables.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any, Callable

from ansible.module_utils.common.yaml import yaml_load
from ansible_collections.reimage.lab.plugins.module_utils.untrusted import (
    LARGEST_NUMBER,
    UntrustedError,
    printable,
    read_number,
    read_text,
    read_tree,
    read_whole,
    read_yes_or_no,
)

MODULES = Path(__file__).resolve().parents[1] / "modules"
LARGEST_ANSWER = 16 << 20
LONGEST_MESSAGE = 4000
Fields = dict[str, dict[str, Any]]

# What any module may say.
COMMON: Fields = {
    "changed": {"type": "bool"},
    "failed": {"type": "bool"},
    "skipped": {"type": "bool"},
    "msg": {"type": "message"},
    "diff": {"type": "shown"},
    "invocation": {"type": "shown"},
}


def documented(module: str) -> Fields:
    """Return what a module of this collection says that it returns, as its C(RETURN) has it, and what any module may."""
    tree = ast.parse((MODULES / f"{module.rpartition('.')[2]}.py").read_bytes())
    fields: Fields = dict(COMMON)
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "RETURN":
            fields.update(yaml_load(ast.literal_eval(statement.value)) or {})
    return fields


def believed(result: dict[str, Any], fields: Fields) -> dict[str, Any]:
    """Return those fields of a result that are expected. Another one is dropped, whatever it would do; null says nothing.

    :raises UntrustedError: Names the first field that has not the type or is not within the bounds that it must have.
    """
    known = {}
    for name, declared in fields.items():
        if name in result:
            try:
                known[name] = _read(result[name], declared)
            except UntrustedError as error:
                raise UntrustedError(f"{name}: {error}") from error
    return known


def message(value: Any) -> str:
    """Return in one line what a module says of its failure."""
    return printable(" ".join(str(value)[: 2 * LONGEST_MESSAGE].split()), LONGEST_MESSAGE)


def _read(value: Any, declared: dict[str, Any]) -> Any:
    return None if value is None else _READERS[declared["type"]](value, declared)


def _list(value: Any, declared: dict[str, Any]) -> list[Any]:
    if not isinstance(value, list):
        raise UntrustedError("it is not a list")
    return [_read(item, {**declared, "type": declared["elements"]}) for item in value]


def _mapping(value: Any, declared: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UntrustedError("it is not a mapping")
    if "contains" in declared:
        return believed(value, declared["contains"])
    tree: dict[str, Any] = read_tree(value)
    return tree


_READERS: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "bool": lambda value, _declared: read_yes_or_no(value),
    "int": lambda value, _declared: read_whole(value, least=-LARGEST_NUMBER),
    "float": lambda value, _declared: read_number(value, least=-LARGEST_NUMBER),
    "str": lambda value, _declared: read_text(value),
    "path": lambda value, _declared: read_text(value),
    "message": lambda value, _declared: message(value),
    "raw": lambda value, _declared: read_tree(value),
    "shown": lambda value, _declared: read_tree(value, LARGEST_ANSWER, lines=True),
    "list": _list,
    "dict": _mapping,
    "complex": _mapping,
}
