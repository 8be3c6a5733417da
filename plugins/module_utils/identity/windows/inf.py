# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""INF files: which devices a driver names, for one Windows.

Sources: Microsoft, "General syntax rules for INF files", "INF Manufacturer section", "INF Models section".
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import Dict, List, Sequence

from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.inspect import Windows

_SECTION = re.compile(r"\s*\[([^\]]*)\]")
_BEFORE_COMMENT = re.compile(r'(?:[^";]|"[^"]*(?:"|$))*')
_ITEM = re.compile(r'(?:[^",]|"[^"]*(?:"|$))+')
_KEY = re.compile(r'((?:[^"=]|"[^"]*(?:"|$))*)=?(.*)')
_TOKEN = re.compile(r"%([^%\s]+)%")
# nt[architecture].[major].[minor].[product type].[suite].[build]
_DECORATION = re.compile(r"nt(x86|ia64|amd64|arm64|arm)?((?:\.\w*){0,5})", re.IGNORECASE)
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_VERSIONS = ((10240, (10, 0)), (9600, (6, 3)), (9200, (6, 2)), (7600, (6, 1)), (6000, (6, 0)), (3790, (5, 2)), (0, (5, 1)))
_WORKSTATION, _DOMAIN_CONTROLLER, _SERVER = 1, 2, 3

Sections = Dict[str, List[str]]


@dataclass(frozen=True)
class Target:
    """The Windows that a driver is for; I(version) is major, minor and build."""

    architecture: str
    version: tuple[int, int, int]
    products: Sequence[int] = (_WORKSTATION,)

    @classmethod
    def of(cls, windows: Windows) -> Target:
        """Return what an INF would call a Windows."""
        major, minor = next(version for build, version in _VERSIONS if windows.build >= build)
        server = "server" in f"{windows.edition} {windows.product}".lower()
        products = (_SERVER, _DOMAIN_CONTROLLER) if server else (_WORKSTATION,)
        return cls(windows.architecture, (major, minor, windows.build), products)


@dataclass(frozen=True)
class Inf:
    """What an INF is for: the identifiers of devices, in upper case, that it names for one Windows.

    I(plain) if it names no devices for any Windows, as that of a filter or a program does.
    """

    setup_class: str
    ids: frozenset[str]
    plain: bool = False

    def names(self, ids: Sequence[str]) -> str:
        """Return the first of a device's identifiers that it names, or nothing."""
        return next((name for name in ids if name in self.ids), "")


def parse(data: bytes, name: str, target: Target) -> Inf:
    """Return what an INF is for.

    :param name: What to call it in an error.
    :raises IdentityError: It is not the INF of a driver.
    """
    sections = _sections(_decode(data, name))
    if "version" not in sections:
        raise IdentityError(f"{name}: this is not the INF of a driver: it has no section [Version]")
    strings = {key.lower(): values[0] for key, values in _entries(sections.get("strings", []), {}) if values}
    version = {key.lower(): values for key, values in _entries(sections["version"], strings)}
    found: set[str] = set()
    for key, values in _entries(sections.get("manufacturer", []), strings):
        models, decorations = (values[0], values[1:]) if values else (key, [])
        for section in _best(models, decorations, target):
            for _description, item in _entries(sections.get(section.lower(), []), strings):
                # The first value is the section that installs it; hardware identifiers and compatible ones follow.
                found.update(one.upper() for one in item[1:] if one)
    return Inf("".join(version.get("class", [])[:1]), frozenset(found), not sections.get("manufacturer"))


def _decode(data: bytes, name: str) -> str:
    # Without a mark it is in some ANSI code page; which one does not matter, for identifiers are ASCII.
    encoding = next((encoding for mark, encoding in _BOMS if data.startswith(mark)), "cp1252")
    if encoding == "cp1252" and data[1:2] == b"\0":
        encoding = "utf-16-le"
    if encoding.startswith("utf-16"):
        data = data[: len(data) // 2 * 2]  # Windows leaves a last half character out
    try:
        return data.decode(encoding, errors="replace" if encoding == "cp1252" else "strict")
    except UnicodeDecodeError as error:
        raise IdentityError(f"{name}: this is not text in {encoding}, as it says: {error.reason}") from error


def _sections(text: str) -> Sections:
    """Return the lines of each section, by its name in lower case: without comments, continued lines joined."""
    found: Sections = {}
    current: list[str] = []
    continued = ""
    for raw in text.splitlines():
        line = raw if ";" not in raw else (_BEFORE_COMMENT.match(raw) or [""])[0]
        line = line.strip()
        header = _SECTION.match(line)
        if header:
            # A continued line ends where a section begins.
            current += [continued] if continued else []
            current, continued = found.setdefault(header[1].strip().lower(), []), ""
            continue
        line, continued = continued + line, ""
        if line.endswith("\\"):
            continued = line[:-1]
        elif line:
            current.append(line)
    current += [continued] if continued else []
    return found


def _entries(lines: Sequence[str], strings: dict[str, str]) -> list[tuple[str, list[str]]]:
    """Return each line's key, and its values if it has an equals sign."""
    found = []
    for line in lines:
        key, rest = _KEY.findall(line)[0]
        found.append((_plain(key, strings), [_plain(item, strings) for item in _ITEM.findall(rest)]))
    return found


def _plain(text: str, strings: dict[str, str]) -> str:
    """Return a value without quotation marks, with C(%tokens%) replaced."""
    text = _TOKEN.sub(lambda token: strings.get(token[1].lower(), token[0]), text.strip())
    return text[1:-1].strip().replace('""', '"') if len(text) > 1 and text[0] == text[-1] == '"' else text


def _best(models: str, decorations: Sequence[str], target: Target) -> list[str]:
    """Return the sections of models that Windows would take: those that fit it best, even if they turn out to be empty."""
    ranked = [
        (_rank(decoration, target), f"{models}.{decoration}" if decoration else models) for decoration in ("", *decorations)
    ]
    fitting = [(rank, section) for rank, section in ranked if rank is not None]
    best = max((rank for rank, _section in fitting), default=None)
    return [section for rank, section in fitting if rank == best]


def _rank(decoration: str, target: Target) -> tuple[int, ...] | None:
    """Return how well a section's decoration fits a Windows; None if it does not."""
    found = _DECORATION.fullmatch(decoration or "nt")
    if not found:
        return None
    # Since Server 2003 SP1 a section without an architecture is for x86 alone.
    if (found[1] or "x86").lower() != target.architecture:
        return None
    fields = [_number(field) for field in found[2].split(".")[1:]]
    major, minor, product, _suite, build = (*fields, 0, 0, 0, 0, 0)[:5]
    if (major, minor, build) > target.version or product not in (0, *target.products):
        return None
    return (major, minor, build, int(bool(found[1])))


def _number(field: str) -> int:
    """Return a field of a decoration; a product type may be in hexadecimal."""
    if field.lower().startswith("0x"):
        return int(field[2:], 16) if re.fullmatch(r"[0-9a-fA-F]+", field[2:]) else 0
    return int(field) if re.fullmatch(r"[0-9]+", field) else 0
