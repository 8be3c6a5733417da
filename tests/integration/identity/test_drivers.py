# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Drivers for a Windows that is not running, on a tree and on a real NTFS."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.hardware.dmi import Model
from ansible_collections.reimage.lab.plugins.module_utils.hardware.pci import from_id, pci_devices
from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.answers import from_options
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.drivers import RECORD, Installed, install
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.sysprep import inject
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.volume import Volume, mounted_windows
from Registry import Registry

from ...lab.windows import make_disk, make_tree
from ..loops import await_no_loop
from ..module import run
from .test_windows import CONFIG, digests

INFS = Path(__file__).parents[2] / "unit/plugins/module_utils/identity/infs"
DELL = Model(["Dell Inc."], ["OptiPlex 7090"], ["0A52"])
HP = Model(["HP"], ["HP EliteDesk 800 G6"], ["8711"])
INTEL = from_id(r"PCI\VEN_8086&DEV_15BC&SUBSYS_86721043&REV_10&CC_020000")
RAID = from_id(r"PCI\VEN_8086&DEV_2822&SUBSYS_86941043&REV_00&CC_010400")
STRANGE = from_id(r"PCI\VEN_1234&DEV_5678&SUBSYS_00011234&REV_01&CC_028000")
DEVICES = [INTEL, RAID, STRANGE]


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """Packs of two models, with files of no round size."""
    root = tmp_path / "packs"
    for folder, names in {
        "Dell Inc/OptiPlex 70*": {"Net/Intel": "e1d.inf", "Net/Realtek": "rt640x64.inf", "Storage": "iastorvd.inf"},
        "HP/8711": {"lan": "rt640x64.inf", "Net/Intel": "e1d.inf", "plain": "filter.inf"},
        "HP/HP EliteDesk 800 G6": {"lan": "rt640x64.inf", "audio": "hdaudio.inf"},
    }.items():
        for place, name in names.items():
            target = root / folder / place
            (target / "sub").mkdir(parents=True)
            data = (INFS / name).read_bytes().replace(b"\n", b"\r\n")
            (target / name).write_bytes(data.decode().encode("utf-16") if name == "iastorvd.inf" else data)
            (target / f"sub/{name[:4]}.sys").write_bytes(name.encode() * 300_001)
    (root / "Dell Inc/OptiPlex 70*/readme.txt").write_text("for the administrator")
    return root


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "volume")


def below(root: Path) -> set[str]:
    return {name for name in digests(root) if name.startswith("Drivers/")}


