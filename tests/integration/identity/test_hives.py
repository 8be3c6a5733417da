# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hives at the limits of hivex, and damaged ones; read back with tools that are not ours."""

from __future__ import annotations

import random
import struct
import subprocess
from pathlib import Path

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows import hive_file, hive_log, hives
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.regfile import Change
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.registry import export, merge
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.volume import CONFIG, Volume
from regipy.recovery import apply_transaction_logs
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
    opened = hives.Hive(again, "SYSTEM")
    assert [name for name in opened.children("") if name.startswith("G")] == ["Größe"]
    assert opened.values("größe") == {"a": (4, b"\2\0\0\0")}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"key 30", b"KEY 31", "holds 'KEY 31' twice"),
        (b"key 30", b"key 39", "is not in order: 'KEY 39' stands before 'KEY 31'"),
        (b"Setup", b"Alpha", "is not in order: 'SELECT' stands before 'ALPHA'"),
    ],
)
def test_keys_that_windows_would_find_by_chance_are_refused(
    hive: bytes, tmp_path: Path, old: bytes, new: bytes, said: str
) -> None:
    """They are found wherever they stand: the key that is changed is another one."""
    assert hive.count(old) == 1
    file = tmp_path / CONFIG / "SYSTEM"
    file.parent.mkdir(parents=True)
    file.write_bytes(hive.replace(old, new))
    with pytest.raises(IdentityError, match=f"the key '.*' {said}: on the master, export that key"):
        merge(Volume(tmp_path), [Change(r"HKLM\SYSTEM\Lab", values={"a": (4, bytes(4))})])
    assert file.read_bytes() == hive.replace(old, new)


def test_letters_are_compared_as_windows_does(tmp_path: Path) -> None:
    """The table is the one that mkntfs puts on a volume for Windows. Letters of later Unicodes are beyond it."""
    volume = tmp_path / "volume"
    with volume.open("wb") as file:
        file.truncate(4 << 20)
    subprocess.run(["mkntfs", "-F", "-Q", "-q", str(volume)], check=True, capture_output=True)
    table = subprocess.run(["ntfscat", "-i", "10", str(volume)], check=True, capture_output=True).stdout
    units = struct.unpack("<65536H", table)
    later = {*range(0x23F, 0x370), 0x3F3, *range(0x525, 0x600), *range(0x1000, 0x10000)}
    wrong = [chr(unit) for unit in range(65536) if ord(hive_file.upper(chr(unit))) != units[unit]]
    assert [letter for letter in wrong if units[ord(letter)] != ord(letter)] == []
    assert [letter for letter in wrong if ord(letter) not in later] == []


def test_big_values_are_refused_where_the_format_has_blocks_for_them(hive: bytes) -> None:
    big = Change("", values={"big": (3, bytes(hive_file.BIG + 1))})
    with pytest.raises(IdentityError, match=r"SYSTEM: Setup: the value 'big' has 16345 bytes.* at its first start"):
        hives.changed(hive, "SYSTEM", [("Setup", big)])
    assert hives.changed(hive, "SYSTEM", [("Setup", Change("", values={"big": (3, bytes(hive_file.BIG))}))])
    old = with_head(hive, 24, 3)  # such as SYSTEM, which stayed at 1.3 in Windows 2000
    opened = hives.Hive(hives.changed(old, "SYSTEM", [("Setup", big)]), "SYSTEM")
    assert opened.values("Setup")["big"] == (3, bytes(hive_file.BIG + 1))


def test_big_value_of_the_key_that_is_changed_stays(hive: bytes) -> None:
    """All values of a key are written anew: a neighbour of a big one must not be changed."""
    big = Change("", values={"big": (3, bytes(20000))})
    new = with_big_value(hives.changed(with_head(hive, 24, 3), "SYSTEM", [("Setup", big)]))
    with pytest.raises(IdentityError, match="the value 'big' has 19900 bytes"):
        hives.changed(new, "SYSTEM", [("Setup", ONE)])
    other = hives.changed(new, "SYSTEM", [("Select", ONE)])
    opened = hives.Hive(other, "SYSTEM")
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
    with pytest.raises(IdentityError, match=said):
        hives.Hive(damaged[name], "SYSTEM")


