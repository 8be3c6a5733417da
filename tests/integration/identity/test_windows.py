# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The identity of a Windows that is not running, on a tree and on a disk like its own; read back with tools that are not ours."""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import os
import struct
import subprocess
import uuid
from pathlib import Path
from typing import Any, Iterator

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems import ntfs
from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError
from ansible_collections.reimage.lab.plugins.module_utils.identity.partition import Partition, partitions
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows import regfile
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.answers import Answers, from_options
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.inspect import inspect
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.registry import export, in_default_profile, merge
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.sysprep import inject
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.volume import (
    Volume,
    mounted_windows,
    read_file,
    write_file,
)
from regipy.registry import RegistryHive
from Registry import Registry

from ...lab.windows import attached, encode, make_disk, make_hive, make_tree, ntfs_volume
from ..loops import await_no_loop
from ..module import run

PASSWORD = "correct horse"
CONFIG = "Windows/System32/config"
LANGUAGE = ("UILanguage", "SystemLocale", "UserLocale", "InputLocale")
TEMPLATE = """<?xml version="1.0" encoding="utf-8"?>
<!-- ours -->
<unattend xmlns="urn:schemas-microsoft-com:unattend" xmlns:wcm="http://schemas.microsoft.com/WMIConfig/2002/State">
  <settings pass="specialize" wasPassProcessed="true">
    <component name="Microsoft-Windows-Shell-Setup" processorArchitecture="amd64" publicKeyToken="31bf3856ad364e35"
        language="neutral" versionScope="nonSxS">
      <ComputerName>*</ComputerName><RegisteredOwner>Schule München</RegisteredOwner>
    </component>
  </settings>
  <settings pass="oobeSystem">
    <component name="Microsoft-Windows-Shell-Setup" processorArchitecture="amd64" publicKeyToken="31bf3856ad364e35"
        language="neutral" versionScope="nonSxS"><OOBE><ProtectYourPC>1</ProtectYourPC></OOBE></component>
  </settings>
</unattend>
"""


def answers(**more: Any) -> Answers:
    account = {"name": "technician", "password": PASSWORD}
    return from_options({"computer_name": "PC-0042", "accounts": [account], "time_zone": "W. Europe Standard Time", **more})


