# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""INF files, laid out as manufacturers do: which devices they name for which Windows."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.hardware.pci import from_id
from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.inf import Inf, Target, parse
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.inspect import Windows

INFS = Path(__file__).parent / "infs"


def target(build: int = 22631, architecture: str = "amd64", edition: str = "Professional") -> Target:
    return Target.of(Windows(build, edition, "", architecture, "", "", True, {}))


def inf(name: str, windows: Target | None = None, encoding: str = "ascii") -> Inf:
    text = (INFS / name).read_text(encoding="ascii").replace("\n", "\r\n")
    return parse(text.encode(encoding), name, windows or target())


@pytest.mark.parametrize("encoding", ["ascii", "utf-16", "utf-8-sig", "utf-16-le"])
def test_identifiers_in_every_encoding(encoding: str) -> None:
    found = inf("e1d.inf", encoding=encoding)
    assert found == Inf(
        "Net",
        frozenset(
            {
                r"PCI\VEN_8086&DEV_15BC",
                r"PCI\VEN_8086&DEV_15BC&SUBSYS_00008086",
                r"PCI\VEN_8086&DEV_15FC",
                r"PCI\VEN_8086&DEV_15FC&REV_20",
            }
        ),
    )


@pytest.mark.parametrize(
    ("windows", "devices"),
    [
        (target(26100), {"15BC", "15FC"}),
        (target(19045), {"15BB", "15BC"}),
        (target(17134), {"15BB"}),
        (target(26100, edition="ServerStandard"), {"15BC", "15FC"}),
        (target(17763, edition="ServerStandard"), {"15BB"}),
        (target(9600), {"15BB"}),
        (target(7601), set()),
        (target(26100, "arm64"), set()),
        (target(26100, "x86"), set()),
    ],
)
def test_only_the_section_that_windows_would_take_counts(windows: Target, devices: set[str]) -> None:
    assert {name[17:21] for name in inf("e1d.inf", windows).ids} == devices


def test_architectures() -> None:
    found = {one: {name[17:21] for name in inf("rt640x64.inf", target(19045, one)).ids} for one in ("amd64", "arm64", "x86")}
    assert found == {"amd64": {"8168"}, "arm64": {"8125"}, "x86": {"8167"}}


def test_driver_of_windows_xp_is_for_x86_alone() -> None:
    both = {r"PCI\VEN_14E4&DEV_1677", r"PCI\VEN_14E4&DEV_1678"}
    assert inf("netxp.inf", target(2600, "x86")).ids == both
    assert inf("netxp.inf", target(22631)) == Inf("Net", frozenset())


def test_tokens_and_compatible_identifiers() -> None:
    assert inf("iastorvd.inf").ids == {r"PCI\VEN_8086&DEV_9A0B", r"PCI\VEN_8086&CC_0104"}


def test_inf_that_names_no_device() -> None:
    assert inf("filter.inf") == Inf("System", frozenset(), plain=True)


@pytest.mark.parametrize(
    ("device", "name"),
    [
        (r"PCI\VEN_10EC&DEV_8168&SUBSYS_816810EC&REV_15", r"PCI\VEN_10EC&DEV_8168&SUBSYS_816810EC&REV_15"),
        (r"PCI\VEN_10EC&DEV_8168&SUBSYS_12341043&REV_15", r"PCI\VEN_10EC&DEV_8168&REV_15"),
        (r"PCI\VEN_10EC&DEV_8168&SUBSYS_12341043&REV_07", ""),
        (r"pci\ven_10ec&dev_8168&rev_02", r"PCI\VEN_10EC&DEV_8168&REV_02"),
    ],
)
def test_most_specific_identifier_is_found(device: str, name: str) -> None:
    assert inf("rt640x64.inf").names(from_id(device).ids) == name


def test_device_is_found_by_its_class() -> None:
    device = from_id(r"PCI\VEN_8086&DEV_2822&SUBSYS_00000000&REV_00&CC_010400")
    assert inf("iastorvd.inf").names(device.ids) == r"PCI\VEN_8086&CC_0104"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x00\x01\x02MZ", "no section"),
        (b"[autorun]\r\nopen=setup.exe\r\n", "no section"),
        (b"", "no section"),
        ("[Version]\r\n".encode("utf-16") + b"\0\xd8", "not text in utf-16"),
    ],
)
def test_what_is_no_inf_is_named(data: bytes, said: str) -> None:
    with pytest.raises(IdentityError, match=rf"x\.inf: .*{said}"):
        parse(data, "x.inf", target())


def test_last_half_character_is_left_out() -> None:
    text = (INFS / "e1d.inf").read_text(encoding="ascii")
    assert parse(text.encode("utf-16") + b"\r", "e1d.inf", target()) == inf("e1d.inf")


def test_continued_line_ends_where_a_section_begins() -> None:
    text = '[Version]\nClass=Net\n[Manufacturer]\n"source\t"=source\t,NTamd64, \\\n'
    text += '[source.NTamd64]\n"Card"=Install,"PCI\\VEN_1&DEV_2\t", \\\n'
    assert parse(text.encode(), "x.inf", target()).ids == {r"PCI\VEN_1&DEV_2"}
