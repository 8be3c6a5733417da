# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hives at the limits of hivex, and damaged ones; read back with tools that are not ours."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows import hive_file, hives
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.regfile import Change
from regipy.registry import RegistryHive
from Registry import Registry

from ...lab.windows import make_hive

ONE: Change = Change("", values={"a": (4, b"\1\0\0\0")})


@pytest.fixture(scope="module")
def hive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("hive") / "SYSTEM"
    keys = {rf"Many\key {number}": {"number": number, "text": "x" * number} for number in range(60)}
    make_hive(path, {"Select": {"Current": 1}, "Setup": {"CmdLine": "oobe", "Type": 2}, **keys})
    return path.read_bytes()


def with_head(data: bytes, place: int, value: int) -> bytes:
    """Return a hive with another number in its head, and the checksum that goes with it."""
    head = bytearray(data)
    struct.pack_into("<I", head, place, value)
    checksum = 0
    for (word,) in struct.iter_unpack("<I", head[:508]):
        checksum ^= word
    struct.pack_into("<I", head, 508, checksum)
    return bytes(head)


def with_big_value(data: bytes) -> bytes:
    """Return a hive of version 1.5 whose value of 20,000 bytes, now 19,900, is in two blocks, as Windows writes it.

    :param data: The same hive of version 1.3, in which the value is in one cell.
    """
    new = bytearray(with_head(data, 24, 5))
    value = new.index(b"vk\3\0" + struct.pack("<I", 20000))
    struct.pack_into("<I", new, value + 4, 19900)
    (cell,) = struct.unpack_from("<I", new, value + 8)
    place = 4096 + cell
    (size,) = struct.unpack_from("<i", new, place)
    first, second = cell + 32, cell + 32 + hive_file.BIG + 8
    new[place : place - size] = bytes(-size)
    struct.pack_into("<i2sHI", new, place, -16, b"db", 2, cell + 16)
    struct.pack_into("<iII", new, place + 16, -16, first, second)
    struct.pack_into("<i", new, 4096 + first, -(hive_file.BIG + 8))
    struct.pack_into("<i", new, 4096 + second, size + 32 + hive_file.BIG + 8)
    return bytes(new)


def test_keys_are_in_the_order_of_windows_with_their_hashes(hive: bytes, tmp_path: Path) -> None:
    """Windows compares names in upper case, where the underscore follows the letters; hivex in lower case."""
    names = ["A_B", "AAB", "aab2", "Größe", "ärger", "Ästhetik", "日本", "Zuletzt"]
    new = hives.changed(hive, "SYSTEM", [(rf"Lab\{name}", ONE) for name in names])
    path = tmp_path / "SYSTEM"
    path.write_bytes(new)
    keys = [key.name() for key in Registry.Registry(str(path)).open("Lab").subkeys()]
    assert keys == ["AAB", "aab2", "A_B", "Größe", "Zuletzt", "ärger", "Ästhetik", "日本"]
    # regipy takes a name's Latin-1 for UTF-8
    assert [key.name for key in RegistryHive(str(path)).get_key(r"\Lab").iter_subkeys() if key.name.isascii()] == [
        key for key in keys if key.isascii()
    ]
    for name in names:
        # Source of the hash: M. Suhanov, "Windows registry file format specification", "Hash leaf".
        total = 0
        for letter in {"Größe": "GRÖßE"}.get(name, name.upper()):
            total = (total * 37 + ord(letter)) % (1 << 32)
        assert struct.pack("<I", total) in new, name


def test_names_that_differ_in_case_only_are_one_key(hive: bytes) -> None:
    new = hives.changed(hive, "SYSTEM", [("Größe", ONE)])
    again = hives.changed(new, "SYSTEM", [("GRÖßE", Change("", values={"A": (4, b"\2\0\0\0")}))])
    with hives.from_bytes(again, "SYSTEM") as opened:
        assert [name for name in opened.children("") if name.startswith("G")] == ["Größe"]
        assert opened.values("größe") == {"a": (4, b"\2\0\0\0")}


