# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The manifest: what it takes, and that each mistake is named with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.fleet.manifest import ManifestError, read_manifest

HEAD = "name,mac,image,location,address,groups,teacher\n"


def manifest(folder: Path, text: str | bytes, name: str = "manifest.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_row_becomes_variables_and_groups(tmp_path: Path) -> None:
    path = manifest(tmp_path, HEAD + "pc-01,52-54-00-77-01-01 5254.0077.0102,linux,Room 1,10.0.0.1,lab;new,Ada\n")
    (machine,) = read_manifest(path)
    assert machine.variables() == {
        "reimage_macs": ["52:54:00:77:01:01", "52:54:00:77:01:02"],
        "reimage_image": "linux",
        "reimage_location": "Room 1",
        "ansible_host": "10.0.0.1",
        "teacher": "Ada",
    }
    assert list(machine.member_of()) == ["machines", "image_linux", "location_Room_1", "lab", "new"]


def test_csv_as_excel_writes_it(tmp_path: Path) -> None:
    path = manifest(tmp_path, "\ufeffname;mac;location\r\npc-01;525400770101;Zürich\r\n;;\r\n".encode())
    assert [machine.location for machine in read_manifest(path)] == ["Zürich"]


def test_yaml(tmp_path: Path) -> None:
    path = manifest(tmp_path, "- {name: pc-01, mac: ['52:54:00:77:01:01'], groups: [lab], vlan: 7}\n", "manifest.yml")
    (machine,) = read_manifest(path)
    assert (machine.groups, machine.extra) == (("lab",), {"vlan": 7})


def test_field_that_is_left_empty_in_yaml_says_nothing(tmp_path: Path) -> None:
    text = "- {name: pc-01, mac: '52:54:00:77:01:01', image: , location: , address: , groups: }\n"
    (machine,) = read_manifest(manifest(tmp_path, text, "manifest.yml"))
    assert machine.variables() == {"reimage_macs": ["52:54:00:77:01:01"]}
    assert list(machine.member_of()) == ["machines"]
    with pytest.raises(ManifestError, match="machine 1: '' cannot be the name"):
        read_manifest(manifest(tmp_path, "- {name: , mac: '52:54:00:77:01:01'}\n", "manifest.yml"))


def test_column_loader_says_what_a_machine_loads_first(tmp_path: Path) -> None:
    path = manifest(tmp_path, "name,mac,loader\npc-01,525400770101,ipxe\npc-02,525400770102,grub\npc-03,525400770103,\n")
    assert [machine.variables().get("reimage_loader") for machine in read_manifest(path)] == ["ipxe", "grub", None]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "name,mac,loader\npc-01,525400770101,pxelinux\n",
            "csv:2: pc-01: loader 'pxelinux' is unknown: choose one of ipxe, grub",
        ),
        (HEAD + "pc-01,52:54:00:77:01,,,,,\n", "manifest.csv:2: pc-01: '52:54:00:77:01' is not a MAC address"),
        (HEAD + "a,525400770101,,,,,\nb,52-54-00-77-01-01,,,,,\n", r"manifest.csv:3: MAC address .* already, at .*:2"),
        (HEAD + "a,525400770101,,,,,\nA,525400770102,,,,,\n", r"manifest.csv:3: name a is there already, at .*:2"),
        (HEAD + "under_score,525400770101,,,,,\n", "manifest.csv:2: 'under_score' cannot be the name"),
        (HEAD + ",525400770101,,,,,\n", "manifest.csv:2: '' cannot be the name"),
        (HEAD + "a,,,,,,\n", "manifest.csv:2: a has no MAC address"),
        (HEAD + "a,525400770101,,,10.0.0.300,,\n", "manifest.csv:2: a: '10.0.0.300' is neither"),
        (HEAD + "a,525400770101\n", "manifest.csv:2: this line has another number of cells"),
        (HEAD, "there is no machine in it"),
        (
            HEAD + "a,525400770101,,B1 10,,,\nb,525400770102,,B1-10,,,\n",
            r"manifest.csv:3: 'location_B1-10' and 'location_B1 10', at .*:2, would be one group, location_B1_10",
        ),
        ('name,mac,"image\na,525400770101,linux\n', r"manifest.csv:\d: unexpected end of data"),
        ("", "manifest.csv:1: there is no column name and no column mac"),
        ("name,mac,bad column\n", "'bad column'"),
        (HEAD.encode() + "a,525400770101,,Zürich,,,\n".encode("latin-1"), "manifest.csv:2: this is not UTF-8"),
    ],
)
def test_mistake_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ManifestError, match=said):
        read_manifest(manifest(tmp_path, text))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="No such file"):
        read_manifest(tmp_path / "nothing.csv")