class TestInstall:
    def test_only_what_the_devices_need_is_copied_once(self, tree: Path, shelf: Path) -> None:
        before = digests(tree)
        result = install(Volume(tree), shelf, DELL, DEVICES)
        assert (result.changed, result.pack, result.folders) == (True, "Dell Inc/OptiPlex 70*", ["Net/Intel", "Storage"])
        files = {"Net/Intel/e1d.inf", "Net/Intel/sub/e1d..sys", "Storage/iastorvd.inf", "Storage/sub/iast.sys"}
        assert set(result.copied) == files
        assert below(tree) == {f"Drivers/{name}" for name in files} | {RECORD}
        for name in files:
            assert (tree / "Drivers" / name).read_bytes() == (shelf / result.pack / name).read_bytes()
        assert (result.files, result.size) == (4, sum((shelf / result.pack / name).stat().st_size for name in files))
        after = digests(tree)
        assert {name: after[name] for name in before} == before
        again = install(Volume(tree), shelf, DELL, DEVICES)
        assert (again.changed, again.copied, again.removed, again.files) == (False, [], [], 4)
        assert (again.before, again.after) == ("", "")
        assert digests(tree) == after

    def test_report(self, tree: Path, shelf: Path) -> None:
        result = install(Volume(tree), shelf, DELL, DEVICES)
        assert [(match.device, match.name, match.inf) for match in result.matched] == [
            (INTEL, r"PCI\VEN_8086&DEV_15BC", "Net/Intel/e1d.inf"),
            (RAID, r"PCI\VEN_8086&CC_0104", "Storage/iastorvd.inf"),
        ]
        assert result.unnamed == [STRANGE]
        assert STRANGE.description == "wireless network controller"

    def test_what_windows_itself_names_is_not_reported(self, tree: Path, shelf: Path) -> None:
        own = tree / "Windows/inf"
        own.mkdir()
        text = '[Version]\nClass=Net\n[Manufacturer]\nM=M,NTamd64\n[M.NTamd64]\n"x"=i,PCI\\VEN_1234&CC_0280\n'
        (own / "netstrange.inf").write_bytes(text.replace("\n", "\r\n").encode("utf-16"))
        (own / "aaa.inf").write_bytes(b"\xff\xfeP\0C\0I\0\\\0x")
        (own / "compressed.inf").symlink_to("unsupported reparse tag 0x80000017")
        assert install(Volume(tree), shelf, DELL, DEVICES).unnamed == []
        (own / "netstrange.inf").unlink()
        assert install(Volume(tree), shelf, DELL, DEVICES).unnamed == [STRANGE]

    def test_whole_pack(self, tree: Path, shelf: Path) -> None:
        result = install(Volume(tree), shelf, DELL, [], everything=True)
        assert (result.folders, result.files) == ([""], 7)
        assert (tree / "Drivers/readme.txt").exists()

    def test_another_model_takes_the_place_and_nothing_else(self, tree: Path, shelf: Path) -> None:
        (tree / "Drivers/Net").mkdir(parents=True)
        (tree / "Drivers/Net/own.inf").write_text("the master's own")
        install(Volume(tree), shelf, DELL, DEVICES)
        result = install(Volume(tree), shelf, HP, DEVICES)
        assert result.pack == "HP/HP EliteDesk 800 G6"
        assert set(result.removed) == {
            "Net/Intel/e1d.inf", "Net/Intel/sub/e1d..sys", "Storage/iastorvd.inf", "Storage/sub/iast.sys",
        }  # fmt: skip
        assert below(tree) == {"Drivers/Net/own.inf", "Drivers/audio/hdaudio.inf", "Drivers/audio/sub/hdau.sys", RECORD}
        assert not (tree / "Drivers/Storage").exists()
        assert not (tree / "Drivers/Net/Intel").exists()

    def test_file_that_differs_is_copied_again(self, tree: Path, shelf: Path) -> None:
        install(Volume(tree), shelf, DELL, DEVICES)
        file = tree / "Drivers/Net/Intel/e1d.inf"
        good = file.read_bytes()
        file.write_bytes(good[:-1] + b"x")
        result = install(Volume(tree), shelf, DELL, DEVICES)
        assert result.copied == ["Net/Intel/e1d.inf"]
        assert file.read_bytes() == good
        file.write_bytes(good * 2)
        install(Volume(tree), shelf, DELL, DEVICES)
        assert file.read_bytes() == good

    def test_what_an_interrupted_run_left_is_ours(self, tree: Path, shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        copy, copied = Volume.copy, []

        def interrupted(volume: Volume, source: Path, name: str) -> None:
            if len(copied) == 2:
                raise IdentityError("the network is gone")
            copied.append(name)
            copy(volume, source, name)

        with monkeypatch.context() as patch, pytest.raises(IdentityError, match="network"):
            patch.setattr(Volume, "copy", interrupted)
            install(Volume(tree), shelf, DELL, DEVICES)
        assert all((tree / name).exists() for name in copied)
        install(Volume(tree), shelf, HP, [])
        assert not any((tree / name).exists() for name in copied)

    def test_dry_run_writes_nothing_and_shows_what_it_would(self, tree: Path, shelf: Path) -> None:
        before = digests(tree)
        result = install(Volume(tree), shelf, DELL, DEVICES, dry_run=True)
        assert result.changed
        assert "Drivers/Net/Intel/e1d.inf, " in result.after
        assert digests(tree) == before

    def test_folders_in_capitals(self, tmp_path: Path, shelf: Path) -> None:
        root = make_tree(tmp_path / "v", names="upper")
        (root / "DRIVERS/NET").mkdir(parents=True)
        install(Volume(root), shelf, DELL, DEVICES)
        assert (root / "DRIVERS/NET/Intel/e1d.inf").exists()
        assert not install(Volume(root), shelf, DELL, DEVICES).changed

    def test_no_pack(self, tree: Path, shelf: Path) -> None:
        other = Model(["ACME"], ["PC"], [])
        before = digests(tree)
        result = install(Volume(tree), shelf, other, DEVICES)
        assert (result.changed, result.pack, result.unnamed) == (False, "", DEVICES)
        assert "no folder for this machine (vendor 'ACME'" in result.warnings[0]
        with pytest.raises(IdentityError, match="no folder for this machine"):
            install(Volume(tree), shelf, other, DEVICES, required=True)
        assert digests(tree) == before

    def test_pack_that_was_not_unpacked(self, tree: Path, shelf: Path) -> None:
        (shelf / "ACME/PC").mkdir(parents=True)
        (shelf / "ACME/PC/drivers.exe").touch()
        result = install(Volume(tree), shelf, Model(["ACME"], ["PC"]), DEVICES)
        assert (result.changed, "holds no INF" in result.warnings[0]) == (False, True)

    def test_inf_that_cannot_be_read_is_a_warning(self, tree: Path, shelf: Path) -> None:
        (shelf / "Dell Inc/OptiPlex 70*/Net/broken.inf").write_bytes(b"\xff\xfe[")
        result = install(Volume(tree), shelf, DELL, DEVICES)
        assert result.folders == ["Net/Intel", "Storage"]
        assert "Net/broken.inf" in result.warnings[0]

    def test_share_that_is_not_mounted(self, tree: Path, tmp_path: Path) -> None:
        with pytest.raises(IdentityError, match="mount the share"):
            install(Volume(tree), tmp_path / "nothing", DELL, DEVICES)

    def test_reparse_point_on_the_volume_is_never_followed(self, tree: Path, shelf: Path, tmp_path: Path) -> None:
        (tmp_path / "outside").mkdir()
        (tree / "Drivers").symlink_to(tmp_path / "outside")
        with pytest.raises(IdentityError, match="reparse point"):
            install(Volume(tree), shelf, DELL, DEVICES)
        assert list((tmp_path / "outside").iterdir()) == []

    @pytest.mark.parametrize("record", ["{", "[]", '{"files": [1]}', '{"files": 1}', '{"files": ["../Windows/notepad.exe"]}'])
    def test_record_that_is_not_ours_removes_nothing(self, tree: Path, shelf: Path, record: str) -> None:
        (tree / "Windows/notepad.exe").touch()
        (tree / "Drivers").mkdir()
        (tree / RECORD).write_text(record)
        before = digests(tree)
        with pytest.raises(IdentityError, match=r"not our record|out of the volume"):
            install(Volume(tree), shelf, DELL, DEVICES)
        assert digests(tree) == before

    def test_something_else_in_the_way(self, tree: Path, shelf: Path) -> None:
        (tree / "Drivers").touch()
        with pytest.raises(IdentityError, match="Drivers"):
            install(Volume(tree), shelf, DELL, DEVICES)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    make_disk(tmp_path / "w.raw")
    return tmp_path / "w.raw"


class TestDisk:
    def run(self, disk: Path, shelf: Path, model: Model = DELL) -> Installed:
        with mounted_windows(str(disk)) as (folder, _partition):
            return install(Volume(folder), shelf, model, DEVICES)

    def test_real_ntfs(self, disk: Path, shelf: Path) -> None:
        assert self.run(disk, shelf).changed
        assert not self.run(disk, shelf).changed
        with mounted_windows(str(disk), read_only=True) as (folder, _partition):
            name = "Net/Intel/sub/e1d..sys"
            assert (folder / "Drivers" / name).read_bytes() == (shelf / "Dell Inc/OptiPlex 70*" / name).read_bytes()

    def test_full_volume_is_refused_with_both_sizes_before_the_first_byte(self, disk: Path, shelf: Path) -> None:
        with (shelf / "Dell Inc/OptiPlex 70*/Storage/huge.bin").open("wb") as file:
            file.truncate(70 << 20)
        with pytest.raises(IdentityError, match=r"need \d{8} bytes on the Windows volume, and \d{8} are free"):
            self.run(disk, shelf)
        with mounted_windows(str(disk), read_only=True) as (folder, _partition):
            assert not (folder / "Drivers").exists()

    def test_what_is_replaced_makes_room(self, disk: Path, shelf: Path) -> None:
        """Twice the size would not fit."""
        for name in ("Dell Inc/OptiPlex 70*/Storage", "HP/HP EliteDesk 800 G6/audio"):
            with (shelf / name / "huge.bin").open("wb") as file:
                file.truncate(30 << 20)
        self.run(disk, shelf)
        result = self.run(disk, shelf, HP)
        assert "Storage/huge.bin" in result.removed
        assert "audio/huge.bin" in result.copied


class TestXp:
    @pytest.fixture
    def xp(self, tmp_path: Path) -> Path:
        return make_tree(tmp_path / "xp", build="2600", architecture="x86")

    def wanted(self) -> Any:
        return from_options({"computer_name": "PC-0042", "drivers": True})

    def device_path(self, root: Path) -> str:
        key = Registry.Registry(str(root / CONFIG / "SOFTWARE")).open(r"Microsoft\Windows\CurrentVersion")
        value = key.value("DevicePath")
        assert value.value_type_str() == "RegExpandSZ"
        return str(value.value())

    def test_every_folder_is_named(self, xp: Path, shelf: Path) -> None:
        pack = shelf / "Dell Inc/OptiPlex 70*"
        shutil.copytree(pack / "Net/Realtek", pack / "Net/Realtek/W2K")
        install(Volume(xp), shelf, DELL, [from_id(r"PCI\VEN_10EC&DEV_8167")])
        assert inject(Volume(xp), self.wanted()).changed
        lines = (xp / "Sysprep/sysprep.inf").read_bytes().split(b"\r\n")
        assert rb'OemPnPDriversPath="Drivers\Net\Realtek;Drivers\Net\Realtek\W2K"' in lines
        expected = [r"%SystemRoot%\inf", r"%SystemDrive%\Drivers\Net\Realtek", r"%SystemDrive%\Drivers\Net\Realtek\W2K"]
        assert self.device_path(xp).split(";") == expected
        before = digests(xp)
        assert not inject(Volume(xp), self.wanted()).changed
        assert digests(xp) == before

    def test_folders_of_an_earlier_model_leave_the_registry_again(self, xp: Path, shelf: Path) -> None:
        install(Volume(xp), shelf, DELL, [from_id(r"PCI\VEN_10EC&DEV_8167")])
        inject(Volume(xp), self.wanted())
        install(Volume(xp), shelf, Model(), [])
        inject(Volume(xp), self.wanted())
        assert self.device_path(xp) == r"%SystemRoot%\inf"

    @pytest.mark.parametrize(
        ("names", "said"), [(["x" * 200 + str(number) for number in range(30)], "4096"), (["a;b"], "semicolon")]
    )
    def test_what_xp_cannot_take_is_refused(self, xp: Path, names: list[str], said: str) -> None:
        for name in names:
            (xp / "Drivers" / name).mkdir(parents=True)
            (xp / "Drivers" / name / "x.inf").touch()
        before = digests(xp)
        with pytest.raises(IdentityError, match=said):
            inject(Volume(xp), self.wanted())
        assert digests(xp) == before


class TestModule:
    def test_disk(self, disk: Path, shelf: Path) -> None:
        options = {
            "disk": str(disk),
            "packs": str(shelf),
            "vendor": "Dell Inc.",
            "product": "OptiPlex 7090",
            "devices": [INTEL.ids[0], f"{STRANGE.ids[0]}&CC_028000"],
        }
        would, did = run("windows_drivers", check=True, **options), run("windows_drivers", **options)
        assert would == did
        assert (did["changed"], did["pack"], did["folders"], did["files"]) == (True, "Dell Inc/OptiPlex 70*", ["Net/Intel"], 2)
        assert did["bytes"] > 300_000
        assert did["matched"][0]["inf"] == "Net/Intel/e1d.inf"
        shown = {"id": STRANGE.ids[0], "address": "", "description": "wireless network controller"}
        assert did["unnamed_devices"] == [shown]
        again = run("windows_drivers", **options)
        assert (again["changed"], again["copied"], again["removed"], again["files"]) == (False, [], [], 2)
        await_no_loop(disk)

    def test_this_machine(self, tree: Path, shelf: Path) -> None:
        """Whatever it is: no pack here is for it."""
        options = {"path": str(tree), "packs": str(shelf)}
        result = run("windows_drivers", **options)
        assert (result["changed"], result["pack"], result["failed"]) == (False, "", False)
        assert len(result["unnamed_devices"]) == len(pci_devices())
        failed = run("windows_drivers", **options, required=True)
        assert failed["failed"] and "no folder for this machine" in failed["msg"]
