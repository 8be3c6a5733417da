# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
from typing import Any

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.boot.checkins import CheckinError, validate

MAC = "52:54:00:77:01:01"
KEY = "ssh-ed25519 " + base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + b"k" * 32).decode()


def checkin(**changes: Any) -> dict[str, Any]:
    value = {
        "protocol": 1,
        "mac": MAC,
        "macs": [MAC],
        "address": "10.77.1.101",
        "host_keys": [KEY + " root@automation"],
        "uuid": "4c4c4544-0000-2010-8020-80c04f202020",
        "serial": "ABC",
        "vendor": "QEMU",
        "product": "Standard PC",
        "firmware": "bios",
        "memory_bytes": 1 << 30,
        "cpus": 1,
        "build": "20261121",
        "disks": [{"path": "/dev/vda", "size": 8 << 30, "model": "", "serial": "x", "wwn": ""}],
    }
    return {**value, **changes}


def test_good_check_in_is_returned_without_key_comments_and_unknown_fields() -> None:
    valid = validate(checkin(more="{{ lookup('pipe', 'id') }}"), MAC)
    assert valid == {**checkin(), "host_keys": [KEY]}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("protocol", 2),
        ("mac", "52:54:00:77:01:02"),
        ("mac", None),
        ("macs", []),
        ("macs", ["52:54:00:77:01:02"]),
        ("macs", [MAC] * 33),
        ("macs", MAC),
        ("address", "10.77.1.101; reboot"),
        ("address", "-oProxyCommand=id"),
        ("address", "127.0.0.1"),
        ("address", "::"),
        ("address", "224.0.0.1"),
        ("address", "fe80::1%eth0"),
        ("address", "2001:db8::1%x$(reboot)\n* \x1b[2J"),
        ("address", 10),
        ("address", "0.1.2.3"),
        ("address", "169.254.0.1"),
        ("address", "240.0.0.1"),
        ("address", "255.255.255.255"),
        ("address", "::ffff:127.0.0.1"),
        ("address", "::ffff:10.77.1.101"),
        ("address", "::10.77.1.101"),
        ("address", "64:ff9b::a4d:165"),
        ("address", "64:ff9b:1::a4d:165"),
        ("address", "2002:a4d:165::1"),
        ("address", "2001:0:a4d:165::1"),
        ("address", "fec0::1"),
        ("host_keys", []),
        ("host_keys", [KEY] * 9),
        ("host_keys", [KEY + "\nevil ssh-ed25519 AAAA"]),
        ("host_keys", ["ssh-rsa " + KEY.split()[1]]),
        ("host_keys", ["@cert-authority * " + KEY]),
        ("host_keys", [KEY + " " + "c" * 5000]),
        ("host_keys", [{}]),
        ("firmware", "coreboot"),
        ("firmware", ["bios"]),
        ("memory_bytes", -1),
        ("memory_bytes", "1"),
        ("memory_bytes", 1 << 60),
        ("cpus", True),
        ("cpus", 1.5),
        ("serial", ["a"]),
        ("disks", [{"path": "/dev/vda"}]),
        ("disks", [{"path": "/etc/passwd", "size": 1}]),
        ("disks", [{"path": "/dev/../etc/passwd", "size": 1}]),
        ("disks", [{"path": "/dev/" + "a" * 260 + "!", "size": 1}]),
        ("disks", [{"path": "/dev/disk/by-id//x", "size": 1}]),
        ("disks", ["/dev/vda"]),
        ("disks", [{"path": "/dev/vda", "size": 1}] * 65),
        ("disks", None),
    ],
)
def test_field_that_is_wrong_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(CheckinError, match=field.rstrip("s")):
        validate(checkin(**{field: value}), MAC)


def test_every_refusal_is_short() -> None:
    for field in checkin():
        with pytest.raises(CheckinError) as refusal:
            validate(checkin(**{field: {"a": "b" * 50000}}), MAC)
        assert len(str(refusal.value)) < 250


def test_careless_text_of_firmware_is_cleaned_and_cut() -> None:
    valid = validate(checkin(serial=" A\x1b[2J\x00B \n", product="x" * 500, vendor=None), MAC)
    assert (valid["serial"], len(valid["product"]), valid["vendor"]) == ("A [2J B", 128, "")


@pytest.mark.parametrize("address", ["10.77.1.101", "192.0.2.7", "2001:db8::7", "fd00::7"])
def test_address_that_a_machine_may_have_is_taken(address: str) -> None:
    assert validate(checkin(address=address), MAC)["address"] == address
