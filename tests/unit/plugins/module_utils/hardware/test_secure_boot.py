# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a firmware trusts is read right, from OVMF's own variables; what is damaged or hostile ends in one sentence."""

from __future__ import annotations

import random
import struct
import subprocess
import uuid
from contextlib import suppress
from pathlib import Path

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.hardware.certificates import (
    KNOWN,
    Certificate,
    certificates_of,
    read_certificate,
)
from ansible_collections.reimage.lab.plugins.module_utils.hardware.errors import HardwareError
from ansible_collections.reimage.lab.plugins.module_utils.hardware.secure_boot import SecureBoot, read_signatures, secure_boot
from ansible_collections.reimage.lab.plugins.module_utils.hardware.signatures import signers

VARIABLES = Path("/usr/share/OVMF/OVMF_VARS_4M.ms.fd")
GLOBAL, DATABASE = "8be4df61-93ca-11d2-aa0d-00e098032b8c", "d719b2cb-3d3a-4596-a3bc-dad00e67656f"
X509 = uuid.UUID("a5c059a1-94e4-4aa7-87b5-ab155c2bf072").bytes_le
BY_NAME = {name: Certificate(name, fingerprint, name.encode(), b"root") for fingerprint, name in KNOWN.items()}


def variable(name: str, owner: str) -> bytes:
    """Return a variable of OVMF's store. Source: EDK II, AUTHENTICATED_VARIABLE_HEADER; state 0x3f is valid."""
    store, wanted = VARIABLES.read_bytes(), f"{name}\0".encode("utf-16-le")
    header = struct.Struct("<HBBIQ16sIII16s")
    at = -1
    while (at := store.find(b"\xaa\x55\x3f", at + 1)) >= 0:
        *_rest, name_size, size, guid = header.unpack_from(store, at)
        start = at + header.size
        if guid == uuid.UUID(owner).bytes_le and store[start : start + name_size] == wanted:
            return store[start + name_size : start + name_size + size]
    raise AssertionError(name)


@pytest.fixture
def efivars(tmp_path: Path) -> Path:
    """Return a folder like the kernel's, of a PC with Secure Boot on and Microsoft's keys of 2011."""
    for name, owner in (("db", DATABASE), ("dbx", DATABASE), ("KEK", GLOBAL)):
        (tmp_path / f"{name}-{owner}").write_bytes(b"\x27\0\0\0" + variable(name, owner))
    (tmp_path / f"SecureBoot-{GLOBAL}").write_bytes(b"\6\0\0\0\1")
    (tmp_path / f"SetupMode-{GLOBAL}").write_bytes(b"\6\0\0\0\0")
    return tmp_path


def test_certificates_are_those_that_openssl_sees(efivars: Path) -> None:
    found = secure_boot(efivars)
    assert found is not None and found.enabled and not found.setup_mode and not found.problems
    assert [str(one) for one in found.db] == ["Microsoft Windows Production PCA 2011", "Microsoft Corporation UEFI CA 2011"]
    assert "Microsoft Corporation KEK CA 2011" in [str(one) for one in found.kek]
    database = variable("db", DATABASE)
    words = ["openssl", "x509", "-inform", "DER", "-noout", "-subject", "-fingerprint", "-sha256"]
    for one in found.db:  # each is in a list of its own, behind 28 bytes and its owner's 16
        size = struct.unpack_from("<I", database, 16)[0]
        said = subprocess.run(words, input=database[44:size], capture_output=True, check=True).stdout.decode()
        assert f"CN = {one.name}\n" in said
        assert one.fingerprint == said.split("Fingerprint=")[1].strip().replace(":", "").lower()
        database = database[size:]
    assert not database


def test_a_machine_without_secure_boot_has_none(tmp_path: Path) -> None:
    assert secure_boot(tmp_path) is None


def machine(db: str, kek: str, enabled: bool = True) -> SecureBoot:
    """Return a machine that trusts the certificates whose names hold one of some words."""
    chosen = [
        tuple(one for name, one in BY_NAME.items() if any(word in name for word in words.split("|"))) for words in (db, kek)
    ]
    return SecureBoot(enabled, False, *chosen)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (machine("UEFI CA 2011|PCA 2011", "KEK CA 2011"), []),
        (machine("UEFI CA 2023", "KEK"), []),
        (
            machine("Windows UEFI CA 2023", "KEK"),
            ["no current shim starts here"],
        ),  # a PC that trusts Microsoft's own programs alone
        (machine("Option ROM", "KEK"), ["no current shim starts here", "no Windows starts here"]),
        (machine("nothing", "nothing", enabled=False), []),
    ],
)
def test_report_says_what_does_not_start(found: SecureBoot, said: list[str]) -> None:
    assert len(found.warnings) == len(said)
    assert all(words in warning for words, warning in zip(said, found.warnings))


