# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The choice of a driver pack by model, and of what is needed of it by device."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.hardware.dmi import Model
from ansible_collections.reimage.lab.plugins.module_utils.hardware.pci import from_id
from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.inf import Target
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.packs import choose, read

INFS = Path(__file__).parent / "infs"
WINDOWS = Target("amd64", (10, 0, 22631))
DELL = Model(["Dell Inc."], ["OptiPlex 7090", "0J37VM"], ["0A52", "0J37VM"])
LENOVO = Model(["LENOVO"], ["20XWS0AB00", "ThinkPad X1 Carbon Gen 9"], ["LENOVO_MT_20XW"])


def make(root: Path, *folders: str) -> Path:
    for folder in folders:
        (root / folder).mkdir(parents=True)
    return root


def chosen(root: Path, model: Model = DELL) -> str:
    found = choose(root, model)
    return found.relative_to(root).as_posix() if found else ""


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (["Dell Inc./OptiPlex 7090", "Dell Inc./OptiPlex*", "Dell Inc./_any"], "Dell Inc./OptiPlex 7090"),
        (["dell inc/optiplex 7090"], "dell inc/optiplex 7090"),
        (["Dell*/OptiPlex 7090", "Dell Inc/_any"], "Dell Inc/_any"),
        (["Dell Inc/OptiPlex 70?0", "Dell Inc/_any", "_any/OptiPlex 7090"], "Dell Inc/OptiPlex 70?0"),
        (["Dell Inc/OptiPlex [57]0[0-9]0"], "Dell Inc/OptiPlex [57]0[0-9]0"),
        (["Dell Inc/Latitude", "_any/_any"], "_any/_any"),
        (["Dell Inc/Latitude", "HP/OptiPlex 7090"], ""),
        (["Dell Inc/0J37VM", "Dell Inc/OptiPlex 7090"], "Dell Inc/OptiPlex 7090"),
        (["Dell Inc/0J37VM", "Dell Inc/OptiPlex*"], "Dell Inc/0J37VM"),
        (["Dell Inc/OptiPlex 7090/0a52", "Dell Inc/OptiPlex 7090/0A*"], "Dell Inc/OptiPlex 7090/0a52"),
        (["Dell Inc/OptiPlex 7090/0B00", "Dell Inc/OptiPlex 7090/_any"], "Dell Inc/OptiPlex 7090/_any"),
        (["Dell Inc/OptiPlex 7090/net", "Dell Inc/OptiPlex 7090/video"], "Dell Inc/OptiPlex 7090"),
        ([".snapshot/OptiPlex 7090"], ""),
    ],
)
def test_most_specific_folder_wins(tmp_path: Path, folders: list[str], expected: str) -> None:
    assert chosen(make(tmp_path, *folders)) == expected


def test_lenovo_by_the_start_of_its_number_or_by_its_name(tmp_path: Path) -> None:
    assert chosen(make(tmp_path, "Lenovo/20XW*"), LENOVO) == "Lenovo/20XW*"
    assert chosen(make(tmp_path, "Lenovo/ThinkPad X1 Carbon Gen 9"), LENOVO) == "Lenovo/ThinkPad X1 Carbon Gen 9"


@pytest.mark.parametrize("name", ["../../etc", "..", "/", "a/b", "*", "[", "_ANY", "\0"])
def test_what_a_machine_says_of_itself_is_only_compared(tmp_path: Path, name: str) -> None:
    make(tmp_path, "packs/Dell Inc/OptiPlex 7090", "packs/_any/_any")
    assert chosen(tmp_path / "packs", Model([name], [name], [name])) == "_any/_any"


def test_characters_that_no_folder_can_have(tmp_path: Path) -> None:
    assert chosen(make(tmp_path, "ACME/PC 5_6_ Pro"), Model(["ACME"], ["PC 5/6:  Pro "])) == "ACME/PC 5_6_ Pro"


def test_machine_that_says_nothing_gets_the_fallback(tmp_path: Path) -> None:
    assert chosen(make(tmp_path, "_any/_any", "Dell Inc/*"), Model()) == "_any/_any"