def digests(root: Path) -> dict[str, str]:
    files = [path for path in root.rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def xpath(file: Path, expression: str) -> str:
    done = subprocess.run(["xmllint", "--xpath", f"string({expression})", file], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def at(settings: str, component: str, *names: str) -> str:
    """Return an XPath that ignores namespaces."""
    path = f"//*[local-name()='settings'][@pass='{settings}']/*[@name='Microsoft-Windows-{component}']"
    return path + "".join(f"/*[local-name()='{name}']" for name in names)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "volume")


class TestInspect:
    def test_generalized(self, tree: Path) -> None:
        found = inspect(Volume(tree))
        assert (found.build, found.edition, found.architecture, found.control_set) == (
            22631,
            "Professional",
            "amd64",
            "ControlSet001",
        )
        assert (found.language, found.flavour, found.generalized, found.problems) == ("de-DE", "unattend", True, [])

    def test_not_generalized_says_why(self, tmp_path: Path) -> None:
        found = inspect(Volume(make_tree(tmp_path / "v", generalized=False)))
        assert not found.generalized
        assert "sysprep /generalize /oobe" in found.problems[0]
        assert "a package is in the way" in found.problems[0]

    def test_each_mark_counts(self, tree: Path) -> None:
        (tree / "Windows/System32/Sysprep/Sysprep_succeeded.tag").unlink()
        found = inspect(Volume(tree))
        assert (found.generalized, found.markers["tag"], found.markers["image_state"]) == (False, False, True)
        assert "missing: tag" in found.problems[0]

    def test_audit_mode_has_its_own_message(self, tmp_path: Path) -> None:
        state = "IMAGE_STATE_GENERALIZE_RESEAL_TO_AUDIT"
        assert "/audit" in inspect(Volume(make_tree(tmp_path / "v", state=state))).problems[0]

    @pytest.mark.parametrize("options", [{"current": 2}, {"names": "upper"}, {"build": "7601"}, {"architecture": "ARM64"}])
    def test_second_control_set_capitals_windows_7_and_arm(self, tmp_path: Path, options: dict[str, Any]) -> None:
        found = inspect(Volume(make_tree(tmp_path / "v", **options)))
        assert found.generalized
        assert found.control_set == f"ControlSet00{options.get('current', 1)}"
        assert found.architecture == options.get("architecture", "AMD64").lower()

    def test_windows_xp(self, tmp_path: Path) -> None:
        found = inspect(Volume(make_tree(tmp_path / "v", build="2600", architecture="x86")))
        assert (found.flavour, found.generalized) == ("sysprep_inf", True)

    def test_dirty_hive_is_refused(self, tree: Path) -> None:
        with (tree / CONFIG / "SYSTEM").open("r+b") as file:
            file.seek(4)
            file.write(b"\x09")
        with pytest.raises(IdentityError, match="SYSTEM: this hive is dirty"):
            inspect(Volume(tree))

    def test_no_windows(self, tmp_path: Path) -> None:
        with pytest.raises(IdentityError, match="not a Windows volume"):
            Volume(tmp_path)

    def test_names_that_differ_in_case_only_are_refused(self, tree: Path) -> None:
        (tree / "WINDOWS").mkdir()
        with pytest.raises(IdentityError, match="differ in their case only"):
            Volume(tree)


class TestInject:
    def test_everything_declared_is_in_the_answer_file(self, tree: Path) -> None:
        wanted = answers(
            locale="de-DE",
            product_key="aaaaa-bbbbb-ccccc-ddddd-eeeee",
            join={"domain": "lab.test", "ou": "OU=Lab,DC=lab,DC=test", "username": "joiner", "password": "s3cret"},
            interfaces=[
                {"mac": "52:54:00:00:00:01", "addresses": ["192.0.2.7/24"], "gateway": "192.0.2.1", "dns": ["192.0.2.2"]}
            ],
            auto_logon={"account": "technician", "count": 2},
            first_logon_commands=["cmd /c echo Grüße"],
            specialize_commands=["cmd /c ver"],
            drivers=True,
        )
        result = inject(Volume(tree), wanted)
        assert result.changed
        file = tree / "Windows/Panther/unattend.xml"
        assert file.read_bytes().isascii()
        assert b"<!--" not in file.read_bytes()
        subprocess.run(["xmllint", "--noout", file], check=True)
        for path, value in {
            at("specialize", "Shell-Setup", "ComputerName"): "PC-0042",
            at("specialize", "Shell-Setup", "TimeZone"): "W. Europe Standard Time",
            at("specialize", "Shell-Setup", "ProductKey"): "AAAAA-BBBBB-CCCCC-DDDDD-EEEEE",
            at("specialize", "UnattendedJoin", "Identification", "JoinDomain"): "lab.test",
            at("specialize", "UnattendedJoin", "Identification", "MachineObjectOU"): "OU=Lab,DC=lab,DC=test",
            at("specialize", "UnattendedJoin", "Identification", "Credentials", "Password"): "s3cret",
            at("specialize", "TCPIP", "Interfaces", "Interface", "Identifier"): "52-54-00-00-00-01",
            at("specialize", "TCPIP", "Interfaces", "Interface", "UnicastIpAddresses", "IpAddress"): "192.0.2.7/24",
            at("specialize", "TCPIP", "Interfaces", "Interface", "Routes", "Route", "NextHopAddress"): "192.0.2.1",
            at("specialize", "DNS-Client", "Interfaces", "Interface", "DNSServerSearchOrder", "IpAddress"): "192.0.2.2",
            at("oobeSystem", "International-Core", "UILanguage"): "de-DE",
            at("oobeSystem", "Shell-Setup", "AutoLogon", "LogonCount"): "2",
            at("oobeSystem", "Shell-Setup", "FirstLogonCommands", "SynchronousCommand", "CommandLine"): "cmd /c echo Grüße",
            at("oobeSystem", "Shell-Setup", "UserAccounts", "LocalAccounts", "LocalAccount", "Name"): "technician",
            at("oobeSystem", "Shell-Setup", "OOBE", "ProtectYourPC"): "3",
            at("oobeSystem", "Shell-Setup") + "/@processorArchitecture": "amd64",
        }.items():
            assert xpath(file, path) == value
        commands = file.read_text()
        assert "pnputil" in commands
        assert "PreventDeviceEncryption" in commands
        assert "reimage-remoting" in commands
        assert "5986" in (tree / "Windows/Setup/Scripts/reimage-remoting.ps1").read_text()

    def test_second_run_changes_no_byte(self, tree: Path) -> None:
        inject(Volume(tree), answers())
        before = digests(tree)
        again = inject(Volume(tree), answers())
        assert (again.changed, again.files) == (False, [])
        assert digests(tree) == before

    def test_dry_run_writes_nothing_and_its_diff_has_no_secret(self, tree: Path) -> None:
        before = digests(tree)
        wanted = answers(join={"domain": "lab.test", "username": "joiner", "password": "s3cret"})
        result = inject(Volume(tree), wanted, dry_run=True)
        assert result.changed
        assert digests(tree) == before
        assert "PC-0042" in result.after
        for secret in (PASSWORD, "s3cret"):
            assert secret not in result.before + result.after
        inject(Volume(tree), wanted)
        shown = inject(Volume(tree), answers(), dry_run=True)
        assert "s3cret" not in shown.before + shown.after

    def test_only_what_was_meant_changed(self, tree: Path) -> None:
        (tree / "Windows/notepad.exe").write_bytes(b"MZ")
        before = digests(tree)
        result = inject(Volume(tree), answers())
        after = digests(tree)
        assert {name for name in after if after[name] != before.get(name)} == set(result.files)
        assert set(before) <= set(after)

    def test_answer_files_that_would_win_are_removed(self, tree: Path) -> None:
        competitors = ["Windows/Panther/Unattend/Unattend.xml", "Windows/System32/Sysprep/UNATTEND.XML", "autounattend.xml"]
        for name in competitors:
            (tree / name).parent.mkdir(exist_ok=True)
            (tree / name).write_text("<unattend/>")
        merge(Volume(tree), [regfile.Change(r"HKLM\SYSTEM\Setup", values={"UnattendFile": (1, regfile.text("D:\\x.xml"))})])
        assert len(inspect(Volume(tree)).stale_answer_files) == 4
        inject(Volume(tree), answers())
        assert not any((tree / name).exists() for name in competitors)
        assert inspect(Volume(tree)).stale_answer_files == []

    @pytest.mark.parametrize("own", ["", TEMPLATE])
    def test_secrets_are_deleted_by_a_task_whatever_the_own_script_does(self, tree: Path, own: str) -> None:
        script = tree / "Windows/Setup/Scripts/SetupComplete.cmd"
        script.parent.mkdir(parents=True)
        script.write_bytes(b"echo ours\r\nexit /b 0\r\n")
        inject(Volume(tree), answers(remoting="none"), own)
        assert script.read_bytes() == b"echo ours\r\nexit /b 0\r\n"
        file = tree / "Windows/Panther/unattend.xml"
        path = at("specialize", "Deployment", "RunSynchronous", "RunSynchronousCommand", "Path")
        assert "/ru SYSTEM /sc onstart /tn reimage-clean-up" in xpath(file, f"{path}[contains(., 'clean-up')]")
        task = (tree / "Windows/Setup/Scripts/reimage-clean-up.ps1").read_bytes().decode("ascii")
        assert task.index("IMAGE_STATE_COMPLETE") < task.index("Remove-Item") < task.index("schtasks /delete")
        assert r"C:\Windows\Panther\unattend.xml" in task

    def test_template_with_its_own_account_satisfies_windows_11(self, tree: Path) -> None:
        own = "<UserAccounts><LocalAccounts><LocalAccount><Name>pupil</Name></LocalAccount></LocalAccounts></UserAccounts>"
        wanted = from_options({"computer_name": "PC-1"})
        with pytest.raises(IdentityError, match="Microsoft account"):
            inject(Volume(tree), wanted, TEMPLATE)
        assert inject(Volume(tree), wanted, TEMPLATE.replace("</OOBE>", f"</OOBE>{own}")).changed

    def test_language_region_and_keyboard_apart(self, tree: Path) -> None:
        key = r"HKLM\SYSTEM\CurrentControlSet\Control\MUI\UILanguages"
        merge(Volume(tree), [regfile.Change(rf"{key}\{name}", values={"LCID": (4, bytes(4))}) for name in ("de-DE", "en-US")])
        assert inspect(Volume(tree)).languages == ["de-DE", "en-US"]
        with pytest.raises(IdentityError, match="ui_language: the image does not have fr-FR"):
            inject(Volume(tree), answers(ui_language="fr-FR"))
        inject(Volume(tree), answers(locale="de-AT", keyboard="0407:00000407"))
        file = tree / "Windows/Panther/unattend.xml"
        found = {name: xpath(file, at("oobeSystem", "International-Core", name)) for name in LANGUAGE}
        assert found == {"UILanguage": "de-DE", "SystemLocale": "de-AT", "UserLocale": "de-AT", "InputLocale": "0407:00000407"}

    def test_not_generalized_is_refused_before_anything_is_written(self, tmp_path: Path) -> None:
        root = make_tree(tmp_path / "v", generalized=False)
        before = digests(root)
        with pytest.raises(IdentityError, match="not generalized"):
            inject(Volume(root), answers())
        assert digests(root) == before
        assert inject(Volume(root), answers(), require_generalized=False).changed

    def test_windows_11_without_an_account_is_refused(self, tree: Path) -> None:
        with pytest.raises(IdentityError, match="Microsoft account"):
            inject(Volume(tree), from_options({"computer_name": "PC-1"}))

    def test_reparse_point_on_the_way_is_never_followed(self, tree: Path, tmp_path: Path) -> None:
        (tree / "Windows/Panther").rmdir()
        (tree / "Windows/Panther").symlink_to("unsupported reparse tag 0x80000017")
        with pytest.raises(IdentityError, match="reparse point"):
            inject(Volume(tree), answers())

    def test_blob_of_an_offline_join_must_be_this_machines(self, tree: Path) -> None:
        """A blob that Samba made is tested in test_offline_join.py; here its name is what counts."""
        blob = base64.b64encode("x\0PC-0042\0lab.test\0".encode("utf-16-le")).decode()
        inject(Volume(tree), answers(join={"offline_blob": blob}))
        path = at("specialize", "UnattendedJoin", "Identification", "Provisioning", "AccountData")
        assert xpath(tree / "Windows/Panther/unattend.xml", path) == blob
        with pytest.raises(IdentityError, match="another machine than PC-0043"):
            inject(Volume(tree), answers(computer_name="PC-0043", join={"offline_blob": blob}))


class TestTemplate:
    def test_only_identity_is_set(self, tree: Path) -> None:
        inject(Volume(tree), answers(join={"workgroup": "LAB"}), TEMPLATE)
        file = tree / "Windows/Panther/unattend.xml"
        assert xpath(file, at("specialize", "Shell-Setup", "ComputerName")) == "PC-0042"
        assert xpath(file, at("specialize", "Shell-Setup", "RegisteredOwner")) == "Schule München"
        assert xpath(file, at("specialize", "UnattendedJoin", "Identification", "JoinWorkgroup")) == "LAB"
        assert xpath(file, at("oobeSystem", "Shell-Setup", "OOBE", "ProtectYourPC")) == "1"
        order = [xpath(file, f"name({at('specialize', 'Shell-Setup')}/*[{number}])") for number in (1, 2, 3)]
        assert order == ["ComputerName", "RegisteredOwner", "TimeZone"]
        assert "wasPassProcessed" not in file.read_text()
        assert file.read_bytes().isascii()

    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            ("<unattend ", "<unattended ", "not XML|not an answer file"),
            ('pass="oobeSystem"', 'pass="oobesystem"', "did you mean oobeSystem"),
            ("ComputerName>", "ComputName>", "did you mean ComputerName"),
            ('processorArchitecture="amd64"', 'processorArchitecture="x86"', "this Windows is amd64"),
        ],
    )
    def test_what_windows_would_stumble_over_is_refused(self, tree: Path, old: str, new: str, said: str) -> None:
        before = digests(tree)
        with pytest.raises(IdentityError, match=said):
            inject(Volume(tree), answers(), TEMPLATE.replace(old, new))
        assert digests(tree) == before


