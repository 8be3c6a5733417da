# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who signed a program for UEFI, such as a boot manager or a shim. It may have several signatures, each with its certificates.

Source: Microsoft, "PE Format", "The Attribute Certificate Table".
"""

from __future__ import annotations

import struct

from ansible_collections.reimage.lab.plugins.module_utils.hardware.certificates import Certificate, certificates_of
from ansible_collections.reimage.lab.plugins.module_utils.hardware.errors import HardwareError

_MAGIC = {0x10B: 128, 0x20B: 144}  # PE32, PE32+: where in the optional header the certificate table is named
_PKCS7 = 2
_MOST_SIGNATURES = 16
_HEADER = struct.Struct("<IHH")


def signers(program: bytes) -> list[list[Certificate]]:
    """Return the certificates of each signature; nothing for a program that is not signed.

    :raises HardwareError: This is not a program for UEFI, or its signatures are damaged.
    """
    try:
        start = struct.unpack_from("<I", program, 0x3C)[0] if program[:2] == b"MZ" else -1
        if start < 0 or program[start : start + 4] != b"PE\0\0":
            raise HardwareError("it is not a program for UEFI")
        optional = start + 24
        at = _MAGIC[struct.unpack_from("<H", program, optional)[0]]
        if struct.unpack_from("<I", program, optional + at - 36)[0] <= 4:  # how many tables there are
            return []
        table, size = struct.unpack_from("<II", program, optional + at)
    except (struct.error, KeyError) as error:
        raise HardwareError("it is not a program for UEFI") from error
    if table + size > len(program):
        raise HardwareError("its signatures are cut off")
    return _table(program[table : table + size])


def _table(data: bytes) -> list[list[Certificate]]:
    found: list[list[Certificate]] = []
    position = 0
    while position + _HEADER.size <= len(data) and len(found) < _MOST_SIGNATURES:
        length, _revision, kind = _HEADER.unpack_from(data, position)
        if not _HEADER.size < length <= len(data) - position:
            raise HardwareError("the sizes of its signatures contradict each other")
        if kind == _PKCS7:
            found.append(certificates_of(data[position + _HEADER.size : position + length]))
        position += length + -length % 8
    return found
