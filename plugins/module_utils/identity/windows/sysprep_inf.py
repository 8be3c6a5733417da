# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""C(sysprep.inf), the answer file of Windows XP and Server 2003, in ASCII with CR and LF. Mini-setup deletes it after use.

Source: Microsoft, Windows XP Service Pack 2 deployment tools, C(ref.chm).
"""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Sequence

from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.answers import Answers
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.time_zones import TIME_ZONES

FILE = "Sysprep/sysprep.inf"
DRIVERS_LONGEST = 4096  # characters: Microsoft, KB 312535
# All that the file can say. Whatever else is declared, now or in times to come, is refused rather than dropped.
_WRITTEN = "|computer_name|time_zone|product_key|join|accounts|auto_logon|first_logon_commands|drivers|full_name|organization|"
_NOTHING_TO_DO = (("remoting", "none"), ("device_encryption", False))
_INSTEAD = {
    "interfaces": "use a template",
    **dict.fromkeys(("locale", "region", "keyboard", "ui_language"), "use a template with [RegionalSettings]"),
    "specialize_commands": "use first_logon_commands, or cmdlines.txt on the master",
}
_SECTION = re.compile(r"\s*\[([^\]]+)\]\s*")
_COMMAND = re.compile(r"(?i)\s*Command(\d{1,9})\s*=")


def render(answers: Answers, template: str = "", driver_folders: Sequence[str] = ()) -> str:
    """Return the file: a whole one, or a user's own in which only what is declared is set.

    :param driver_folders: Each folder that holds an INF, below the root of the volume; XP does not look into those below.
    :raises IdentityError: Something is declared that Windows XP does not have, or cannot be written in ASCII.
    """
    lines = template.replace("\r\n", "\n").rstrip("\n").split("\n") if template.strip() else []
    _check(answers)
    declared = _declared(answers, driver_folders, own=not lines)
    if answers.join.declared:
        _remove(lines, "Identification")
    for section, key, value in [*declared, *_commands(answers, lines)]:
        _set(lines, section, key, value)
    text = "\r\n".join(lines) + "\r\n"
    strange = "".join(sorted({letter for letter in text if not letter.isascii()}))
    if strange:
        raise IdentityError(f"sysprep.inf: {strange!r} cannot be written in ASCII, which is all that Windows XP reads")
    return text


def _check(answers: Answers) -> None:
    """Refuse what would be dropped."""
    for one in fields(Answers):
        value = getattr(answers, one.name)
        if value and f"|{one.name}|" not in _WRITTEN and (one.name, value) not in _NOTHING_TO_DO:
            instead = _INSTEAD.get(one.name, "leave it out, and prepare the master so")
            raise IdentityError(f"{one.name}: Windows XP and Server 2003 cannot be told so in sysprep.inf: {instead}")
    other = next((account.name for account in answers.accounts if not account.built_in), None)
    if other:
        raise IdentityError(
            f"accounts: Windows XP and Server 2003 take the password of Administrator only: make {other!r} on the master"
        )


def _declared(answers: Answers, driver_folders: Sequence[str], *, own: bool) -> list[tuple[str, str, str]]:
    if answers.join.offline_blob:
        raise IdentityError("join: Windows XP cannot join a domain offline: use domain, username and password")
    found: list[tuple[str, str, str]] = []
    if own:
        found += [
            ("Unattended", "OemSkipEula", "Yes"),
            ("Unattended", "ExtendOemPartition", "1"),
            ("GuiUnattended", "OEMSkipRegional", "1"),
            ("GuiUnattended", "OemSkipWelcome", "1"),
            ("Networking", "InstallDefaultComponents", "Yes"),
        ]
    if driver_folders:
        found.append(("Unattended", "OemPnPDriversPath", _driver_path(driver_folders)))
    if answers.time_zone:
        number = TIME_ZONES[answers.time_zone]
        if number is None:
            raise IdentityError(f"time_zone: Windows XP does not know {answers.time_zone!r}")
        found.append(("GuiUnattended", "TimeZone", str(number)))
    found += _accounts(answers)
    found.append(("UserData", "ComputerName", answers.computer_name))
    for key, value in (("FullName", answers.full_name), ("OrgName", answers.organization), ("ProductKey", answers.product_key)):
        if value:
            found.append(("UserData", key, _quoted(value)))
    return [*found, *_join(answers)]


def _driver_path(folders: Sequence[str]) -> str:
    wrong = next((folder for folder in folders if ";" in folder), None)
    if wrong:
        raise IdentityError(f"drivers: Windows XP takes the semicolon in {wrong} for the end of the folder's name: rename it")
    path = ";".join(folders)
    if len(path) > DRIVERS_LONGEST:
        raise IdentityError(
            f"drivers: the names of the {len(folders)} folders with an INF have {len(path)} characters, and Windows XP takes"
            f" {DRIVERS_LONGEST}: have fewer of them, or shorter names"
        )
    # Without quotation marks all behind the first semicolon would be a comment.
    return _quoted(path)


def _accounts(answers: Answers) -> list[tuple[str, str, str]]:
    if not answers.accounts:
        return []
    (admin,) = answers.accounts
    found = [("GuiUnattended", "AdminPassword", _quoted(admin.password)), ("GuiUnattended", "EncryptedAdminPassword", "No")]
    if answers.auto_logon:
        found += [("GuiUnattended", "AutoLogon", "Yes"), ("GuiUnattended", "AutoLogonCount", str(answers.auto_logon.count))]
    return found


def _join(answers: Answers) -> list[tuple[str, str, str]]:
    join = answers.join
    if join.workgroup:
        return [("Identification", "JoinWorkgroup", _quoted(join.workgroup))]
    if not join.domain:
        return []
    found = [
        ("Identification", "JoinDomain", join.domain),
        ("Identification", "DomainAdmin", _quoted(join.username)),
        ("Identification", "DomainAdminPassword", _quoted(join.password)),
    ]
    return [*found, *([("Identification", "MachineObjectOU", _quoted(join.ou))] if join.ou else [])]


def _commands(answers: Answers, lines: list[str]) -> list[tuple[str, str, str]]:
    """Return the commands, numbered to run after those that are there."""
    there = [_COMMAND.match(line) for line in _section(lines, "GuiRunOnce").values()]
    first = max((int(found[1]) + 1 for found in there if found), default=0)
    commands = enumerate(answers.first_logon_commands, first)
    return [("GuiRunOnce", f"Command{number}", _quoted(command)) for number, command in commands]


def _quoted(value: str) -> str:
    if '"' in value:
        raise IdentityError("sysprep.inf: a value with a quotation mark in it cannot be written")
    return f'"{value}"'


def _section(lines: list[str], section: str) -> dict[int, str]:
    """Return the lines of a section that are not comments, by their place; a section may stand in several parts."""
    current, found = "", {}
    for number, line in enumerate(lines):
        header = _SECTION.fullmatch(line)
        if header:
            current = header[1].strip().lower()
        elif current == section.lower() and line.strip() and not line.lstrip().startswith(";"):
            found[number] = line
    return found


def _remove(lines: list[str], section: str) -> None:
    """Remove what a section says: a machine is in a workgroup or in a domain, not in both."""
    for number in sorted(_section(lines, section), reverse=True):
        del lines[number]


def _set(lines: list[str], section: str, key: str, value: str) -> None:
    """Set one key in place, keeping its line's position; add it, or its section, if it is missing."""
    current, end = "", None
    for number, line in enumerate(lines):
        found = _SECTION.fullmatch(line)
        if found:
            current = found[1].strip().lower()
        elif current == section.lower() and line.split("=", 1)[0].strip().lower() == key.lower():
            lines[number] = f"{key}={value}"
            return
        if current == section.lower() and line.strip():
            end = number
    if end is None:
        lines += [*([""] if lines else []), f"[{section}]", f"{key}={value}"]
    else:
        lines.insert(end + 1, f"{key}={value}")
