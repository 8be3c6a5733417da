# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The end of an arming whose run is gone: the machine starts its own disk again, though nobody disarmed it.

A systemd timer of the role C(boot_server) runs it as C(python3 -m …fleet.expiry ROOT) every minute. An arming lasts for the
bound of boot.json after the last sign of work: that it was armed, that a run took or renewed the machine's lease, that the
machine checked in or told of its progress. So it never ends under a run, nor under a machine that works.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Callable, Iterator

from ansible_collections.reimage.lab.plugins.module_utils.boot.configuration import Configuration, load_configuration
from ansible_collections.reimage.lab.plugins.module_utils.boot.layout import Layout
from ansible_collections.reimage.lab.plugins.module_utils.boot.outcome import heard_at, load_outcome
from ansible_collections.reimage.lab.plugins.module_utils.boot.targets import RELOAD, disarm, reload
from ansible_collections.reimage.lab.plugins.module_utils.boot.tokens import (
    Arming,
    all_armings,
    armed_last,
    load_arming,
    mask_tokens,
)
from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError
from ansible_collections.reimage.lab.plugins.module_utils.fleet.lease import held, load_lease, locked
from ansible_collections.reimage.lab.plugins.module_utils.fleet.states import advance, load_record, save_record

EXPIRED = "its arming expired"
# What is over for a machine in one of these states stays as it was: that its arming expired is only added.
_SETTLED = ("registered", "done", "failed")


def expire(layout: Layout, forget: Callable[[], None]) -> Iterator[str]:
    """Disarm every machine whose arming is over, and record why. Yields a line for the journal on each.

    One machine's trouble does not keep the others armed.

    :param forget: Makes dnsmasq forget a machine that it has no file of any more.
    :raises BootError: The server is not set up.
    """
    configuration = load_configuration(layout)
    for arming in sorted(all_armings(layout), key=lambda arming: arming.mac):
        try:
            if _is_over(layout, configuration, arming):
                yield from _end(layout, configuration, arming, forget)
        except (ReimageError, OSError) as error:
            yield f"{arming.mac}: its arming could not be ended: {mask_tokens(str(error))}"


def _end(layout: Layout, configuration: Configuration, arming: Arming, forget: Callable[[], None]) -> Iterator[str]:
    with locked(layout, arming.mac):
        # It may have been armed again, or a run may have come, before this had the lock.
        if load_arming(layout, arming.mac) != arming or not _is_over(layout, configuration, arming):
            return
        said = (
            f"{EXPIRED}: for {_shown(configuration.arming_seconds)} no run held it and it reported no progress, so its"
            " next start is from its own disk; run the playbook again"
        )
        disarm(layout, arming.mac, forget)
        record = load_record(layout, arming.mac)
        settled = record["state"] in _SETTLED
        note = f"{record['reason']}; then {said}" if record["reason"] else said
        save_record(layout, advance(record, record["state"] if settled else "failed", note=note))
    yield f"{arming.mac}: {said}"


def _is_over(layout: Layout, configuration: Configuration, arming: Arming) -> bool:
    """Whether an arming has lasted long enough. One without a token, which only sends the machine elsewhere, lasts for ever."""
    target = configuration.targets.get(arming.target)
    if target is not None and not target.needs_token:
        return False
    return held(layout, arming.mac) is None and _last_sign(layout, arming) + configuration.arming_seconds <= time.time()


def _last_sign(layout: Layout, arming: Arming) -> float:
    """Return when there was last a sign that somebody works on a machine, in seconds since the epoch."""
    lease, checkin = load_lease(layout, arming.mac), load_outcome(layout, arming).checkin
    signs = [
        armed_last(layout, arming),
        lease.taken_at if lease is not None else 0.0,
        checkin["received_at"] if checkin is not None else 0.0,
        heard_at(layout, arming) or 0.0,
    ]
    return max(signs)


def _shown(seconds: int) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return " ".join(f"{count} {unit}" for count, unit in ((hours, "h"), (minutes, "min")) if count)


def main() -> None:
    """Do it once, for the folder that is the only argument."""
    try:
        for said in expire(Layout(Path(sys.argv[1])), lambda: reload(RELOAD)):
            sys.stdout.write(f"{said}\n")
            sys.stdout.flush()
    except (ReimageError, OSError) as error:
        raise SystemExit(mask_tokens(str(error))) from None


if __name__ == "__main__":
    main()