class TestXp:
    @pytest.fixture
    def xp(self, tmp_path: Path) -> Path:
        return make_tree(tmp_path / "xp", build="2600", architecture="x86")

    def wanted(self, **more: Any) -> Answers:
        account = {"name": "Administrator", "password": PASSWORD}
        return from_options({"computer_name": "PC-0042", "accounts": [account], "time_zone": "W. Europe Standard Time", **more})

    def test_sysprep_inf(self, xp: Path) -> None:
        result = inject(Volume(xp), self.wanted(join={"workgroup": "LAB"}))
        data = (xp / "Sysprep/sysprep.inf").read_bytes()
        assert result.files == ["Sysprep/sysprep.inf"]
        assert data.count(b"\n") == data.count(b"\r\n")
        for line in (b"ComputerName=PC-0042", b"TimeZone=110", b'JoinWorkgroup="LAB"', b'AdminPassword="correct horse"'):
            assert line in data.split(b"\r\n")
        assert not inject(Volume(xp), self.wanted(join={"workgroup": "LAB"})).changed

    def test_own_file_is_edited_key_by_key(self, xp: Path) -> None:
        head = ["[Unattended]", r"InstallFilesPath=C:\sysprep\i386", "", "; ours", "[userdata]"]
        own = "\r\n".join([*head, "  computername = old", 'OrgName="School"', ""])
        inject(Volume(xp), self.wanted(), own)
        lines = (xp / "Sysprep/sysprep.inf").read_bytes().decode().split("\r\n")
        assert lines[:7] == [*head, "ComputerName=PC-0042", 'OrgName="School"']
        assert "TimeZone=110" in lines

    @pytest.mark.parametrize(
        ("join", "left"),
        [
            ({"workgroup": "LAB"}, ['JoinWorkgroup="LAB"']),
            (
                {"domain": "lab.test", "username": "joiner", "password": "s3cret"},
                ["JoinDomain=lab.test", 'DomainAdmin="joiner"', 'DomainAdminPassword="s3cret"'],
            ),
        ],
    )
    def test_declared_membership_replaces_that_of_an_own_file(self, xp: Path, join: dict[str, str], left: list[str]) -> None:
        own = '[Identification]\r\njoinworkgroup = OLD\r\nJoinDomain=old.test\r\nMachineObjectOU="OU=Old"\r\n; ours\r\n'
        inject(Volume(xp), self.wanted(join=join), own)
        lines = (xp / "Sysprep/sysprep.inf").read_bytes().decode().split("\r\n")
        section = lines[lines.index("[Identification]") + 1 :]
        section = section[: section.index("")]
        assert [line for line in section if line != "; ours"] == left
        assert "; ours" in section

    def test_commands_run_after_those_of_an_own_file(self, xp: Path) -> None:
        own = "[GuiRunOnce]\r\nCommand0=own.cmd\r\nCommand3=last.cmd\r\n"
        more = {"auto_logon": {"account": "Administrator"}, "first_logon_commands": ["first"]}
        inject(Volume(xp), self.wanted(**more), own)
        lines = (xp / "Sysprep/sysprep.inf").read_bytes().decode().split("\r\n")
        assert lines[:4] == ["[GuiRunOnce]", "Command0=own.cmd", "Command3=last.cmd", 'Command4="first"']

    @pytest.mark.parametrize(
        ("more", "said"),
        [
            ({"join": {"offline_blob": "AAAA"}}, "offline"),
            ({"time_zone": "Yukon Standard Time"}, "does not know"),
            ({"organization": "Schule Köln"}, "ASCII"),
            ({"locale": "de-AT"}, r"^locale: .* template with \[RegionalSettings\]"),
            ({"region": "de-CH"}, "^region: .* template"),
            ({"keyboard": "0407:00000407"}, "^keyboard: .* template"),
            ({"ui_language": "de-DE"}, "^ui_language: .* template"),
            ({"accounts": [{"name": "technician", "password": PASSWORD}]}, "'technician'"),
            ({"specialize_commands": ["net start x"]}, "^specialize_commands: .* first_logon_commands"),
            ({"remoting": "winrm"}, "^remoting: "),
            ({"remoting": "ssh"}, "^remoting: "),
            ({"ssh_keys": ["ssh-ed25519 AAAA"]}, "^ssh_keys: "),
            ({"device_encryption": True}, "^device_encryption: "),
            ({"interfaces": [{"mac": "52:54:00:00:00:01", "addresses": ["192.0.2.7/24"]}]}, "^interfaces: .* template"),
        ],
    )
    @pytest.mark.parametrize("own", ["", "[Unattended]\r\n"])
    def test_what_xp_does_not_have_is_refused(self, xp: Path, more: dict[str, Any], said: str, own: str) -> None:
        before = digests(xp)
        with pytest.raises(IdentityError, match=said):
            inject(Volume(xp), self.wanted(**more), own)
        assert digests(xp) == before

    def test_what_xp_is_anyway_may_be_declared(self, xp: Path) -> None:
        inject(Volume(xp), self.wanted(remoting="none", device_encryption=False))
        assert (xp / "Sysprep/sysprep.inf").exists()