@pytest.mark.parametrize("mark", [b"nk", b"vk", b"lh", b"sk"])
def test_damaged_cell_is_refused_before_anything_is_written(hive: bytes, mark: bytes) -> None:
    place = hive.index(mark, 4096)
    while struct.unpack_from("<i", hive, place - 4)[0] >= 0:
        place = hive.index(mark, place + 1)
    damaged = hive[:place] + b"zz" + hive[place + 2 :]
    with pytest.raises(IdentityError, match="SYSTEM: this registry hive is damaged"):
        hives.changed(damaged, "SYSTEM", [("Setup", ONE)])


def test_export_of_a_key_that_is_in_itself_ends(hive: bytes, tmp_path: Path) -> None:
    key = hive.index(b"Many") - 76 - 4 - 4096
    (keys,) = struct.unpack_from("<I", hive, 4096 + key + 4 + 28)
    data = bytearray(hive)
    struct.pack_into("<I", data, 4096 + keys + 8, key)
    (tmp_path / CONFIG).mkdir(parents=True)
    (tmp_path / CONFIG / "SYSTEM").write_bytes(data)
    with pytest.raises(IdentityError, match=r"SYSTEM: this registry hive is damaged: .* has keys that are in themselves"):
        export(Volume(tmp_path), [r"HKLM\SYSTEM\Many"])


def test_mutated_hives_end_in_a_change_or_in_one_clear_error(hive: bytes) -> None:
    """Fuzzing, with a fixed seed. A traceback, or an end of this process, is the fault looked for."""
    choice = random.Random(16)
    for _number in range(300):
        data = bytearray(hive)
        for _byte in range(choice.randint(1, 8)):
            data[choice.randrange(4096, len(data))] = choice.choice((0, 1, 0x7F, 0x80, 0xFF, choice.randrange(256)))
        try:
            new = hives.changed(bytes(data), "SYSTEM", [("Setup", ONE), (r"Many\key 7", Change("", delete=True))])
            assert hives.Hive(new, "SYSTEM").number("Setup", "a") == 1
        except IdentityError as error:
            assert str(error).startswith("SYSTEM")


