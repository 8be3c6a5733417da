# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: manifest
short_description: The machine manifest, a CSV or YAML table of machines
version_added: 0.1.0
author: The reimage.lab authors (@reimage-lab)
description:
  - Makes a host of every row of a table of machines, with the MAC addresses, image and location that the lifecycle needs.
  - A column C(image) and a column C(location) make groups C(image_NAME) and C(location_NAME); all machines are in C(machines).
  - Columns that are not known become host variables of that name.
  - Any mistake in the table is an error that names the file and the line.
options:
  plugin:
    description: Must be V(reimage.lab.manifest).
    type: str
    required: true
    choices: [reimage.lab.manifest]
  path:
    description: The table, relative to this file. CSV (separated by commas or semicolons) or YAML (a list of mappings), in UTF-8.
    type: str
    required: true
  compose:
    description: Variables made of others with Jinja2 expressions.
    type: dict
    default: {}
  groups:
    description: Groups whose members are found with Jinja2 conditions.
    type: dict
    default: {}
  keyed_groups:
    description: Groups made of the values of a variable.
    type: list
    elements: dict
    default: []
  strict:
    description: Whether an error in a Jinja2 expression is fatal.
    type: bool
    default: true
"""

EXAMPLES = r"""
# manifest.yml
plugin: reimage.lab.manifest
path: manifest.csv

# manifest.csv
# name,mac,image,location,address
# room1-pc01,52:54:00:77:01:01,classroom-linux,room-1,room1-pc01.example.org
"""

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Constructable
from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError
from ansible_collections.reimage.lab.plugins.module_utils.fleet.manifest import read_manifest


class InventoryModule(BaseInventoryPlugin, Constructable):
    """The machine manifest."""

    NAME = "reimage.lab.manifest"

    def verify_file(self, path: str) -> bool:
        """Whether this file is ours: YAML, and naming this plugin."""
        if not super().verify_file(path) or not path.endswith((".yml", ".yaml")):
            return False
        with Path(path).open(encoding="utf-8", errors="replace") as file:
            return any(line.strip().startswith("plugin:") and self.NAME in line for line in file)

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        """Make a host of every machine."""
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        try:
            machines = read_manifest(Path(path).parent / self.get_option("path"))
        except ReimageError as error:
            raise AnsibleParserError(str(error)) from error
        for machine in machines:
            inventory.add_host(machine.name)
            for key, value in machine.variables().items():
                inventory.set_variable(machine.name, key, value)
            for group in machine.member_of():
                inventory.add_child(inventory.add_group(group), machine.name)
            variables = inventory.get_host(machine.name).get_vars()
            strict = self.get_option("strict")
            self._set_composite_vars(self.get_option("compose"), variables, machine.name, strict=strict)
            self._add_host_to_composed_groups(self.get_option("groups"), variables, machine.name, strict=strict)
            self._add_host_to_keyed_groups(self.get_option("keyed_groups"), variables, machine.name, strict=strict)
