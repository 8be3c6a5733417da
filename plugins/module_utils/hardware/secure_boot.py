# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secure Boot as a machine's firmware has it: whether it is on, and whose certificates it trusts.

Source: UEFI Specification 2.10, 32.4.1 "Signature Database" and 3.3 "Globally Defined Variables".
"""

from __future__ import annotations

import hashlib
import struct
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

from ansible_collections.reimage.lab.plugins.module_utils.hardware.certificates import Certificate, read_certificate
from ansible_collections.reimage.lab.plugins.module_utils.hardware.errors import HardwareError

FOLDER = Path("/sys/firmware/efi/efivars")
_GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
_DATABASE = "d719b2cb-3d3a-4596-a3bc-dad00e67656f"
_X509 = uuid.UUID("a5c059a1-94e4-4aa7-87b5-ab155c2bf072").bytes_le
_SHA256 = uuid.UUID("c1c41626-504c-4092-aca9-41f936934328").bytes_le
_ATTRIBUTES = 4  # bytes that the kernel puts before the content
_LARGEST = 1 << 20
_LIST = struct.Struct("<16sIII")
_OWNER = 16
_FOR_SHIM = ("Microsoft Corporation UEFI CA 2011", "Microsoft UEFI CA 2023")
_FOR_WINDOWS = ("Microsoft Windows Production PCA 2011", "Windows UEFI CA 2023")


@dataclass(frozen=True)
class SecureBoot:
    """What firmware says: whether Secure Boot is on, whether it takes new keys, and its certificates.

    I(db) are those that it trusts, I(dbx) those that it refuses, I(kek) those who may change both. I(hashes) says
    whether db trusts single programs, too, I(problems) what cannot be read.
    """

    enabled: bool
    setup_mode: bool
    db: tuple[Certificate, ...] = ()
    kek: tuple[Certificate, ...] = ()
    dbx: tuple[Certificate, ...] = ()
    hashes: bool = False
    problems: tuple[str, ...] = ()

    def trusts(self, chain: Sequence[Certificate]) -> bool:
        """Whether it starts what a chain of certificates vouches for. Signatures are for the firmware itself to check."""
        refused = {one.fingerprint for one in self.dbx}
        refusing = {one.subject for one in self.dbx}
        if any(one.fingerprint in refused or one.issuer in refusing for one in chain):
            return False
        trusted, names = {one.fingerprint for one in self.db}, {one.subject for one in self.db}
        return any(one.fingerprint in trusted or one.issuer in names for one in chain)

    @property
    def warnings(self) -> list[str]:
        """What will not start, in sentences; nothing while Secure Boot is off."""
        if not self.enabled or self.problems:
            return list(self.problems) if self.enabled else []
        known = {str(one) for one in self.db}
        found = []
        if not known.intersection(_FOR_SHIM):
            found.append(
                "Secure Boot is on and db has neither Microsoft's UEFI CA 2011 nor 2023: no current shim starts here,"
                " so neither automation over the network nor a Linux of a distribution does. Allow the third-party certificate in"
                " the firmware's setup, or enrol a certificate of your own"
            )
        if not known.intersection(_FOR_WINDOWS):
            found.append(
                "Secure Boot is on and db has neither Microsoft's Windows Production PCA 2011 nor Windows UEFI CA 2023: no"
                " Windows starts here"
            )
        return found


def secure_boot(folder: Path = FOLDER) -> SecureBoot | None:
    """Return what the firmware of this machine says; None if it has no Secure Boot, as with a BIOS."""
    enabled = _variable(folder, "SecureBoot", _GLOBAL)
    if enabled is None:
        return None
    lists: dict[str, tuple[Certificate, ...]] = {}
    problems = []
    hashes = False
    for name, owner in (("db", _DATABASE), ("KEK", _GLOBAL), ("dbx", _DATABASE)):
        try:
            data = _variable(folder, name, owner) or b""
            lists[name.lower()] = tuple(read_signatures(data))
            hashes = hashes or (name == "db" and _SHA256 in data)
        except HardwareError as error:
            problems.append(f"the firmware's list {name} cannot be read: {error}")
    setup_mode = _variable(folder, "SetupMode", _GLOBAL) == b"\1"
    return SecureBoot(enabled == b"\1", setup_mode, hashes=hashes, problems=tuple(problems), **lists)


def read_signatures(data: bytes) -> list[Certificate]:
    """Return the certificates of signature lists. Hashes, and kinds of entries that we do not know, are left out.

    :raises HardwareError: The lists are damaged.
    """
    found, position = [], 0
    while position < len(data):
        if position + _LIST.size > len(data):
            raise HardwareError("a signature list is cut off")
        kind, size, header, each = _LIST.unpack_from(data, position)
        start, end = position + _LIST.size + header, position + size
        if end > len(data) or start > end or each <= _OWNER or (end - start) % each:
            raise HardwareError("the sizes of a signature list contradict each other")
        if kind == _X509:
            found += [_certificate(data[at + _OWNER : at + each]) for at in range(start, end, each)]
        position = end
    return found


def _certificate(data: bytes) -> Certificate:
    """Return a certificate. One that cannot be read stays in the list, and vouches for nothing."""
    try:
        return read_certificate(data)
    except HardwareError:
        return Certificate("unreadable", hashlib.sha256(data).hexdigest(), data, data)


def _variable(folder: Path, name: str, owner: str) -> bytes | None:
    """Return the content of a variable of the firmware, or None if there is none."""
    try:
        with (folder / f"{name}-{owner}").open("rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError:
        return None
    if len(data) > _LARGEST:
        raise HardwareError(f"the firmware's variable {name} is larger than {_LARGEST} bytes")
    return data[_ATTRIBUTES:]
