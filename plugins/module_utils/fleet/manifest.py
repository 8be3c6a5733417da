# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The machine manifest: a table of machines, in CSV or YAML, read strictly and with the line of every mistake."""

from __future__ import annotations

import csv
import io
import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterator

from ansible_collections.reimage.lab.plugins.module_utils.boot.loaders import Loader
from ansible_collections.reimage.lab.plugins.module_utils.errors import InvalidNameError
from ansible_collections.reimage.lab.plugins.module_utils.fleet.errors import FleetError
from ansible_collections.reimage.lab.plugins.module_utils.mac import parse_mac
from ansible_collections.reimage.lab.plugins.module_utils.names import check_dns_name, check_host_name

try:
    import yaml
except ImportError:  # only a manifest in YAML needs it
    yaml = None  # type: ignore[assignment]

REQUIRED = ("name", "mac")
_KNOWN = (*REQUIRED, "image", "version", "location", "loader", "address", "groups")
LOADERS = tuple(loader.value for loader in Loader)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class ManifestError(FleetError):
    """The manifest is wrong; the message begins with its file and, where there is one, the line."""


@dataclass(frozen=True)
class Machine:
    """One machine: a row of the manifest."""

    name: str
    macs: tuple[str, ...]
    image: str = ""
    version: str = ""
    location: str = ""
    loader: str = ""
    address: str = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)

    def variables(self) -> dict[str, Any]:
        """Return its host variables; an empty cell makes none."""
        known = {
            "reimage_macs": list(self.macs),
            "reimage_image": self.image,
            "reimage_version": self.version,
            "reimage_location": self.location,
            "reimage_loader": self.loader,
            "ansible_host": self.address,
        }
        return {key: value for key, value in {**known, **self.extra}.items() if value not in ("", None)}

    def member_of(self) -> dict[str, str]:
        """Return its groups, and what each was made of, for a group's name is not free to have any letter."""
        made = [f"{kind}_{value}" for kind, value in (("image", self.image), ("location", self.location)) if value]
        return {"machines": "machines", **{re.sub(r"[^A-Za-z0-9_]", "_", group): group for group in [*made, *self.groups]}}


def read_manifest(path: Path) -> list[Machine]:
    """Return the machines of a manifest, C(.csv) or C(.yml)/C(.yaml).

    :raises ManifestError: It cannot be read, or says something twice, or something that cannot be.
    """
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise ManifestError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ManifestError(f"{path}:{line}: this is not UTF-8: save it as CSV UTF-8") from error
    rows = _csv_rows(path, text) if path.suffix.lower() == ".csv" else _yaml_rows(path, text)
    machines: list[Machine] = []
    seen: dict[str, str] = {}
    groups: dict[str, tuple[str, str]] = {}
    for place, row in rows:
        machine = _machine(place, row)
        for kind, value in [("name", machine.name.lower()), *(("MAC address", mac) for mac in machine.macs)]:
            if value in seen:
                raise ManifestError(f"{place}: {kind} {value} is there already, at {seen[value]}")
            seen[value] = place
        for group, origin in machine.member_of().items():
            other, where = groups.setdefault(group, (origin, place))
            if other != origin:
                raise ManifestError(
                    f"{place}: {origin!r} and {other!r}, at {where}, would be one group, {group}: rename one of them"
                )
        machines.append(machine)
    if not machines:
        raise ManifestError(f"{path}: there is no machine in it")
    return machines


def _csv_rows(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    header = text.split("\n", 1)[0]
    reader = csv.DictReader(io.StringIO(text), delimiter=";" if header.count(";") > header.count(",") else ",", strict=True)
    try:
        columns = [(name or "").strip() for name in reader.fieldnames or []]
        _check_columns(f"{path}:1", columns)
        reader.fieldnames = columns
        for row in reader:
            place = f"{path}:{reader.line_num}"
            if None in row or None in row.values():
                raise ManifestError(f"{place}: this line has another number of cells than the first line, {len(columns)}")
            if any(str(value).strip() for value in row.values()):
                yield place, {key: value.strip() for key, value in row.items()}
    except csv.Error as error:
        raise ManifestError(f"{path}:{reader.reader.line_num}: {error}") from error


def _yaml_rows(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if yaml is None:
        raise ManifestError(f"{path}: a manifest in YAML needs PyYAML, which is not installed here")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ManifestError(f"{path}: {error}") from error
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise ManifestError(f"{path}: a manifest in YAML is a list of machines, each a mapping with name, mac, …")
    for number, row in enumerate(value, 1):
        place = f"{path}: machine {number}"
        _check_columns(place, [str(key) for key in row])
        joined = {
            key: " ".join(map(str, item)) if key in ("mac", "groups") and isinstance(item, list) else item
            for key, item in row.items()
        }
        yield place, {key: str("" if item is None else item) if key in _KNOWN else item for key, item in joined.items()}


def _check_columns(place: str, columns: list[str]) -> None:
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise ManifestError(
            f"{place}: there is no column {' and no column '.join(missing)}; found: {', '.join(columns) or 'nothing'}"
        )
    for name in columns:
        if not _VARIABLE.fullmatch(name) or columns.count(name) > 1:
            raise ManifestError(f"{place}: column {name!r} is there twice, or cannot be the name of a variable")


def _machine(place: str, row: dict[str, Any]) -> Machine:
    name = row["name"]
    try:
        check_host_name(name)
    except InvalidNameError as error:
        raise ManifestError(f"{place}: {error}") from error
    try:
        macs = tuple(dict.fromkeys(parse_mac(mac) for mac in re.split(r"[ ;]+", row["mac"]) if mac))
    except InvalidNameError as error:
        raise ManifestError(f"{place}: {name}: {error}") from error
    if not macs:
        raise ManifestError(f"{place}: {name} has no MAC address")
    address = row.get("address", "")
    if address and not _is_address(address):
        raise ManifestError(f"{place}: {name}: {address!r} is neither an IP address nor a DNS name")
    if row.get("loader") and row["loader"] not in LOADERS:
        raise ManifestError(f"{place}: {name}: loader {row['loader']!r} is unknown: choose one of {', '.join(LOADERS)}")
    groups = tuple(group for group in re.split(r"[ ;]+", row.get("groups", "")) if group)
    extra = {key: value for key, value in row.items() if key not in _KNOWN}
    texts = {key: row.get(key, "") for key in ("image", "version", "location", "loader")}
    return Machine(name=name, macs=macs, address=address, groups=groups, extra=extra, **texts)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        try:
            check_dns_name(text)
        except InvalidNameError:
            return False
    return True
