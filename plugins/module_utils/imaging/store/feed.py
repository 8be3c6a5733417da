# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where chunks come from without being asked for one by one, such as a multicast."""

from __future__ import annotations

from typing import Collection, Iterator, Protocol


class Feed(Protocol):
    """A sender of chunks, which chooses their order."""

    def offered(self, wanted: Collection[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """Yield chunks until no more come: the id of each, and what it is packed, as in a store.

        They need be neither wanted nor sound, for they are checked, and stores give what did not come.

        :param wanted: The ids that are still wanted. It shrinks while they arrive.
        :raises ImagingError: The feed broke off.
        """
