# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is declared is merged into an answer file that has what those of public repositories have, and the rest of it stays."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows import template
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.answers import from_options
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.masking import masked

NS = "{urn:schemas-microsoft-com:unattend}"
KEY = "AAAAA-BBBBB-CCCCC-DDDDD-EEEEE"
ACCOUNT = {"name": "technician", "password": "correct horse"}
CARD = {"mac": "52:54:00:00:00:01", "addresses": ["192.0.2.7/24"], "dns": ["192.0.2.2"]}
WHO = 'processorArchitecture="amd64" publicKeyToken="31bf3856ad364e35" language="neutral" versionScope="nonSxS"'
EMPTY = f'<component name="Microsoft-Windows-Shell-Setup" {WHO}/>'
OWN = f"""<?xml version="1.0" encoding="utf-8"?>
<unattend xmlns="urn:schemas-microsoft-com:unattend" xmlns:wcm="http://schemas.microsoft.com/WMIConfig/2002/State">
  <servicing><package action="configure"/></servicing>
  <settings pass="specialize">
    <component name="Microsoft-Windows-Deployment" {WHO}>
      <RunSynchronous><RunSynchronousCommand wcm:action="add"><Order>7</Order><Path>own.cmd</Path></RunSynchronousCommand>
      </RunSynchronous>
    </component>
    <component name="Microsoft-Windows-TCPIP" {WHO}><Interfaces>
      <Interface wcm:action="add"><Identifier>52-54-00-00-00-01</Identifier></Interface>
      <Interface wcm:action="add"><Identifier>Ethernet</Identifier></Interface>
    </Interfaces></component>
  </settings>
  <settings pass="oobeSystem">
    <component name="Microsoft-Windows-International-Core" {WHO}><UILanguage>en-US</UILanguage></component>
    <component name="Microsoft-Windows-Shell-Setup" {WHO}>
      <AutoLogon><Domain>.</Domain><Username>vagrant</Username></AutoLogon>
      <TimeZone>Pacific Standard Time</TimeZone>
      <UserAccounts><LocalAccounts>
        <LocalAccount wcm:action="add"><Name>vagrant</Name></LocalAccount>
        <LocalAccount wcm:action="add"><Name>Technician</Name></LocalAccount>
      </LocalAccounts></UserAccounts>
    </component>
  </settings>
  <settings pass="specialize">{EMPTY}</settings>
  <cpi:offlineImage cpi:source="catalog:d:/sources/install.clg" xmlns:cpi="urn:schemas-microsoft-com:cpi"/>
  <Extensions xmlns="https://example.org/own/"><File path="C:\\a.ps1">one &lt; two</File></Extensions>
</unattend>
"""


def filled(text: str = OWN, **more: Any) -> ET.Element:
    answers = from_options({"computer_name": "PC-0042", **more}).settled(template=True)
    return ET.fromstring(template.fill(text, "template", answers, "amd64"))


def texts(root: ET.Element, wanted: str, name: str) -> list[str]:
    """Return the texts of all elements of a name in a pass."""
    return [one.text or "" for part in root.iterfind(f"{NS}settings[@pass='{wanted}']") for one in part.iter(NS + name)]


def test_parts_that_are_no_settings_stay() -> None:
    root = filled()
    assert root.find(f"{NS}servicing/{NS}package") is not None
    image = root.find("{urn:schemas-microsoft-com:cpi}offlineImage")
    assert image is not None
    assert image.get("{urn:schemas-microsoft-com:cpi}source") == "catalog:d:/sources/install.clg"
    assert root.findtext("{https://example.org/own/}Extensions/{https://example.org/own/}File") == "one < two"


def test_scripts_find_other_parts_by_their_names_without_a_prefix() -> None:
    answers = from_options({"computer_name": "PC-0042"}).settled(template=True)
    assert '<Extensions xmlns="https://example.org/own/">' in template.fill(OWN, "template", answers, "amd64")


def test_setting_is_set_in_every_pass_that_has_it() -> None:
    root = filled(time_zone="UTC", locale="de-DE", full_name="A school")
    assert texts(root, "specialize", "TimeZone") == texts(root, "oobeSystem", "TimeZone") == ["UTC"]
    assert texts(root, "specialize", "ComputerName") == ["PC-0042"]
    assert texts(root, "oobeSystem", "ComputerName") == []
    for name in ("UILanguage", "InputLocale", "SystemLocale", "UserLocale"):
        assert texts(root, "oobeSystem", name) == ["de-DE"]


def test_settings_in_two_parts_are_put_together() -> None:
    root = filled()
    passes = [one.get("pass") for one in root.findall(f"{NS}settings")]
    assert sorted(map(str, passes)) == ["oobeSystem", "specialize"]


def test_component_given_twice_is_refused_where_one_would_be_ignored() -> None:
    shell = f'<component name="Microsoft-Windows-Shell-Setup" {WHO}><TimeZone>UTC</TimeZone></component>'
    twice = OWN.replace('<settings pass="oobeSystem">', f'<settings pass="oobeSystem">{shell}')
    with pytest.raises(IdentityError, match="Microsoft-Windows-Shell-Setup is given twice in oobeSystem, with TimeZone"):
        filled(twice)
    assert texts(filled(twice.replace("<TimeZone>Pacific Standard Time</TimeZone>", "")), "oobeSystem", "TimeZone") == ["UTC"]