def test_a_program_is_trusted_by_its_own_certificate_or_its_issuer_unless_one_is_refused() -> None:
    authority = BY_NAME["Microsoft UEFI CA 2023"]
    leaf, other = Certificate("leaf", "1" * 64, b"leaf", authority.subject), Certificate("other", "2" * 64, b"other", b"nobody")
    found = SecureBoot(True, False, db=(authority,))
    assert found.trusts([leaf]) and found.trusts([other, authority])
    assert not found.trusts([other]) and not found.trusts([])
    assert not SecureBoot(True, False, db=(authority,), dbx=(authority,)).trusts([leaf])
    assert not SecureBoot(True, False, db=(authority,), dbx=(leaf,)).trusts([leaf])


@pytest.mark.parametrize(
    "data",
    [
        X509,
        X509 + struct.pack("<III", 0, 0, 0),  # would never end
        X509 + struct.pack("<III", 28, 0, 0),
        X509 + struct.pack("<III", 1 << 31, 0, 100),
        X509 + struct.pack("<III", 60, 1 << 31, 32) + bytes(32),
        X509 + struct.pack("<III", 60, 0, 31) + bytes(32),
    ],
)
def test_damaged_lists_are_named(data: bytes, efivars: Path) -> None:
    with pytest.raises(HardwareError):
        read_signatures(data)
    (efivars / f"db-{DATABASE}").write_bytes(bytes(4) + data)
    found = secure_boot(efivars)
    assert found is not None and found.warnings == list(found.problems) and "list db cannot be read" in found.problems[0]


def test_a_certificate_that_cannot_be_read_vouches_for_nothing() -> None:
    data = X509 + struct.pack("<III", 28 + 32, 0, 32) + bytes(16) + b"\x30\x84\xff\xff\xff\xff" + bytes(10)
    assert [one.name for one in read_signatures(data)] == ["unreadable"]


def test_a_certificate_that_cannot_be_read_does_not_hide_the_others_of_a_signature(efivars: Path) -> None:
    def value(tag: int, *parts: bytes) -> bytes:
        content = b"".join(parts)
        return bytes([tag, 0x84]) + len(content).to_bytes(4, "big") + content

    database = variable("db", DATABASE)
    real = database[44 : struct.unpack_from("<I", database, 16)[0]]
    bundle = value(0xA0, value(0x30, b"\2\1\1"), real)
    signature = value(0x30, b"\6\x09" + bytes.fromhex("2a864886f70d010702"), value(0xA0, value(0x30, b"\2\1\1", bundle)))
    assert certificates_of(signature) == [read_certificate(real)]


def test_no_byte_of_a_real_list_can_do_more_than_be_refused() -> None:
    real, chance = variable("db", DATABASE), random.Random(13)
    for _round in range(400):
        data = bytearray(real[: chance.randrange(len(real))] if chance.random() < 0.3 else real)
        for _byte in range(chance.randrange(1, 6)):
            if data:
                data[chance.randrange(len(data))] = chance.choice((0, 0x30, 0x80, 0x84, 0xFF, chance.randrange(256)))
        with suppress(HardwareError):
            read_signatures(bytes(data))


@pytest.mark.parametrize(
    "data", [b"", b"\x30", b"\x30\x80", b"\x30\x84\xff\xff\xff\xff", b"\x30\0", b"\x30\3\2\1\1", b"\x04\1a" * 3]
)
def test_what_is_no_certificate_is_refused(data: bytes) -> None:
    with pytest.raises(HardwareError):
        read_certificate(data)


@pytest.mark.parametrize("program", [b"", b"MZ", b"MZ" + bytes(100), b"MZ" + bytes(58) + b"\xff\xff\xff\xff", b"#!/bin/sh\n"])
def test_what_is_no_program_is_refused(program: bytes) -> None:
    with pytest.raises(HardwareError, match="not a program for UEFI"):
        signers(program)
