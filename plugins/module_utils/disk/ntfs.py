# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The state of an NTFS volume that is not mounted, as ntfs-3g's tools see it."""

from __future__ import annotations

from ansible_collections.reimage.lab.plugins.module_utils.command import run

HIBERNATED, DIRTY = "hibernated", "dirty"
_PROBE_SAYS_HIBERNATED, _PROBE_SAYS_UNCLEAN = 14, 15


def states(device: str) -> list[str]:
    """Return what stands in the way of capturing it or writing to it: C(HIBERNATED), C(DIRTY), both, or nothing."""
    found = []
    probed = run(["ntfs-3g.probe", "--readwrite", device], accept=range(256)).returncode
    if probed == _PROBE_SAYS_HIBERNATED:
        found.append(HIBERNATED)
    # The probe accepts a volume that waits for chkdsk; ntfsinfo does not, but accepts one with an old journal to be replayed.
    if run(["ntfsinfo", "-m", device], accept=(0, 1)).returncode or probed == _PROBE_SAYS_UNCLEAN:
        found.append(DIRTY)
    return found
