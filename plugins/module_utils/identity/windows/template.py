# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A user's own answer file: what is declared is merged into it, everything else stays."""

from __future__ import annotations

import codecs
import difflib
import re
import xml.etree.ElementTree as ET
from pathlib import Path

from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.answers import Answers
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.unattend import (
    CPI,
    DEPLOYMENT,
    JOIN,
    LANGUAGE,
    NETWORK,
    NS,
    PASSES,
    SHELL,
    declare,
    local,
    serialize,
)

LONGEST = 4 << 20  # bytes
_DEEPEST = 100  # elements in each other
_OLD_ENCODINGS = ("iso-8859-1", "windows-1252")
_DECLARATION = re.compile(rb"<\?xml[^>]*encoding=[\"']([A-Za-z0-9._-]+)")

# What stands directly in the components that we know.
_KNOWN = {
    SHELL: """AutoLogon BluetoothTaskbarIconEnabled ComputerName ConvertibleSlateModePromptPreference CopyProfile
        DesktopOptimization DisableAutoDaylightTimeSet Display DoNotCleanTaskBar EnableStartMenu FirstLogonCommands
        FolderLocations LogonCommands NotificationArea OEMInformation OEMName OEMWelcomeCenter OfflineUserAccounts OOBE
        ProductKey RegisteredOrganization RegisteredOwner ShowPowerButtonOnStartScreen ShowWindowsLive SignInMode
        StartPanelLinks StartTiles StartTilesAlt StartTilesDesktop TaskbarLinks Themes TimeZone UserAccounts VisualEffects
        WindowsFeatures""",
    JOIN: "Identification",
    LANGUAGE: "InputLocale SystemLocale UILanguage UILanguageFallback UserLocale",
    DEPLOYMENT: "ExtendOSPartition Generalize Reseal RunAsynchronous RunSynchronous",
    NETWORK: "IcmpRedirectsEnabled Interfaces",
}
_BESIDE_SETTINGS = (f"{{{NS}}}servicing", f"{{{CPI}}}offlineImage")


def load(path: str) -> str:
    """Return the text of a user's answer file."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(LONGEST + 1)
    except OSError as error:
        raise IdentityError(f"template {path}: {error.strerror}") from error
    return decode(data, f"template {path}")


def decode(data: bytes, name: str) -> str:
    """Return the text of an answer file, which is in UTF-8, UTF-16, or an encoding of old that it names.

    :raises IdentityError: It is not, or is too big.
    """
    if len(data) > LONGEST:
        raise IdentityError(f"{name}: an answer file has at most {LONGEST >> 20} MiB")
    declared = _DECLARATION.match(data)
    encoding = declared[1].decode().lower() if declared else ""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif data.startswith((b"<\0", b"\0<")):
        encoding = "utf-16-le" if data.startswith(b"<") else "utf-16-be"
    elif encoding not in _OLD_ENCODINGS:
        encoding = "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise IdentityError(f"{name}: it is not {encoding[:6].upper()}") from error


class _Builder(ET.TreeBuilder):
    """Makes the elements of a file that has no DOCTYPE."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def doctype(self, *_what: object) -> None:
        raise IdentityError(f"{self._name}: an answer file has no DOCTYPE: remove it")


def parse(text: str, name: str) -> ET.Element:
    """Return the root of an answer file.

    :raises IdentityError: It is not XML, or holds what no answer file does.
    """
    parser = ET.XMLParser(target=_Builder(name))  # noqa: S314  without a DOCTYPE there are no entities
    try:
        parser.feed(text)
        root: ET.Element = parser.close()
    except (ET.ParseError, ValueError) as error:
        raise IdentityError(f"{name}: this is not XML: {error}") from error
    level, depth = list(root), 1
    while level:
        level, depth = [below for element in level for below in element], depth + 1
        if depth > _DEEPEST:
            raise IdentityError(f"{name}: more than {_DEEPEST} elements are in each other: this is not an answer file")
    return root


