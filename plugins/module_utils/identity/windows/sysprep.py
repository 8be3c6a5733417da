# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Give a Windows that is not running what makes its first boot unattended."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Dict, Optional, Sequence

from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows import (
    clean_up,
    regfile,
    remoting,
    sysprep_inf,
    template,
    unattend,
)
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.answers import Answers, check_for
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.drivers import FOLDER, inf_folders
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.inspect import COMPETITORS, Windows, inspect
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.masking import masked
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.offline_join import check_blob
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.regfile import Change
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.registry import open_hive, plan
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.volume import CONFIG, Volume
from ansible_collections.reimage.lab.plugins.module_utils.options import secrets

ANSWER_FILE = "Windows/Panther/unattend.xml"
RECORD = "ProgramData/reimage/identity.json"
_CURRENT_VERSION = r"Microsoft\Windows\CurrentVersion"

Files = Dict[str, Optional[bytes]]


@dataclass
class Injected:
    """What was, or would be, done. I(files) are below the volume's root."""

    changed: bool
    windows: Windows
    files: list[str] = field(default_factory=list)
    before: str = ""
    after: str = ""


def inject(
    volume: Volume,
    answers: Answers,
    template_text: str = "",
    *,
    image: str = "",
    require_generalized: bool = True,
    dry_run: bool = False,
) -> Injected:
    """Write the answer file, remove what would compete with it, and have the first boot remove the secrets.

    :param template_text: A user's own answer file, into which all that is declared is merged.
    :param image: What the volume was deployed from, to be recorded on it.
    :raises IdentityError: Windows is not ready for it, or what is declared cannot be; nothing was written then.
    """
    windows = inspect(volume)
    if require_generalized and not windows.generalized:
        raise IdentityError("; ".join(windows.problems))
    if answers.join.offline_blob:
        check_blob(answers.join.offline_blob, answers.computer_name)
    if windows.flavour == "sysprep_inf":
        wanted, setup = _xp(volume, answers, template_text)
    else:
        wanted = _vista(volume, answers, template_text, windows)
        setup = [Change(r"HKLM\SYSTEM\Setup", values={"UnattendFile": None})]
    if image:
        wanted[RECORD] = json.dumps({"hostname": answers.computer_name, "image": image}).encode()
    result = Injected(False, windows)
    for name, data in wanted.items():
        old = volume.read(name)
        if old == data:
            continue
        result.files.append(name)
        result.before += _shown(name, old, answers)
        result.after += _shown(name, data, answers)
    registry = plan(volume, setup)
    result.before, result.after = result.before + registry.before, result.after + registry.after
    result.changed = bool(result.files or registry.hives)
    if not dry_run:
        volume.write_all({**registry.contents, **{name: wanted[name] for name in result.files}})
    return result


def _vista(volume: Volume, answers: Answers, template_text: str, windows: Windows) -> Files:
    answers = answers.settled(template=bool(template_text), languages=windows.languages)
    own_account = bool(template_text) and template.has_account(template_text, "template")
    check_for(answers, windows.build, server=windows.edition.startswith("Server"), has_account=own_account)
    if template_text:
        text = template.fill(template_text, "template", answers, windows.architecture)
    else:
        text = unattend.render(answers, windows.architecture)
    files: Files = {name: None for folder, pattern in COMPETITORS for name in volume.match(folder, pattern)}
    files[ANSWER_FILE] = text.encode("ascii")
    script = remoting.script(answers)
    if script:
        files[remoting.SCRIPT] = script.encode("ascii", errors="replace")
    files[clean_up.SCRIPT] = clean_up.TEXT.encode("ascii")
    return files


def _xp(volume: Volume, answers: Answers, template_text: str) -> tuple[Files, list[Change]]:
    folders = inf_folders(volume) if answers.drivers else []
    text = sysprep_inf.render(answers, template_text, folders)
    return {sysprep_inf.FILE: text.encode("ascii")}, [_device_path(volume, folders)] if answers.drivers else []


def _device_path(volume: Volume, folders: Sequence[str]) -> Change:
    """Return what has Windows XP look for drivers in some folders.

    Sysprep takes C(OemPnPDriversPath) into this value when it is started, which it was before the disk was captured.
    """
    before = open_hive(volume, f"{CONFIG}/SOFTWARE").text(_CURRENT_VERSION, "DevicePath") or r"%SystemRoot%\inf"
    ours = rf"%SystemDrive%\{FOLDER}" + "\\"
    kept = [part for part in before.split(";") if part and not f"{part}\\".lower().startswith(ours.lower())]
    value = ";".join([*kept, *(rf"%SystemDrive%\{folder}" for folder in folders)])
    return Change(rf"HKLM\SOFTWARE\{_CURRENT_VERSION}", values={"DevicePath": (regfile.EXPAND_SZ, regfile.text(value))})


def _shown(name: str, data: bytes | None, answers: Answers) -> str:
    """Return a file for a diff."""
    if data is None:
        return f"--- {name}: none\n"
    return f"--- {name}\n{masked(data, secrets(answers))}\n"
