# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options of modules, each declared once: as a field of the dataclass that the code works with.

The argument spec of a module, its documentation (through a file in C(doc_fragments)), and the object that the code gets all
come from the same field. Descriptions use the markup of Ansible's documentation.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, field, fields, is_dataclass
from typing import Any, Mapping, Sequence, TypeVar

T = TypeVar("T")
_TYPES = {str: "str", bool: "bool", int: "int", tuple: "list"}


def option(
    description: str | Sequence[str],
    default: Any = MISSING,
    *,
    kind: str = "",
    of: type[Any] | None = None,
    choices: Sequence[str] = (),
    secret: bool | None = None,
) -> Any:
    """Declare a field of a dataclass that is an option of a module.

    :param default: Without one the option is required. None, or an object of class I(of), stands for an option that is not given.
    :param kind: Its type for Ansible, where that does not follow from the default: C(path), or C(list) where it is required.
    :param of: The dataclass whose fields are its suboptions; with a tuple as the default there may be several.
    :param secret: Ansible must not log it. False says so of an option whose name looks like a secret's.
    """
    metadata = {"description": description, "kind": kind, "of": of, "choices": choices, "secret": secret}
    return field(default=default, repr=not secret, metadata=metadata)  # pylint: disable=invalid-field-call


def argument_spec(*declared: type[Any]) -> dict[str, dict[str, Any]]:
    """Return what C(AnsibleModule) takes, for the options of some dataclasses."""
    return {one.name: _specified(one) for one in _options(declared)}


def documentation(*declared: type[Any]) -> dict[str, dict[str, Any]]:
    """Return the same options as documentation has them."""
    return {one.name: _documented(one) for one in _options(declared)}


def read(declared: type[T], values: Mapping[str, Any]) -> T:
    """Return an object that has what a module was given; where that is null, missing, or an empty text, it has the default."""
    given = {}
    for one in _options([declared]):
        value, of = values.get(one.name), one.metadata["of"]
        if value is None or (value == "" and one.default is not MISSING):
            continue
        if of is not None:
            value = [read(of, item) for item in value] if _is_list(one) else read(of, value)
        given[one.name] = value
    return declared(**given)


def secrets(given: Any) -> list[str]:
    """Return the values of all secret options of an object, which must appear in no log and no result."""
    found = []
    for one in _options([type(given)]):
        value = getattr(given, one.name)
        if one.metadata["secret"]:
            found.append(value)
        elif one.metadata["of"] is not None and value is not None:
            found += [secret for item in (value if _is_list(one) else [value]) for secret in secrets(item)]
    return [secret for secret in found if secret]


def _options(declared: Sequence[type[Any]]) -> list[Field[Any]]:
    return [one for cls in declared for one in fields(cls) if "description" in one.metadata]


def _is_list(one: Field[Any]) -> bool:
    return one.metadata["kind"] == "list" or isinstance(one.default, tuple)


def _common(one: Field[Any]) -> dict[str, Any]:
    of, default = one.metadata["of"], one.default
    if _is_list(one):
        found: dict[str, Any] = {"type": "list", "elements": "dict" if of else "str"}
    else:
        found = {"type": one.metadata["kind"] or ("dict" if of else _TYPES.get(type(default), "str"))}
    if one.metadata["choices"]:
        found["choices"] = list(one.metadata["choices"])
    if default is MISSING:
        found["required"] = True
    elif default is not None and not is_dataclass(default):
        found["default"] = list(default) if isinstance(default, tuple) else default
    return found


def _specified(one: Field[Any]) -> dict[str, Any]:
    suboptions = {"options": argument_spec(one.metadata["of"])} if one.metadata["of"] else {}
    secret = {} if one.metadata["secret"] is None else {"no_log": one.metadata["secret"]}
    return {**_common(one), **suboptions, **secret}


def _documented(one: Field[Any]) -> dict[str, Any]:
    suboptions = {"suboptions": documentation(one.metadata["of"])} if one.metadata["of"] else {}
    return {"description": one.metadata["description"], **_common(one), **suboptions}