def fill(text: str, name: str, answers: Answers, architecture: str) -> str:
    """Merge what is declared into an answer file.

    :param name: What to call it in an error.
    :raises IdentityError: It is not an answer file, or holds what Windows would stumble over.
    """
    root = parse(text, name)
    check(root, name)
    _join(root, name)
    for settings in root.iter(f"{{{NS}}}settings"):
        # Windows skips what it has done already.
        settings.attrib.pop("wasPassProcessed", None)
    declare(root, answers, architecture)
    _check_keys(root, name)
    return serialize(root)


def has_account(text: str, name: str) -> bool:
    """Return whether an answer file makes an account, so that Windows need not ask who will use it."""
    kinds = ("LocalAccounts/{0}LocalAccount", "DomainAccounts/{0}DomainAccountList/{0}DomainAccount")
    root = parse(text, name)
    for settings in root.iterfind(f"{{{NS}}}settings"):
        for accounts in settings.iter(f"{{{NS}}}UserAccounts") if settings.get("pass") == "oobeSystem" else ():
            if any(accounts.find(f"{{{NS}}}" + kind.format(f"{{{NS}}}")) is not None for kind in kinds):
                return True
    return False


def check(root: ET.Element, name: str) -> None:
    """Raise C(IdentityError) for what kills a pass of Windows Setup: unknown passes, misspelt elements."""
    if root.tag != f"{{{NS}}}unattend":
        raise IdentityError(f"{name}: this is not an answer file: its root is {root.tag}, not unattend in {NS}")
    for settings in root:
        if settings.tag in _BESIDE_SETTINGS or not settings.tag.startswith(f"{{{NS}}}"):
            continue  # for Setup from a medium, for the editor of answer files, or of somebody's own
        if settings.tag != f"{{{NS}}}settings":
            near = _near(local(settings), ("settings", "servicing"))
            raise IdentityError(f"{name}: an answer file has no {local(settings)!r}, but settings{near}")
        if settings.get("pass") not in PASSES:
            raise IdentityError(f"{name}: there is no pass {settings.get('pass')!r}{_near(settings.get('pass') or '', PASSES)}")
        for part in settings.iter(f"{{{NS}}}component"):
            known = _KNOWN.get(part.get("name") or "", "").split()
            for element in part:
                if known and local(element) not in known:
                    raise IdentityError(f"{name}: {part.get('name')} has no {local(element)!r}{_near(local(element), known)}")


def _join(root: ET.Element, name: str) -> None:
    """Put together the settings, and the components, that are given in two parts.

    :raises IdentityError: Two parts of a component have the same element, and one of them would be ignored.
    """
    passes: dict[str, ET.Element] = {}
    for settings in root.findall(f"{{{NS}}}settings"):
        first = passes.setdefault(settings.get("pass", ""), settings)
        if first is not settings:
            first.extend(settings)
            root.remove(settings)
    for wanted, settings in passes.items():
        parts: dict[tuple[str, ...], ET.Element] = {}
        for part in settings.findall(f"{{{NS}}}component"):
            key = tuple(part.get(one, "") for one in ("name", "processorArchitecture", "language", "versionScope"))
            first = parts.setdefault(key, part)
            if first is part:
                continue
            twice = [local(element) for element in part if first.find(element.tag) is not None]
            if twice:
                raise IdentityError(f"{name}: {key[0]} is given twice in {wanted}, with {twice[0]} in both: leave one of them")
            first.extend(part)
            settings.remove(part)


def _check_keys(root: ET.Element, name: str) -> None:
    for settings in root.iterfind(f"{{{NS}}}settings[@pass='specialize']"):
        for key in settings.iter(f"{{{NS}}}ProductKey"):
            if not (key.text or "").strip():
                raise IdentityError(f"{name}: its ProductKey in specialize is empty, on which Setup fails: remove it, or fill it")


def _near(word: str, known: tuple[str, ...] | list[str]) -> str:
    found = difflib.get_close_matches(word, known, 1)
    return f"; did you mean {found[0]}?" if found else ""
