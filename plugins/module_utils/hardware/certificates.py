# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""X.509 certificates, as far as Secure Boot needs them: who it is, and who vouches for it. No signature is checked here.

Firmware and disks are not trusted, so each length is compared with what there is.
Sources: ITU-T X.690 (DER); RFC 5280, 4.1 (certificates); RFC 2315, 9.1 (PKCS #7 SignedData).
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from typing import Iterator

from ansible_collections.reimage.lab.plugins.module_utils.hardware.errors import HardwareError
from ansible_collections.reimage.lab.plugins.module_utils.untrusted import printable

_SEQUENCE, _SET, _INTEGER, _OID = 0x30, 0x31, 0x02, 0x06
_CONTEXT_0 = 0xA0
_TEXTS = {0x0C: "utf-8", 0x13: "ascii", 0x16: "ascii", 0x14: "latin-1", 0x1E: "utf-16-be"}
_COMMON_NAME = bytes.fromhex("550403")
_SIGNED_DATA = bytes.fromhex("2a864886f70d010702")
_LONGEST_NAME = 100
_MOST_CERTIFICATES = 32
# By SHA-256 of the certificate. Source:
# https://learn.microsoft.com/windows-hardware/manufacture/desktop/windows-secure-boot-key-creation-and-management-guidance
KNOWN = {
    "a1117f516a32cefcba3f2d1ace10a87972fd6bbe8fe0d0b996e09e65d802a503": "Microsoft Corporation KEK CA 2011",
    "3cd3f0309edae228767a976dd40d9f4affc4fbd5218f2e8cc3c9dd97e8ac6f9d": "Microsoft Corporation KEK 2K CA 2023",
    "48e99b991f57fc52f76149599bff0a58c47154229b9f8d603ac40d3500248507": "Microsoft Corporation UEFI CA 2011",
    "f6124e34125bee3fe6d79a574eaa7b91c0e7bd9d929c1a321178efd611dad901": "Microsoft UEFI CA 2023",
    "e5be3e64c6e66a281457ecdece0d6d0787577aad2a3a0144262c10c14ba8d8f1": "Microsoft Option ROM UEFI CA 2023",
    "e8e95f0733a55e8bad7be0a1413ee23c51fcea64b3c8fa6a786935fddcc71961": "Microsoft Windows Production PCA 2011",
    "076f1fea90ac29155ebf77c17682f75f1fdd1be196da302d8c461e350a9ae330": "Windows UEFI CA 2023",
}


@dataclass(frozen=True)
class Certificate:
    """A certificate: its name for people, the SHA-256 of its bytes, and the encoded names of itself and of who issued it."""

    name: str
    fingerprint: str
    subject: bytes
    issuer: bytes

    def __str__(self) -> str:
        known = KNOWN.get(self.fingerprint)
        return known or f"{self.name or 'without a name'} (SHA-256 {self.fingerprint[:16]}…)"


def read_certificate(data: bytes) -> Certificate:
    """Return a certificate.

    :param data: Its DER encoding, and nothing after it.
    :raises HardwareError: This is no certificate.
    """
    outer = list(_children(data))
    if len(outer) != 1 or outer[0][0] != _SEQUENCE:
        raise HardwareError("this is not a certificate")
    parts = list(_children(_first(outer[0][1], _SEQUENCE)))
    if parts and parts[0][0] == _CONTEXT_0:  # the version
        parts = parts[1:]
    if [tag for tag, _value in parts[:5]] != [_INTEGER, _SEQUENCE, _SEQUENCE, _SEQUENCE, _SEQUENCE]:
        raise HardwareError("this is not a certificate")
    issuer, subject = parts[2][1], parts[4][1]
    return Certificate(_common_name(subject), hashlib.sha256(data).hexdigest(), subject, issuer)


def certificates_of(signature: bytes) -> list[Certificate]:
    """Return the certificates that a PKCS #7 signature brings along, without those that cannot be read.

    :raises HardwareError: This is no such signature.
    """
    content = list(_children(_first(signature, _SEQUENCE)))
    if len(content) < 2 or content[0] != (_OID, _SIGNED_DATA) or content[1][0] != _CONTEXT_0:
        raise HardwareError("this is not a PKCS #7 signature")
    bundles = [value for tag, value in _children(_first(content[1][1], _SEQUENCE)) if tag == _CONTEXT_0]
    found = []
    for tag, value in list(_children(bundles[0]))[:_MOST_CERTIFICATES] if bundles else []:
        if tag == _SEQUENCE:
            with suppress(HardwareError):
                found.append(read_certificate(_encoded(tag, value)))
    return found


def _children(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and content of each value that stands in I(data)."""
    position = 0
    while position < len(data):
        if position + 2 > len(data):
            raise HardwareError("a value is cut off")
        tag, length = data[position], data[position + 1]
        position += 2
        if length & 0x80:
            count = length & 0x7F
            if not 1 <= count <= 4 or position + count > len(data):
                raise HardwareError("a length cannot be read")
            length = int.from_bytes(data[position : position + count], "big")
            position += count
        if length > len(data) - position:
            raise HardwareError("a value is longer than what it stands in")
        yield tag, data[position : position + length]
        position += length


def _first(data: bytes, tag: int) -> bytes:
    """Return the content of the first value, which must have a tag. What follows it, such as padding, is not looked at."""
    for found, value in _children(data):
        if found == tag:
            return value
        break
    raise HardwareError("a value is missing")


def _encoded(tag: int, value: bytes) -> bytes:
    """Return a value as it was encoded: DER has one way only."""
    if len(value) < 0x80:
        return bytes([tag, len(value)]) + value
    length = len(value).to_bytes((len(value).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + value


def _common_name(subject: bytes) -> str:
    for _tag, group in _children(subject):
        for _tag, pair in _children(group):
            values = list(_children(pair))
            if len(values) == 2 and values[0] == (_OID, _COMMON_NAME) and values[1][0] in _TEXTS:
                return printable(values[1][1].decode(_TEXTS[values[1][0]], errors="replace"), _LONGEST_NAME)
    return ""
