# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.boot.checkins import CheckinError, load_checkin, validate
from ansible_collections.reimage.lab.plugins.module_utils.boot.layout import Layout
from ansible_collections.reimage.lab.plugins.module_utils.boot.targets import arm
from ansible_collections.reimage.lab.plugins.module_utils.boot.tokens import load_arming

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


def test_only_the_current_token_counts(layout: Layout) -> None:
    old = arm(layout, MAC, "automation")
    (layout.inbox(str(old.token)) / "checkin.json").write_text(json.dumps(checkin()))
    arming = load_arming(layout, MAC)
    assert arming is not None
    found = load_checkin(layout, arming)
    assert found is not None and found["address"] == "10.77.1.101" and found["received_at"] > 0
    arm(layout, MAC, "automation", renew=True)
    renewed = load_arming(layout, MAC)
    assert renewed is not None and load_checkin(layout, renewed) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"protocol": 1}', " " * (64 << 10) + "{}"])
def test_unusable_check_in_names_the_machine_and_not_the_token(layout: Layout, content: str) -> None:
    token = str(arm(layout, MAC, "automation").token)
    (layout.inbox(token) / "checkin.json").write_text(content)
    arming = load_arming(layout, MAC)
    assert arming is not None
    with pytest.raises(CheckinError, match=f"what {MAC} sent cannot be used") as refusal:
        load_checkin(layout, arming)
    assert token not in str(refusal.value)