class TestRegistry:
    REG = (
        "\ufeffWindows Registry Editor Version 5.00\r\n\r\n"
        + r"""
[HKEY_LOCAL_MACHINE\SOFTWARE\Lab\Deep\Er]
"Straße"="Grüße \"und\" C:\\Temp"
"Zahl"=dword:0000002a
"Liste"=hex(7):61,00,00,00,\
  62,00,00,00,00,00
@="default"

[HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\BitLocker]
"PreventDeviceEncryption"=dword:00000001

[-HKEY_CLASSES_ROOT\.txt]
""".replace("\n", "\r\n")
    )

    @pytest.mark.parametrize("encoding", ["utf-16-le", "utf-8"])
    def test_file_arrives_as_others_read_it(self, tmp_path: Path, encoding: str) -> None:
        root = make_tree(tmp_path / "v", current=2)
        changes = regfile.parse(self.REG.encode(encoding), "lab.reg")
        result = merge(Volume(root), changes)
        assert sorted(result.hives) == [f"{CONFIG}/SOFTWARE", f"{CONFIG}/SYSTEM"]
        software = RegistryHive(str(root / CONFIG / "SOFTWARE"))
        values = {value.name: value.value for value in software.get_key(r"\Lab\Deep\Er").iter_values()}
        assert values["Zahl"] == 42
        key = Registry.Registry(str(root / CONFIG / "SOFTWARE")).open(r"Lab\Deep\Er")
        assert key.value("Liste").raw_data() == "a\0b\0\0".encode("utf-16-le")
        assert key.value("Straße").value() == 'Grüße "und" C:\\Temp'
        system = Registry.Registry(str(root / CONFIG / "SYSTEM"))
        assert system.open(r"ControlSet002\Control\BitLocker").value("PreventDeviceEncryption").value() == 1
        assert "CurrentControlSet" not in [key.name() for key in system.root().subkeys()]
        assert ".txt" not in [key.name() for key in Registry.Registry(str(root / CONFIG / "SOFTWARE")).open("Classes").subkeys()]

    def test_second_merge_writes_nothing(self, tree: Path) -> None:
        changes = regfile.parse(self.REG.encode("utf-8"), "lab.reg")
        merge(Volume(tree), changes)
        before = digests(tree)
        assert merge(Volume(tree), changes).hives == []
        assert digests(tree) == before

    def test_export_of_a_key_can_be_merged_elsewhere(self, tree: Path, tmp_path: Path) -> None:
        merge(Volume(tree), regfile.parse(self.REG.encode("utf-8"), "lab.reg"))
        keys = [r"HKLM\SOFTWARE\Lab", r"HKLM\SYSTEM\CurrentControlSet\Control\BitLocker"]
        exported = export(Volume(tree), keys)
        other = Volume(make_tree(tmp_path / "other"))
        merge(other, regfile.parse(exported.encode("utf-8"), "exported.reg"))
        assert export(other, keys) == exported
        assert r"[HKLM\SOFTWARE\Lab\Deep\Er]" in exported
        with pytest.raises(IdentityError, match="there is no such key"):
            export(other, [r"HKLM\SOFTWARE\Nobody"])

    def test_dry_run_shows_what_would_change(self, tree: Path) -> None:
        before = digests(tree)
        item = {"path": r"HKLM\SYSTEM\Select", "name": "current", "type": "dword", "data": 2}
        result = merge(Volume(tree), [regfile.declared(item)], dry_run=True)
        assert ('"Current"=dword:00000001' in result.before, '"Current"=dword:00000002' in result.after) == (True, True)
        assert digests(tree) == before

    def test_values_and_keys_can_be_removed(self, tree: Path) -> None:
        changes = [
            regfile.declared({"path": r"HKLM\SYSTEM\Setup", "name": "CMDLINE", "state": "absent"}),
            regfile.declared({"path": r"HKU\.DEFAULT\Control Panel", "state": "absent"}),
            regfile.declared({"path": r"HKLM\SOFTWARE\Nothing\There", "name": "x", "state": "absent"}),
        ]
        assert len(merge(Volume(tree), changes).hives) == 2
        names = [value.name() for value in Registry.Registry(str(tree / CONFIG / "SYSTEM")).open("Setup").values()]
        assert names == ["SetupType"]
        assert not Registry.Registry(str(tree / CONFIG / "DEFAULT")).root().subkeys()

    def test_hive_does_not_grow_with_the_number_of_values(self, tree: Path) -> None:
        changes = [regfile.Change(r"HKLM\SOFTWARE\Many", values={f"v{number}": (4, b"\1\0\0\0") for number in range(200)})]
        before = (tree / CONFIG / "SOFTWARE").stat().st_size
        merge(Volume(tree), changes)
        assert (tree / CONFIG / "SOFTWARE").stat().st_size - before < 1 << 20

    def test_nothing_is_written_if_one_change_cannot_be(self, tree: Path) -> None:
        before = digests(tree)
        changes = regfile.parse(self.REG.encode("utf-8"), "lab.reg")
        with pytest.raises(IdentityError, match="HKEY_CURRENT_USER"):
            merge(Volume(tree), [*changes, regfile.Change(r"HKEY_CURRENT_USER\Software\X")])
        assert digests(tree) == before

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("[HKEY_LOCAL_MACHINE\\SOFTWARE\\X]", r"lab\.reg:1: this is not a registry file"),
            ("REGEDIT4\n\n[HKLM\\SOFTWARE\\X\n", r"lab\.reg:3: a key must be in brackets"),
            ('REGEDIT4\n[HKLM\\SOFTWARE\\X]\n"a"=dword:zz\n', r"lab\.reg:3: "),
            ('REGEDIT4\n"a"="b"\n', r"lab\.reg:2: this is neither"),
            ('REGEDIT4\n[HKLM\\SOFTWARE\\X]\n"a"=who:1\n', r"lab\.reg:3: this is no data"),
        ],
    )
    def test_file_that_is_wrong_is_refused_with_its_line(self, text: str, said: str) -> None:
        with pytest.raises(IdentityError, match=said):
            regfile.parse(text.encode(), "lab.reg")


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("windows")
    make_disk(folder / "w.raw")
    return folder / "w.raw"


