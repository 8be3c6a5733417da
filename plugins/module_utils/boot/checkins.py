# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Check-ins: what a machine in automation says of itself. It is untrusted, so every field is checked."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from ansible_collections.reimage.lab.plugins.module_utils.boot.addresses import parse_address
from ansible_collections.reimage.lab.plugins.module_utils.boot.errors import BootError
from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError
from ansible_collections.reimage.lab.plugins.module_utils.mac import parse_mac
from ansible_collections.reimage.lab.plugins.module_utils.untrusted import UntrustedError, printable, read_whole

PROTOCOL = 1
LARGEST = 64 << 10
_TEXT_LIMIT = 128
_KEY = re.compile(r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)) ([A-Za-z0-9+/]{40,2000}={0,2})(?: [ -~]{0,200})?")
_DEVICE = re.compile(r"/dev(?:/[A-Za-z0-9][A-Za-z0-9_.-]{0,63}){1,4}")
_TEXTS = ("uuid", "serial", "vendor", "product", "build")


class CheckinError(BootError):
    """A machine said something of itself that cannot be true or is not well-formed, or two say that they are it."""


def validate(value: dict[str, Any], mac: str) -> dict[str, Any]:
    """Return the known fields of a check-in, each with the type and size that it must have.

    :raises CheckinError: Names the first field that is missing or wrong.
    """
    if value.get("protocol") != PROTOCOL:
        raise CheckinError(
            f"protocol: it speaks {value.get('protocol')!r:.40}, this collection speaks {PROTOCOL}: build the"
            " automation image again with reimage.lab.setup_server"
        )
    macs = [_mac(item, "macs") for item in _items(value, "macs", 32)]
    if _mac(value.get("mac"), "mac") != mac or mac not in macs:
        raise CheckinError(f"mac: it is not {mac}, whose token it used")
    return {
        "protocol": PROTOCOL,
        "mac": mac,
        "macs": macs,
        "address": _address(value.get("address")),
        "host_keys": _host_keys(value),
        **{field: _text(value, field) for field in _TEXTS},
        "firmware": _choice(value, "firmware", ("bios", "uefi")),
        "memory_bytes": _count(value, "memory_bytes", 1 << 50),
        "cpus": _count(value, "cpus", 1 << 16),
        "disks": [_disk(item) for item in _items(value, "disks", 64)],
    }


def _mac(value: Any, field: str) -> str:
    try:
        return parse_mac(value if isinstance(value, str) else "")
    except ReimageError as error:
        raise CheckinError(f"{field}: {value!r:.40} is not a MAC address") from error


def _address(value: Any) -> str:
    try:
        return str(parse_address(value))
    except BootError as error:
        raise CheckinError(f"address: {error}") from error


def _host_keys(value: dict[str, Any]) -> list[str]:
    keys = [_host_key(item) for item in _items(value, "host_keys", 8)]
    if not keys:
        raise CheckinError("host_keys: there is none")
    return keys


def _host_key(value: Any) -> str:
    match = _KEY.fullmatch(value) if isinstance(value, str) and len(value) <= 4096 else None
    if match is None:
        raise CheckinError(f"host_keys: {value!r:.60} is not an SSH public key")
    kind, data = match.groups()
    name = kind.encode()
    try:
        decoded = base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise CheckinError("host_keys: a key is not base64") from error
    if not decoded.startswith(len(name).to_bytes(4, "big") + name):
        raise CheckinError(f"host_keys: a key that is called {kind} is of another kind")
    return f"{kind} {data}"


def _disk(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise CheckinError("disks: an entry is not an object")
    path = value.get("path")
    if not (isinstance(path, str) and _DEVICE.fullmatch(path)):
        raise CheckinError(f"disks: path {path!r:.80} is not a device")
    try:
        texts = {field: _text(value, field) for field in ("model", "serial", "wwn")}
        return {"path": path, "size": _count(value, "size", 1 << 60), **texts}
    except CheckinError as error:
        raise CheckinError(f"disks: {path}: {error}") from error


def _items(value: dict[str, Any], field: str, most: int) -> list[Any]:
    items = value.get(field)
    if not isinstance(items, list) or len(items) > most:
        raise CheckinError(f"{field}: must be a list of at most {most} entries")
    return items


def _text(value: dict[str, Any], field: str) -> str:
    """Firmware is careless with its strings, so these are cleaned and cut where the others are refused."""
    text = value.get(field)
    if text is None:
        return ""
    if not isinstance(text, str):
        raise CheckinError(f"{field}: must be text")
    return printable(text, _TEXT_LIMIT).strip()


def _choice(value: dict[str, Any], field: str, choices: tuple[str, ...]) -> str:
    text = value.get(field)
    if not isinstance(text, str) or text not in choices:
        raise CheckinError(f"{field}: {text!r:.40} is not one of {', '.join(choices)}")
    return text


def _count(value: dict[str, Any], field: str, most: int) -> int:
    try:
        return read_whole(value.get(field), most)
    except UntrustedError as error:
        raise CheckinError(f"{field}: {error}") from error