def test_big_values_are_refused_where_the_format_has_blocks_for_them(hive: bytes) -> None:
    big = Change("", values={"big": (3, bytes(hive_file.BIG + 1))})
    with pytest.raises(IdentityError, match=r"SYSTEM: Setup: the value 'big' has 16345 bytes.* at its first start"):
        hives.changed(hive, "SYSTEM", [("Setup", big)])
    assert hives.changed(hive, "SYSTEM", [("Setup", Change("", values={"big": (3, bytes(hive_file.BIG))}))])
    old = with_head(hive, 24, 3)  # such as SYSTEM, which stayed at 1.3 in Windows 2000
    with hives.from_bytes(hives.changed(old, "SYSTEM", [("Setup", big)]), "SYSTEM") as opened:
        assert opened.values("Setup")["big"] == (3, bytes(hive_file.BIG + 1))


def test_big_value_of_the_key_that_is_changed_stays(hive: bytes) -> None:
    """All values of a key are written anew: a neighbour of a big one must not be changed."""
    big = Change("", values={"big": (3, bytes(20000))})
    new = with_big_value(hives.changed(with_head(hive, 24, 3), "SYSTEM", [("Setup", big)]))
    with pytest.raises(IdentityError, match="the value 'big' has 19900 bytes"):
        hives.changed(new, "SYSTEM", [("Setup", ONE)])
    other = hives.changed(new, "SYSTEM", [("Select", ONE)])
    with hives.from_bytes(other, "SYSTEM") as opened:
        assert opened.values("Setup")["big"] == (3, bytes(19900))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("half", "is cut off: it should have"),
        ("head", "is cut off after 4096 bytes"),
        ("empty", "this is not a registry hive"),
        ("checksum", "the checksum of its head is wrong"),
        ("version", "version 2.5, type 0, are not supported"),
        ("bin", "there is no bin at byte 8192"),
    ],
)
def test_cut_or_damaged_head_is_refused_even_for_reading(hive: bytes, name: str, said: str) -> None:
    damaged = {
        "half": hive[: len(hive) // 2],
        "head": hive[:4096],
        "empty": b"",
        "checksum": hive[:100] + b"x" + hive[101:],
        "version": with_head(hive, 20, 2),
        "bin": hive[:8192] + b"X" + hive[8193:],
    }
    with pytest.raises(IdentityError, match=said), hives.from_bytes(damaged[name], "SYSTEM"):
        pass


@pytest.mark.parametrize("mark", [b"nk", b"vk", b"lh", b"sk"])
def test_damaged_cell_is_refused_before_anything_is_written(hive: bytes, mark: bytes) -> None:
    place = hive.index(mark, 4096)
    while struct.unpack_from("<i", hive, place - 4)[0] >= 0:
        place = hive.index(mark, place + 1)
    damaged = hive[:place] + b"zz" + hive[place + 2 :]
    with pytest.raises(IdentityError, match="SYSTEM: this registry hive is damaged"):
        hives.changed(damaged, "SYSTEM", [("Setup", ONE)])


def test_mutated_hives_end_in_a_change_or_in_one_clear_error(hive: bytes) -> None:
    """Fuzzing, with a fixed seed. A traceback, or an end of this process, is the fault looked for."""
    choice = random.Random(16)
    for _number in range(300):
        data = bytearray(hive)
        for _byte in range(choice.randint(1, 8)):
            data[choice.randrange(4096, len(data))] = choice.choice((0, 1, 0x7F, 0x80, 0xFF, choice.randrange(256)))
        try:
            new = hives.changed(bytes(data), "SYSTEM", [("Setup", ONE), (r"Many\key 7", Change("", delete=True))])
            with hives.from_bytes(new, "SYSTEM") as opened:
                assert opened.number("Setup", "a") == 1
        except IdentityError as error:
            assert str(error).startswith("SYSTEM")