class TestDisk:
    @pytest.fixture
    def copy(self, disk: Path, tmp_path: Path) -> Path:
        subprocess.run(["cp", "--sparse=always", disk, tmp_path / "copy.raw"], check=True)
        return tmp_path / "copy.raw"

    def test_the_one_partition_with_windows_is_found_and_stays_clean(self, copy: Path) -> None:
        with mounted_windows(str(copy)) as (folder, partition):
            inject(Volume(folder), answers())
            assert partition.name == f"{copy}3"
        with mounted_windows(str(copy), read_only=True) as (folder, _partition):
            assert xpath(folder / "Windows/Panther/unattend.xml", at("specialize", "Shell-Setup", "ComputerName")) == "PC-0042"
        with partitions(str(copy), ("ntfs",), read_only=True) as found:
            assert [(partition.name, ntfs.states(partition.device)) for partition in found if partition.name == f"{copy}3"] == [
                (f"{copy}3", [])
            ]
        await_no_loop(copy)

    def test_capture_refuses_what_is_not_generalized(self, copy: Path, tmp_path: Path) -> None:
        capture = {"store": str(tmp_path), "name": "windows", "disk": str(copy)}
        assert run("image_capture", **capture, version="1")["changed"]
        with mounted_windows(str(copy)) as (folder, _partition):
            (folder / "Windows/System32/Sysprep/Sysprep_succeeded.tag").unlink()
        for check in (True, False):
            refused = run("image_capture", check=check, **capture, version="2")
            assert refused["failed"]
            assert "missing: tag" in refused["msg"]
            assert "accept" in refused["msg"]
        assert run("image_info", store=str(tmp_path))["images"][0]["version"] == "1"
        assert run("image_capture", **capture, version="2", accept=["not_generalized"])["changed"]

    def test_hibernated_and_dirty_are_refused(self, copy: Path) -> None:
        with mounted_windows(str(copy)) as (folder, _partition):
            (folder / "hiberfil.sys").write_bytes(b"hibr".ljust(8192, b"\0"))
        before = hashlib.sha256(copy.read_bytes()).hexdigest()
        with pytest.raises(IdentityError, match="hibernated"), mounted_windows(str(copy)):
            pass
        assert hashlib.sha256(copy.read_bytes()).hexdigest() == before

    def test_dirty_volume_is_refused(self, copy: Path) -> None:
        with attached(copy, 57, 64) as loop:
            subprocess.run(["ntfsfix", loop], check=True, capture_output=True)  # it asks for a check
        before = hashlib.sha256(copy.read_bytes()).hexdigest()
        with pytest.raises(IdentityError, match="is dirty"), mounted_windows(str(copy)):
            pass
        assert hashlib.sha256(copy.read_bytes()).hexdigest() == before

    def test_bitlocker_is_named(self, copy: Path) -> None:
        """With the header that Windows 7 and later write, and the metadata that blkid wants to see."""
        header = bytearray(512)
        header[:11] = b"\xeb\x58\x90-FVE-FS-"
        header[11:13] = (512).to_bytes(2, "little")
        header[160:176] = uuid.UUID("4967d63b-2e29-4ad8-8399-f6a339e3d001").bytes_le
        header[176:184] = (64 << 10).to_bytes(8, "little")
        header[510:] = b"\x55\xaa"
        with copy.open("r+b") as file:
            file.seek(57 << 20)
            file.write(header)
            file.seek((57 << 20) + (64 << 10))
            file.write(b"-FVE-FS-" + bytes([64, 0, 2, 0]))
        with pytest.raises(IdentityError, match=r"copy\.raw3 is encrypted with BitLocker"), mounted_windows(str(copy)):
            pass

    def test_disk_without_windows(self, tmp_path: Path) -> None:
        disk = tmp_path / "empty.raw"
        with disk.open("wb") as file:
            file.truncate(20 << 20)
        subprocess.run(["sfdisk", "--quiet", disk], input=b"label: gpt\nsize=10MiB\n", check=True)
        with pytest.raises(IdentityError, match="none does"), mounted_windows(str(disk)):
            pass