def test_ambiguity_names_both(tmp_path: Path) -> None:
    make(tmp_path, "Dell Inc/OptiPlex*", "Dell Inc/Opti*90")
    with pytest.raises(IdentityError, match=r"Opti\*90 and .*OptiPlex\* fit this machine \(vendor 'Dell Inc.'"):
        choose(tmp_path, DELL)


def test_share_that_is_not_mounted(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="nothing: this is not a folder: mount the share"):
        choose(tmp_path / "nothing", DELL)


def test_link_between_models_and_link_out(tmp_path: Path) -> None:
    make(tmp_path, "packs/Dell Inc/OptiPlex 7080", "else")
    link = tmp_path / "packs/Dell Inc/OptiPlex 7090"
    link.symlink_to("OptiPlex 7080")
    assert chosen(tmp_path / "packs") == "Dell Inc/OptiPlex 7090"
    link.unlink()
    link.symlink_to(tmp_path / "else")
    with pytest.raises(IdentityError, match="leads out"):
        choose(tmp_path / "packs", DELL)


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    for folder, name in {
        "net/intel/x64": "e1d.inf",
        "net/realtek": "rt640x64.inf",
        "storage": "iastorvd.inf",
        "audio": "hdaudio.inf",
        "filter": "filter.inf",
        "xp": "netxp.inf",
    }.items():
        (tmp_path / folder / "sub").mkdir(parents=True)
        shutil.copy(INFS / name, tmp_path / folder / name.upper())
        (tmp_path / folder / "sub/driver.sys").write_bytes(name.encode())
    (tmp_path / "readme.txt").write_text("read me")
    (tmp_path / "autorun.inf").write_text("[autorun]\nopen=setup.exe\n")
    return tmp_path


def test_only_what_is_needed(pack: Path) -> None:
    found = read(pack, WINDOWS)
    assert found.unreadable == []
    folders = found.needed([from_id(r"PCI\VEN_8086&DEV_15BC&SUBSYS_86721043&REV_10")])
    assert folders == ["audio", "filter", "net/intel/x64"]
    assert found.below(folders)[-2:] == ["net/intel/x64/E1D.INF", "net/intel/x64/sub/driver.sys"]
    assert len(found.below(folders)) == 6
    assert found.needed([]) == ["audio", "filter"]
    assert "readme.txt" in found.below([""])


def test_folder_within_a_needed_folder_is_not_listed_twice(pack: Path) -> None:
    shutil.copy(INFS / "filter.inf", pack / "net/filter.inf")
    assert read(pack, WINDOWS).needed([from_id(r"PCI\VEN_8086&DEV_15BC")]) == ["audio", "filter", "net"]
    shutil.copy(INFS / "filter.inf", pack / "filter.inf")
    assert read(pack, WINDOWS).needed([]) == [""]


def test_inf_that_cannot_be_read_is_named_and_skipped(pack: Path) -> None:
    (pack / "net/realtek/broken.inf").write_bytes(b"\xff\xfe[")
    found = read(pack, WINDOWS)
    assert len(found.unreadable) == 1
    assert "net/realtek/broken.inf" in found.unreadable[0]
    assert found.needed([from_id(r"PCI\VEN_10EC&DEV_8168&REV_15")]) == ["audio", "filter", "net/realtek"]


@pytest.mark.parametrize("name", ["aux.sys", "a:b", "dot.", "a?"])
def test_name_that_windows_cannot_have_is_refused(pack: Path, name: str) -> None:
    (pack / "net" / name).touch()
    with pytest.raises(IdentityError, match="Windows cannot have a file of this name"):
        read(pack, WINDOWS)


def test_names_that_differ_in_case_and_links_are_refused(pack: Path) -> None:
    (pack / "net/Intel").mkdir()
    with pytest.raises(IdentityError, match="differ in their case only"):
        read(pack, WINDOWS)
    (pack / "net/Intel").rmdir()
    (pack / "net/shadow").symlink_to("/etc/shadow")
    with pytest.raises(IdentityError, match="net/shadow: this is a link"):
        read(pack, WINDOWS)