class TestLogs:
    """Dirty hives. The oracle is regipy, whose own hash of entries is none: ours was compared with that of real logs."""

    @pytest.fixture
    def later(self, hive: bytes) -> bytes:
        """The hive as it should be after its logs."""
        many = Change("", values={f"value {number}": (3, bytes([number]) * 100) for number in range(200)})
        return hives.changed(hive, "SYSTEM", [("Setup", ONE), ("Later", many)])

    @staticmethod
    def pages(old: bytes, new: bytes, length: int) -> list[tuple[int, bytes]]:
        """Return where, behind the head, two hives differ, and what the new one has there."""
        places = range(0, len(new) - 4096, length)
        found = [(place, new[4096 + place : 4096 + place + length]) for place in places]
        return [(place, page) for place, page in found if old[4096 + place : 4096 + place + length] != page]

    @staticmethod
    def head(new: bytes, kind: int, number: int) -> bytes:
        head = with_head(with_head(with_head(new, 28, kind), 4, number), 8, number)
        return head[:512]

    def log(self, old: bytes, new: bytes, number: int) -> bytes:
        """Return a log of Windows 8.1 or later with one entry."""
        pages = self.pages(old, new, 4096)
        body = b"".join(struct.pack("<II", place, len(page)) for place, page in pages) + b"".join(page for _place, page in pages)
        body += bytes(-(len(body) + 40) % 512)
        size = struct.unpack_from("<I", new, 40)[0]
        start = struct.pack("<4sIIIII", b"HvLE", 40 + len(body), 0, number, size, len(pages))
        start += struct.pack("<Q", hive_log.marvin32(body))
        return self.head(new, 6, number) + start + struct.pack("<Q", hive_log.marvin32(start)) + body

    def dirty(self, hive: bytes, number: int = 7) -> bytes:
        return with_head(with_head(hive, 4, number + 1), 8, number)

    def test_hash_of_an_entry(self) -> None:
        assert hive_log.marvin32(bytes(range(32))) == 0xC64FEEE425C2E24C  # of yarp

    def test_entries_are_replayed_as_regipy_does(self, hive: bytes, later: bytes, tmp_path: Path) -> None:
        # regipy does not let a hive grow, so that it has its room already
        data, log = self.dirty(hive).ljust(len(later), b"\0"), self.log(hive, later, 7)
        (tmp_path / "SYSTEM").write_bytes(data)
        (tmp_path / "LOG1").write_bytes(log)
        apply_transaction_logs(str(tmp_path / "SYSTEM"), str(tmp_path / "LOG1"), restored_hive_path=str(tmp_path / "restored"))
        replayed = hives.Hive(data, "SYSTEM", logs=[log])
        assert replayed.data[4096:] == (tmp_path / "restored").read_bytes()[4096:] == later[4096:]
        assert replayed.number("Setup", "a") == 1
        assert not hive_log.is_dirty(replayed.data)
        changed = hives.changed(data, "SYSTEM", [("Setup", Change("", values={"b": (4, bytes(4))}))], [log])
        assert hives.Hive(changed, "SYSTEM").values("Later") == replayed.values("Later")

    @pytest.mark.parametrize("swapped", [False, True])
    def test_second_log_follows_the_first_whichever_it_is(self, hive: bytes, later: bytes, swapped: bool) -> None:
        last = hives.changed(later, "SYSTEM", [("Last", ONE)])
        logs = [self.log(hive, later, 7), self.log(later, last, 8)]
        found = hives.Hive(self.dirty(hive), "SYSTEM", logs=logs[::-1] if swapped else logs)
        assert found.data[4096:] == last[4096:]

    def test_head_that_is_damaged_is_taken_from_the_log(self, hive: bytes, later: bytes) -> None:
        data = hive[:100] + b"damage" + hive[106:]
        assert hives.Hive(data, "SYSTEM", logs=[self.log(hive, later, 7)]).data[4096:] == later[4096:]

    def test_log_of_windows_7(self, hive: bytes, later: bytes, tmp_path: Path) -> None:
        pages = self.pages(hive, later, 512)
        bitmap = bytearray((len(later) - 4096) // 4096)
        for place, _page in pages:
            bitmap[place // 4096] |= 1 << place // 512 % 8
        vector = b"DIRT" + bitmap
        log = self.head(later, 1, 7) + vector + bytes(-len(vector) % 512) + b"".join(page for _place, page in pages)
        assert hives.Hive(self.dirty(hive), "SYSTEM", logs=[b"", log]).data[4096:] == later[4096:]

    @pytest.mark.parametrize("fault", ["none", "cut", "old", "byte", "empty"])
    def test_log_that_does_not_fit_is_refused(self, hive: bytes, later: bytes, fault: str) -> None:
        log = self.log(hive, later, 5 if fault == "old" else 7)
        log = {"none": log[:512], "cut": log[:-512], "byte": log[:-600] + b"x" + log[-599:], "empty": b""}.get(fault, log)
        with pytest.raises(IdentityError, match="SYSTEM: this hive is dirty: Windows did not finish"):
            hives.Hive(self.dirty(hive), "SYSTEM", logs=[log])

    def test_mutated_logs_end_in_a_hive_or_in_one_clear_error(self, hive: bytes, later: bytes) -> None:
        choice = random.Random(16)
        log = self.log(hive, later, 7)
        for _number in range(100):
            data = bytearray(log)
            data[choice.randrange(1024)] = choice.randrange(256)
            try:
                hives.Hive(self.dirty(hive), "SYSTEM", logs=[bytes(data)])
            except IdentityError as error:
                assert str(error).startswith("SYSTEM")

    def test_logs_on_a_volume_are_found(self, hive: bytes, later: bytes, tmp_path: Path) -> None:
        config = tmp_path / CONFIG
        config.mkdir(parents=True)
        (config / "SYSTEM").write_bytes(self.dirty(hive))
        (config / "system.log2").write_bytes(self.log(hive, later, 7))
        changes = [Change(r"HKLM\SYSTEM\Setup", values={"b": (4, bytes(4))})]
        assert merge(Volume(tmp_path), changes).hives == [f"{CONFIG}/SYSTEM"]
        key = Registry.Registry(str(config / "SYSTEM")).open("Setup")
        assert sorted(value.name() for value in key.values()) == ["CmdLine", "Type", "a", "b"]
        assert merge(Volume(tmp_path), changes).hives == []