def test_hives_of_the_tests_are_what_others_take_for_hives(tmp_path: Path) -> None:
    make_hive(tmp_path / "h", {r"A\B": {"x": 7}})
    assert [value.value for value in RegistryHive(str(tmp_path / "h")).get_key(r"\A\B").iter_values()] == [7]
    assert encode(7)["t"] == 4


class TestSequence:
    """Changes of one key after each other, and which hive a key is in."""

    def test_later_changes_see_what_earlier_ones_did(self, tree: Path) -> None:
        """The last one wins, and the second run changes nothing."""
        text = (
            "Windows Registry Editor Version 5.00\n[-HKLM\\SOFTWARE\\Lab\\Proxy]\n"
            '[HKLM\\SOFTWARE\\Lab\\Proxy]\n"Enable"=dword:1\n[HKLM\\SOFTWARE\\LAB\\proxy]\n"enable"=dword:2\n'
        )
        changes = regfile.parse(text.encode(), "lab.reg")
        merge(Volume(tree), [regfile.Change(r"HKLM\SOFTWARE\Lab\Proxy\Old", values={"a": (4, bytes(4))})])
        assert merge(Volume(tree), changes).hives == [f"{CONFIG}/SOFTWARE"]
        key = Registry.Registry(str(tree / CONFIG / "SOFTWARE")).open(r"Lab\Proxy")
        assert [(value.name(), value.value()) for value in key.values()] == [("Enable", 2)]
        assert not key.subkeys()
        before = digests(tree)
        for _again in range(3):
            assert merge(Volume(tree), changes).hives == []
        assert digests(tree) == before

    def test_made_and_deleted_again_is_no_change(self, tree: Path) -> None:
        made = regfile.Change(r"HKLM\SOFTWARE\New\Key", values={"a": (4, bytes(4))})
        assert merge(Volume(tree), [made, regfile.Change(r"HKLM\SOFTWARE\New", delete=True)]).hives == []
        assert merge(Volume(tree), [regfile.Change(r"HKLM\SOFTWARE\New\Key", delete=True)]).hives == []

    def test_deleted_key_can_be_made_again_below(self, tree: Path) -> None:
        changes = [
            regfile.Change(r"HKLM\SYSTEM\Setup", delete=True),
            regfile.Change(r"HKLM\SYSTEM\Setup\Below", values={"a": (4, b"\1\0\0\0")}),
        ]
        merge(Volume(tree), changes)
        setup = Registry.Registry(str(tree / CONFIG / "SYSTEM")).open("Setup")
        assert ([value.name() for value in setup.values()], [key.name() for key in setup.subkeys()]) == ([], ["Below"])
        assert merge(Volume(tree), changes).hives == []

    @pytest.mark.parametrize(
        ("user", "file"),
        [
            ("S-1-5-18", f"{CONFIG}/DEFAULT"),
            ("S-1-5-19", "Windows/ServiceProfiles/LocalService/NTUSER.DAT"),
            ("S-1-5-20", "Windows/ServiceProfiles/NetworkService/NTUSER.DAT"),
        ],
    )
    def test_accounts_of_services_have_their_hives(self, tree: Path, user: str, file: str) -> None:
        (tree / file).parent.mkdir(parents=True, exist_ok=True)
        make_hive(tree / file, {"Software": {}})
        merged = merge(Volume(tree), [regfile.Change(rf"HKU\{user}\Software\Lab", values={"a": (4, bytes(4))})])
        assert merged.hives == [file]
        assert RegistryHive(str(tree / file)).get_key(r"\Software\Lab").get_value("a") == 0

    def test_current_user_is_the_default_profile_on_request(self, tree: Path) -> None:
        file = tree / "Users/Default/NTUSER.DAT"
        file.parent.mkdir(parents=True)
        make_hive(file, {"Software": {}})
        (tree.parent / "user.reg").write_text(
            'Windows Registry Editor Version 5.00\r\n\r\n[HKEY_CURRENT_USER\\Software\\Lab]\r\n"a"=dword:00000007\r\n'
        )
        options: dict[str, Any] = {"path": str(tree), "files": [str(tree.parent / "user.reg")]}
        assert "HKEY_CURRENT_USER" in run("registry_merge", **options)["msg"]
        assert run("registry_merge", **options, default_profile=True)["hives"] == ["Users/Default/NTUSER.DAT"]
        assert RegistryHive(str(file)).get_key(r"\Software\Lab").get_value("a") == 7
        assert not run("registry_merge", **options, default_profile=True)["changed"]

    def test_classes_of_a_user_are_not_in_the_default_profile(self) -> None:
        with pytest.raises(IdentityError, match=r"use HKLM\\SOFTWARE\\Classes"):
            in_default_profile(regfile.Change(r"HKCU\Software\Classes\.txt"))

    def test_root_of_a_hive_is_never_deleted(self, tree: Path) -> None:
        with pytest.raises(IdentityError, match="root of a hive cannot be deleted"):
            merge(Volume(tree), [regfile.Change(r"HKLM\SOFTWARE", delete=True)])

    def test_only_the_current_control_set_itself_is_mapped(self, tree: Path) -> None:
        merge(Volume(tree), [regfile.Change(r"HKLM\SYSTEM\MyCurrentControlSet\X", values={"a": (4, bytes(4))})])
        assert "MyCurrentControlSet" in [key.name() for key in Registry.Registry(str(tree / CONFIG / "SYSTEM")).root().subkeys()]


