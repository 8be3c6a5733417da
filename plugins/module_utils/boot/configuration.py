# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""boot.json: what the role C(boot_server) says that a machine can boot."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ansible_collections.reimage.lab.plugins.module_utils.boot.addresses import Network, parse_network
from ansible_collections.reimage.lab.plugins.module_utils.boot.errors import BootError
from ansible_collections.reimage.lab.plugins.module_utils.boot.files import read_json
from ansible_collections.reimage.lab.plugins.module_utils.boot.kinds.local import Local
from ansible_collections.reimage.lab.plugins.module_utils.boot.kinds.registry import read_target
from ansible_collections.reimage.lab.plugins.module_utils.boot.kinds.target import Target, text_field
from ansible_collections.reimage.lab.plugins.module_utils.boot.layout import Layout
from ansible_collections.reimage.lab.plugins.module_utils.untrusted import UntrustedError, read_whole

LOCAL = "local"
ARMING_SECONDS = 7200
_ARMING_LIMITS = (60, 30 * 86400)
_URL = re.compile(r"https?://[A-Za-z0-9.:\[\]_-]{1,255}(?:/[A-Za-z0-9._~/-]*)?")


@dataclass(frozen=True)
class Configuration:
    """What boot.json holds, and the target C(local), which every boot server has.

    C(subnets) are those that machines boot in; C(arming_seconds) is how long an arming lasts without a sign of work.
    """

    url: str
    targets: dict[str, Target]
    access_log: str | None
    subnets: tuple[Network, ...] = ()
    arming_seconds: int = ARMING_SECONDS

    def target(self, name: str) -> Target:
        """Return a target by its name, or say which ones there are."""
        if name not in self.targets:
            known = ", ".join(sorted(self.targets))
            raise BootError(f"boot target {name!r} is unknown on this boot server: choose one of {known}")
        return self.targets[name]


def load_configuration(layout: Layout) -> Configuration:
    """Read boot.json and check every field of it."""
    path = layout.configuration
    value = read_json(path)
    if value is None:
        raise BootError(f"{path}: is missing: set this boot server up with reimage.lab.setup_server, or correct `root`")
    url = text_field(value, "url", _URL, str(path)).rstrip("/")
    targets = value.get("targets")
    if not isinstance(targets, dict):
        raise BootError(f"{path}: `targets` must be a mapping of names to what they boot")
    if LOCAL in targets:
        raise BootError(f"{path}: target {LOCAL!r} has a meaning already, no answer at all: choose another name")
    log = value.get("access_log")
    if log is not None and not (isinstance(log, str) and log.startswith("/")):
        raise BootError(f"{path}: `access_log` must be an absolute path")
    subnets = value.get("subnets", [])
    if not isinstance(subnets, list):
        raise BootError(f"{path}: `subnets` must be a list")
    try:
        least, most = _ARMING_LIMITS
        arming_seconds = read_whole(value.get("arming_seconds", ARMING_SECONDS), most, least)
    except UntrustedError as error:
        raise BootError(f"{path}: `arming_seconds`: {error}") from error
    declared = {name: read_target(name, targets[name], f"{path}: target {name!r}") for name in targets}
    return Configuration(url, {LOCAL: Local(LOCAL), **declared}, log, tuple(map(parse_network, subnets)), arming_seconds)
