# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No text of a machine, a store or a file keeps a regular expression busy: the time grows with its length, no power of it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from .ambiguity import Automaton

ROOT = Path(__file__).resolve().parents[3]
SOURCES = sorted([*ROOT.glob("plugins/**/*.py"), *ROOT.glob("roles/**/*.py")])
ANCHORED = {"match", "fullmatch"}
METHODS = {*ANCHORED, "search", "findall", "finditer", "split", "sub", "subn"}
FUNCTIONS = {f"re.{name}" for name in (*METHODS, "compile")}


class Expression(NamedTuple):
    """A regular expression of our code, and the functions that it is used with."""

    where: str
    pattern: str | bytes
    flags: int
    used: frozenset[str]


def expressions() -> Iterator[Expression]:
    for path in SOURCES:
        tree = ast.parse(path.read_text())
        constants = {
            target.id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        names = {id(value): name for name, value in constants.items()}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in FUNCTIONS:
                name = names.get(id(node))
                used = {ast.unparse(node.func)[3:]} if name is None else methods_used(tree, name)
                flags = sum(re.RegexFlag[word.group(1)] for word in re.finditer(r"re\.([A-Z]+)", ast.unparse(node)))
                where = f"{path.relative_to(ROOT)}:{name or node.lineno}"
                yield Expression(where, pattern_of(node.args[0], constants), flags, frozenset(used))


def methods_used(tree: ast.Module, name: str) -> set[str]:
    """Return how a compiled expression is used; where it is handed on, how any is."""
    uses = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr in METHODS]
    own = {use.attr for use in uses if ast.unparse(use.value) == name}
    return own or {use.attr for use in uses if ast.unparse(use.value) != "re"} or METHODS


def pattern_of(node: ast.expr, constants: dict[str, ast.expr]) -> str | bytes:
    """Return the text of an expression; where it is made of parts that only a run knows, any letter stands for each."""
    if isinstance(node, ast.Constant):
        return node.value  # type: ignore[return-value]
    if isinstance(node, ast.JoinedStr):
        return "".join(str(pattern_of(part, constants)) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return pattern_of(node.value, constants)
    if isinstance(node, ast.Name) and node.id in constants:
        return pattern_of(constants[node.id], constants)
    if isinstance(node, ast.Attribute) and node.attr == "pattern":
        return pattern_of(node.value, constants)
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "re.compile":
        return pattern_of(node.args[0], constants)
    return "x"


ALL = list(expressions())


def test_all_are_found() -> None:
    assert len(ALL) > 70
    compiling = {path for path in SOURCES if "re.compile(" in path.read_text()}
    assert compiling <= {ROOT / each.where.split(":")[0] for each in ALL}


@pytest.mark.parametrize("expression", ALL, ids=[each.where for each in ALL])
def test_time_is_linear(expression: Expression) -> None:
    searches = not expression.used <= ANCHORED
    automaton = Automaton(expression.pattern, expression.flags, search=searches, whole="fullmatch" in expression.used)
    assert not automaton.exponential()
    assert not automaton.polynomial()


@pytest.mark.parametrize("pattern", [r"(?:a[ab]{0,63}/?){1,4}", r"(a*)*b", r"(?:a.|.b)*!", r"(?:[a-z]+|\d)+!", r"(\w+\s?)*$"])
def test_exponential_time_is_found(pattern: str) -> None:
    assert Automaton(pattern, whole=True).exponential()


@pytest.mark.parametrize(
    ("pattern", "flags", "search"),
    [
        (r"\s*\s*=", 0, False),
        (r".*a.*b", 0, False),
        (r"\w+ = ", 0, True),
        (r"^\s*name=", re.M, True),
        (r"(?i)a+A+b", 0, False),
        (r"a(.*?)b(.*?)b", re.S, False),
    ],
)
def test_quadratic_time_is_found(pattern: str, flags: int, search: bool) -> None:
    automaton = Automaton(pattern, flags, search=search)
    assert automaton.polynomial() and not automaton.exponential()


@pytest.mark.parametrize(
    ("pattern", "flags", "search"),
    [
        (r"a(?:/a){0,3}", 0, False),
        (r"\b\w+ = ", 0, True),
        (r"^[ \t]*name=", re.M, True),
        (r"[ ;]+", 0, True),
        (r'(?:[^";]|"[^"]*(?:"|$))*', 0, False),
        (r"name\s*=\s*(.*)", re.S, False),
        (r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}", 0, False),
    ],
)
def test_linear_time_is_not_found_fault_with(pattern: str, flags: int, search: bool) -> None:
    automaton = Automaton(pattern, flags, search=search)
    assert not automaton.exponential() and not automaton.polynomial()