class TestWriting:
    """Real volumes: what is written lies complete beside the old before that is touched."""

    @pytest.fixture
    def ntfs_tree(self, tmp_path: Path) -> Iterator[Path]:
        disk = tmp_path / "disk.raw"
        with disk.open("wb") as file:
            file.truncate(32 << 20)
        with ntfs_volume(disk, 0, 32, "Windows") as folder:
            yield make_tree(folder)

    def test_full_volume_keeps_every_file(self, ntfs_tree: Path) -> None:
        with (ntfs_tree / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(1 << 16))
        before = digests(ntfs_tree)
        many = {f"v{number}": (3, bytes(4000)) for number in range(100)}
        changes = [regfile.Change(rf"HKLM\{hive}\Lab", values=dict(many)) for hive in ("SYSTEM", "SOFTWARE")]
        with pytest.raises(IdentityError, match="nothing was changed"):
            merge(Volume(ntfs_tree), changes)
        with pytest.raises(IdentityError):
            inject(Volume(ntfs_tree), answers())
        assert digests(ntfs_tree) == before

    def test_room_that_ends_half_way_keeps_every_hive(self, ntfs_tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        real = os.fsync

        def second_fails(file: int) -> None:
            if calls:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            calls.append(file)
            real(file)

        calls: list[int] = []
        monkeypatch.setattr(os, "fsync", second_fails)
        before = digests(ntfs_tree)
        changes = [regfile.Change(rf"HKLM\{hive}\Lab", values={"a": (4, bytes(4))}) for hive in ("SYSTEM", "SOFTWARE")]
        with pytest.raises(IdentityError, match="No space left"):
            merge(Volume(ntfs_tree), changes)
        assert (len(calls), digests(ntfs_tree)) == (1, before)

    def test_rights_and_attributes_stay(self, ntfs_tree: Path) -> None:
        path = ntfs_tree / CONFIG / "SYSTEM"
        os.setxattr(path, "system.ntfs_attrib", (0x22).to_bytes(4, "little"))  # hidden, to be archived
        # A descriptor that no new file gets: owner and group SYSTEM, and SYSTEM alone may do all.
        system = bytes.fromhex("010100000000000512000000")
        entry = bytes.fromhex("0000 1400 ff011f00".replace(" ", "")) + system
        descriptor = struct.pack("<BBHIIII", 1, 0, 0x8004, 20, 32, 0, 44) + system * 2
        descriptor += struct.pack("<BBHHH", 2, 0, 8 + len(entry), 1, 0) + entry
        os.setxattr(path, "system.ntfs_acl", descriptor)
        kept = [os.getxattr(path, name) for name in ("system.ntfs_acl", "system.ntfs_attrib")]
        merge(Volume(ntfs_tree), [regfile.Change(r"HKLM\SYSTEM\Lab", values={"a": (4, bytes(4))})])
        assert [os.getxattr(path, name) for name in ("system.ntfs_acl", "system.ntfs_attrib")] == kept
        assert not list(path.parent.glob("*.reimage-new"))

    def test_full_boot_partition_keeps_its_file(self, tmp_path: Path) -> None:
        image = tmp_path / "esp.raw"
        with image.open("wb") as file:
            file.truncate(1 << 20)
        subprocess.run(["mkfs.vfat", image], check=True, stdout=subprocess.DEVNULL)
        esp = Partition(str(image), 1, "", "", {"TYPE": "vfat"}, str(image))
        write_file(esp, "BCD", b"a" * 600_000)
        write_file(esp, "small", b"1")
        with pytest.raises(IdentityError, match=r"BCD cannot be written, and was not changed: No free cluster"):
            write_file(esp, "BCD", b"b" * 600_000)
        assert read_file(esp, "BCD") == b"a" * 600_000
        write_file(esp, "BCD", b"c" * 200_000)
        assert (read_file(esp, "BCD"), read_file(esp, "BCD.reimage-new")) == (b"c" * 200_000, None)
