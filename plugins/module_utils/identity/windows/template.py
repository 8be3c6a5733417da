# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A user's own answer file: only the identity is set in it, everything else stays."""

from __future__ import annotations

import difflib
import xml.etree.ElementTree as ET
from pathlib import Path

from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.answers import Answers
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.unattend import (
    DEPLOYMENT,
    JOIN,
    LANGUAGE,
    NETWORK,
    NS,
    PASSES,
    SHELL,
    component,
    identify,
    put,
    serialize,
)

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


def load(path: str) -> str:
    """Return the text of a user's answer file."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise IdentityError(f"template {path}: {getattr(error, 'strerror', None) or 'it is not UTF-8'}") from error


def fill(text: str, name: str, answers: Answers, architecture: str) -> str:
    """Set the computer's name, and where it belongs if that is declared, in an answer file.

    :param name: What to call it in an error.
    :raises IdentityError: It is not an answer file, or holds what Windows would stumble over.
    """
    try:
        root = ET.fromstring(text)  # noqa: S314  the user's own file
    except ET.ParseError as error:
        raise IdentityError(f"{name}: this is not XML: {error}") from error
    check(root, name)
    for settings in root.iter(f"{{{NS}}}settings"):
        # Windows skips what it has done already.
        settings.attrib.pop("wasPassProcessed", None)
    shell = _find(root, "specialize", SHELL, architecture)
    _set(shell, "ComputerName", answers.computer_name)
    for tag, value in (("ProductKey", answers.product_key), ("TimeZone", answers.time_zone)):
        if value:
            _set(shell, tag, value)
    if answers.join.declared:
        part = _find(root, "specialize", JOIN, architecture)
        for child in list(part):
            part.remove(child)
        identify(part, answers.join)
    return serialize(root)


def check(root: ET.Element, name: str) -> None:
    """Raise C(IdentityError) for what kills a pass of Windows Setup: unknown passes, misspelt elements."""
    if root.tag != f"{{{NS}}}unattend":
        raise IdentityError(f"{name}: this is not an answer file: its root is {root.tag}, not unattend in {NS}")
    for settings in root:
        if settings.tag != f"{{{NS}}}settings":
            raise IdentityError(f"{name}: {_local(settings)} is not known here; an answer file consists of settings")
        if settings.get("pass") not in PASSES:
            raise IdentityError(f"{name}: there is no pass {settings.get('pass')!r}{_near(settings.get('pass') or '', PASSES)}")
        for part in settings.iter(f"{{{NS}}}component"):
            known = _KNOWN.get(part.get("name") or "", "").split()
            for child in part:
                if known and _local(child) not in known:
                    raise IdentityError(f"{name}: {part.get('name')} has no {_local(child)!r}{_near(_local(child), known)}")


def _find(root: ET.Element, wanted: str, name: str, architecture: str) -> ET.Element:
    """Return a component of a pass, making both if they are missing.

    :raises IdentityError: The file has it for another architecture only, so that this Windows would ignore it.
    """
    settings = next((item for item in root if item.get("pass") == wanted), None)
    if settings is None:
        settings = ET.SubElement(root, f"{{{NS}}}settings", {"pass": wanted})
    parts = [item for item in settings if item.get("name") == name]
    mine = [item for item in parts if item.get("processorArchitecture") == architecture]
    if parts and not mine:
        has = ", ".join(str(item.get("processorArchitecture")) for item in parts)
        raise IdentityError(f"the template has {name} for {has}, and this Windows is {architecture}")
    return mine[0] if mine else component(settings, name, architecture)


def _set(part: ET.Element, name: str, text: str) -> None:
    """Have an element of a component hold I(text); a new one comes where the schema has it, which is by the alphabet."""
    if part.find(f"{{{NS}}}{name}") is None:
        place = next((number for number, child in enumerate(part) if _local(child) > name), len(part))
        part.insert(place, ET.Element(f"{{{NS}}}{name}"))
    put(part, name, text)


def _local(element: ET.Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _near(word: str, known: tuple[str, ...] | list[str]) -> str:
    found = difflib.get_close_matches(word, known, 1)
    return f"; did you mean {found[0]}?" if found else ""
