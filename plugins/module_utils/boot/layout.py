# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where things are on the boot server: the folder that docs/architecture.md draws."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ansible_collections.reimage.lab.plugins.module_utils.boot.loaders import Loader
from ansible_collections.reimage.lab.plugins.module_utils.mac import dashed


@dataclass(frozen=True)
class Layout:
    """The paths under the boot modules' C(root)."""

    root: Path

    @property
    def configuration(self) -> Path:
        return self.root / "boot.json"

    @property
    def http(self) -> Path:
        return self.root / "http"

    @property
    def checkins(self) -> Path:
        return self.root / "checkin"

    @property
    def arrivals(self) -> Path:
        """Return where the web server puts check-ins, until they are judged."""
        return self.root / "arrivals"

    def hosts(self, mac: str) -> Path:
        return self.root / "hosts" / dashed(mac)

    def script(self, mac: str, loader: Loader = Loader.IPXE) -> Path:
        """Return the script of a card; each loader asks for it by the address as it can write it."""
        return self.http / "machines" / f"{mac if loader is Loader.GRUB else dashed(mac)}.{loader.value}"

    def scripts(self, mac: str) -> list[Path]:
        """Return the scripts of a card, one for each loader."""
        return [self.script(mac, loader) for loader in Loader]

    @property
    def tokens(self) -> Path:
        return self.root / "tokens"

    def token(self, mac: str) -> Path:
        return self.tokens / f"{dashed(mac)}.json"

    def inbox(self, token: str) -> Path:
        """Return the one folder that a token opens."""
        return self.checkins / token

    def outcome(self, mac: str) -> Path:
        """Return what became of the check-ins of a machine."""
        return self.root / "outcomes" / f"{dashed(mac)}.json"

    def record(self, mac: str) -> Path:
        """Return all that is recorded of a machine, for root's eyes only."""
        return self.root / "records" / f"{dashed(mac)}.json"

    @property
    def states(self) -> Path:
        return self.root / "state"

    def state(self, mac: str) -> Path:
        """Return what everybody may read of a machine's record."""
        return self.states / f"{dashed(mac)}.json"

    def lease(self, mac: str) -> Path:
        return self.root / "leases" / f"{dashed(mac)}.json"

    def progress(self, token: str, address: str) -> Path:
        """Return where the machine at an address that has a token says how far its work is."""
        return self.inbox(token) / f"{address}.progress.json"