def test_accounts_cards_and_commands_are_merged() -> None:
    root = filled(
        accounts=[ACCOUNT, {"name": "Administrator", "password": "other"}],
        auto_logon={"account": "technician"},
        first_logon_commands=["first"],
        specialize_commands=["second"],
        interfaces=[CARD],
        drivers=True,
        remoting="winrm",
    )
    assert texts(root, "oobeSystem", "Name") == ["vagrant", "technician"]
    admin = root.find(f".//{NS}AdministratorPassword/{NS}Value")
    assert admin is not None
    assert admin.text == "other"
    assert texts(root, "oobeSystem", "Username") == ["technician"]
    assert texts(root, "oobeSystem", "Domain") == []
    assert texts(root, "oobeSystem", "CommandLine") == ["first"]
    paths = texts(root, "specialize", "Path")
    assert (paths[0], paths[-1]) == ("own.cmd", "second")
    for word in ("pnputil", "reimage-remoting", "reimage-clean-up"):
        assert sum(word in path for path in paths) == 1
    assert texts(root, "specialize", "Order") == [str(number) for number in range(7, 7 + len(paths))]

    cards = root.find(f"{NS}settings/{NS}component[@name='Microsoft-Windows-TCPIP']")
    assert cards is not None
    assert [one.text for one in cards.iter(f"{NS}Identifier")] == ["Ethernet", "52-54-00-00-00-01"]
    assert [one.text for one in cards.iter(f"{NS}IpAddress")] == ["192.0.2.7/24"]


def test_what_is_not_declared_stays() -> None:
    root = filled()
    assert texts(root, "oobeSystem", "TimeZone") == ["Pacific Standard Time"]
    assert texts(root, "oobeSystem", "UILanguage") == ["en-US"]
    assert texts(root, "oobeSystem", "Username") == ["vagrant"]
    assert [path for path in texts(root, "specialize", "Path") if "remoting" in path or "BitLocker" in path] == []


def test_doctype_in_the_text_of_a_script_is_none() -> None:
    root = filled(OWN.replace("one &lt; two", "<![CDATA[<!DOCTYPE html>]]>"))
    assert root.findtext("{https://example.org/own/}Extensions/{https://example.org/own/}File") == "<!DOCTYPE html>"


def test_own_account_counts() -> None:
    assert template.has_account(OWN, "template")
    assert not template.has_account(OWN.replace("LocalAccount>", "Account>").replace("LocalAccount ", "Account "), "template")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "windows-1252"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    declared = encoding if encoding == "windows-1252" else encoding[:6].rstrip("-")
    text = OWN.replace("own.cmd", "Grüße.cmd").replace('encoding="utf-8"', f'encoding="{declared}"')
    (tmp_path / "own.xml").write_bytes(text.encode(encoding))
    assert texts(filled(template.load(str(tmp_path / "own.xml"))), "specialize", "Path")[0] == "Grüße.cmd"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b" " * ((4 << 20) + 1), "at most 4 MiB"),
        (b"<a>\xff</a>", "it is not UTF-8"),
        (b"\xff\xfe<\0a", "it is not UTF-16"),
    ],
)
def test_file_that_is_no_text_is_refused(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "own.xml").write_bytes(data)
    with pytest.raises(IdentityError, match=said):
        template.load(str(tmp_path / "own.xml"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("<unattend ", '<!DOCTYPE a [<!ENTITY b "c">]><unattend ', "no DOCTYPE"),
        ("<servicing>", "<servicing>" + "<a>" * 200 + "</a>" * 200, "in each other"),
        ("<servicing>", "<setings/><servicing>", "no 'setings'.*did you mean settings"),
        (
            f'Shell-Setup" {WHO}/>',
            f'Shell-Setup" {WHO}><ProductKey> </ProductKey></component>',
            "ProductKey in specialize is empty",
        ),
    ],
)
def test_what_windows_would_not_take_is_refused(old: str, new: str, said: str) -> None:
    assert old in OWN
    with pytest.raises(IdentityError, match=said):
        filled(OWN.replace(old, new))


def test_declared_key_fills_an_empty_one() -> None:
    own = OWN.replace(f'Shell-Setup" {WHO}/>', f'Shell-Setup" {WHO}><ProductKey/></component>')
    assert texts(filled(own, product_key=KEY), "specialize", "ProductKey") == [KEY]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize(
    "secret",
    [
        "<ProductKey>{}</ProductKey>",
        "<ProductKey><Key>{}</Key></ProductKey>",
        "<Password><Value><![CDATA[{}]]></Value></Password>",
        "<AdministratorPassword>{}</AdministratorPassword>",
        "<CommandLine>slmgr /ipk {}</CommandLine>",
        "<!-- {} --><a/>",
    ],
)
def test_diff_masks_secrets_by_where_they_stand(secret: str, encoding: str) -> None:
    shown = masked(f"<unattend>{secret.format(KEY)}<b>shown</b></unattend>".encode(encoding), ())
    assert KEY not in shown
    assert "shown" in shown


def test_diff_masks_declared_secrets_as_xml_spells_them() -> None:
    assert "a&" not in masked(b"<unattend><Path>net user x a&amp;b</Path></unattend>", ["a&b"])


def test_diff_shows_nothing_of_a_file_that_it_cannot_read() -> None:
    assert KEY not in masked(f"<unattend><Value>{KEY}".encode(), ())
