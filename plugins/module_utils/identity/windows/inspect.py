# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a Windows that is not running is, and whether it is ready to become many machines."""

from __future__ import annotations

import locale
import re
from dataclasses import dataclass, field

from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems import ntfs
from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError
from ansible_collections.reimage.lab.plugins.module_utils.identity.partition import partitions
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.hives import Hive, control_set
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.registry import open_hive
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.volume import CONFIG, Volume, holds_windows

TAG = "Windows/System32/Sysprep/Sysprep_succeeded.tag"
LOG = "Windows/System32/Sysprep/Panther/setuperr.log"
READY = "IMAGE_STATE_GENERALIZE_RESEAL_TO_OOBE"
AUDIT = "IMAGE_STATE_GENERALIZE_RESEAL_TO_AUDIT"
FIRST_WITH_ANSWER_FILES = 6000  # build of Windows Vista
_ARCHITECTURES = {"amd64": "amd64", "x86": "x86", "arm64": "arm64"}
_LANGUAGE = re.compile(r"[A-Za-z0-9-]{2,20}")
_TAIL = 600
# Where Windows would find another answer file, in the order in which it looks.
COMPETITORS = (
    ("Windows/Panther/Unattend", "*.xml"),
    ("Windows/System32/Sysprep", "unattend.xml"),
    ("", "unattend.xml"),
    ("", "autounattend.xml"),
)


@dataclass
class Windows:
    """A Windows that is not running; I(problems) are sentences for people."""

    build: int
    edition: str
    product: str
    architecture: str
    language: str
    control_set: str
    generalized: bool
    markers: dict[str, bool]
    stale_answer_files: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    languages: list[str] = field(default_factory=list)  # of menus and dialogs, beginning with the one it was installed in

    @property
    def flavour(self) -> str:
        """How it takes its identity: C(unattend), or C(sysprep_inf) before Windows Vista."""
        return "unattend" if self.build >= FIRST_WITH_ANSWER_FILES else "sysprep_inf"


def inspect(volume: Volume) -> Windows:
    """Describe the Windows on a volume.

    :raises IdentityError: A hive is missing, dirty or damaged.
    """
    software, system = open_hive(volume, f"{CONFIG}/SOFTWARE"), open_hive(volume, f"{CONFIG}/SYSTEM")
    version = r"Microsoft\Windows NT\CurrentVersion"
    build = software.text(version, "CurrentBuildNumber") or software.text(version, "CurrentBuild")
    if not build.isdigit():
        raise IdentityError(f"{software.name}: the hive does not say which build of Windows this is")
    current = control_set(system)
    found = Windows(
        build=int(build),
        edition=software.text(version, "EditionID"),
        product=software.text(version, "ProductName"),
        architecture=_architecture(system, current),
        language=_language(system, current),
        control_set=current,
        generalized=False,
        markers={},
    )
    found.languages = _languages(system, found)
    found.stale_answer_files = stale_answer_files(volume, system)
    found.markers = _markers(volume, software, system, found.flavour)
    found.generalized = all(found.markers.values())
    if not found.generalized:
        found.problems.append(_why_not(volume, software, found))
    return found


def refuse_not_generalized(disk: str) -> None:
    """Raise C(IdentityError) if a Windows on a disk is not ready to become many machines.

    A volume that is not clean is left to those who refuse it for that.
    """
    with partitions(disk, ("ntfs",), read_only=True) as found:
        for partition in found:
            if ntfs.states(partition.device) or not holds_windows(partition):
                continue
            with partition.mounted("ro", "ntfs-3g") as folder:
                problems = inspect(Volume(folder)).problems
            if problems:
                raise IdentityError(
                    f"{partition} holds a Windows that should not be captured: {'; '.join(problems)}. To capture it as it is,"
                    " accept not_generalized"
                )


def stale_answer_files(volume: Volume, system: Hive) -> list[str]:
    """Return the answer files that Windows would take before or beside ours."""
    files = [name for folder, pattern in COMPETITORS for name in volume.match(folder, pattern)]
    named = system.text("Setup", "UnattendFile")
    return [*files, *([rf"HKLM\SYSTEM\Setup!UnattendFile={named}"] if named else [])]


def _architecture(system: Hive, current: str) -> str:
    name = system.text(rf"{current}\Control\Session Manager\Environment", "PROCESSOR_ARCHITECTURE").lower()
    if name not in _ARCHITECTURES:
        raise IdentityError(f"{system.name}: the architecture {name!r} is unknown; there is {', '.join(_ARCHITECTURES)}")
    return _ARCHITECTURES[name]


def _language(system: Hive, current: str) -> str:
    """Return the language that Windows was installed in, such as C(de-DE)."""
    number = system.text(rf"{current}\Control\Nls\Language", "InstallLanguage")
    try:
        return locale.windows_locale.get(int(number, 16), number).replace("_", "-")
    except ValueError:
        return ""


def _languages(system: Hive, found: Windows) -> list[str]:
    names = system.children(rf"{found.control_set}\Control\MUI\UILanguages")
    known = [name for name in names if _LANGUAGE.fullmatch(name)]
    return sorted(known, key=lambda name: (name.lower() != found.language.lower(), name))


def _markers(volume: Volume, software: Hive, system: Hive, flavour: str) -> dict[str, bool]:
    """Return what all must be true of a generalized Windows."""
    command = system.text("Setup", "CmdLine").lower()
    setup = system.number("Setup", "SetupType")
    if flavour == "sysprep_inf":
        # Mini-setup runs at the next start.
        return {"setup_type": setup not in (None, 0), "command_line": "-mini" in command}
    state = software.text(r"Microsoft\Windows\CurrentVersion\Setup\State", "ImageState")
    return {
        "tag": volume.find(TAG) is not None,
        "setup_type": setup == 2,
        "command_line": "windeploy" in command,
        "image_state": state == READY,
    }


def _why_not(volume: Volume, software: Hive, found: Windows) -> str:
    state = software.text(r"Microsoft\Windows\CurrentVersion\Setup\State", "ImageState")
    if state == AUDIT:
        return "it was generalized to audit mode: run sysprep with /oobe instead of /audit"
    missing = ", ".join(name for name, there in found.markers.items() if not there)
    said = (volume.read(LOG) or b"")[-_TAIL:].decode(errors="replace").strip()
    tail = f". The end of {LOG}: {said}" if said else ""
    return f"it is not generalized (missing: {missing}): run sysprep /generalize /oobe /shutdown on the master{tail}"
