# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Arming and disarming: what a machine's next network boot gets."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Callable, Sequence

from ansible_collections.reimage.lab.plugins.module_utils.boot.configuration import (
    LOCAL,
    load_configuration,
)
from ansible_collections.reimage.lab.plugins.module_utils.boot.errors import BootError
from ansible_collections.reimage.lab.plugins.module_utils.boot.files import read_text, remove, write_text
from ansible_collections.reimage.lab.plugins.module_utils.boot.kinds.target import Boot, Target
from ansible_collections.reimage.lab.plugins.module_utils.boot.layout import Layout
from ansible_collections.reimage.lab.plugins.module_utils.boot.loaders import Loader
from ansible_collections.reimage.lab.plugins.module_utils.boot.tokens import (
    MASK,
    Arming,
    close_inbox,
    load_arming,
    new_arming,
    open_inbox,
    prolong,
    save_arming,
)
from ansible_collections.reimage.lab.plugins.module_utils.command import run

RELOAD = ("systemctl", "reload-or-restart", "dnsmasq")


@dataclass(frozen=True)
class Change:
    """What setting a boot target did, or in check mode would do; before and after are for people, without the token.

    There is no token where none is needed or, in check mode, none was made yet. An arming with a token ends at C(expires_at),
    unless there is a sign of work on the machine.
    """

    changed: bool
    token: str | None
    armed_at: float | None
    before: str
    after: str
    expires_at: float | None = None


def arm(
    layout: Layout, mac: str, target: str, others: Sequence[str] = (), *, renew: bool = False, dry_run: bool = False
) -> Change:
    """Have a machine boot a target from the network, from its next boot until it is disarmed.

    :param others: MACs of the machine's other cards, which it may boot from too.
    :param renew: Make a new token, and close the old one, though the machine is armed with this target already.
    :raises BootError: The target is unknown, or a file of it is missing; nothing was written.
    """
    configuration = load_configuration(layout)
    boots = configuration.target(target)
    _require_files(layout, boots)
    _require_folders(layout, mac)
    old = load_arming(layout, mac)
    keep = old is not None and old.target == target and not renew and old.others == tuple(others)
    arming = old if old is not None and keep else new_arming(mac, target, others)
    token = arming.token if boots.needs_token else ""
    scripts = {
        layout.script(card, loader): boots.script(loader, Boot(configuration.url, mac, card, token))
        for card in arming.macs
        for loader in Loader
    }
    changed = not (
        keep
        and (not token or layout.inbox(token).is_dir())
        and all(read_text(path) == script for path, script in scripts.items())
        and all(read_text(layout.hosts(card)) == f"{card}\n" for card in arming.macs)
    )
    before, after = (
        _shown(layout, mac, old),
        _masked("".join(scripts.values()), arming) + ("" if keep or not token else f"# with a new token: {MASK}\n"),
    )
    if changed and not dry_run:
        if old is not None and not keep:
            _close(layout, old)
            for card in set(old.others) - set(arming.others):
                _forget(layout, card)
        save_arming(layout, arming)
        if token:
            open_inbox(layout, token)
        for path, script in scripts.items():
            write_text(path, script)
        for card in arming.macs:  # last: from here on dnsmasq answers
            # No tag: with one, dnsmasq 2.90 frees the wrong memory when it reloads.
            write_text(layout.hosts(card), f"{card}\n")
    if keep and not dry_run:
        prolong(layout, arming)
    expires_at = round(time.time() + configuration.arming_seconds, 3) if token else None
    known = keep or not dry_run
    return Change(changed, token if known and token else None, arming.armed_at if known else None, before, after, expires_at)


def disarm(layout: Layout, mac: str, reload: Callable[[], None], *, dry_run: bool = False) -> Change:
    """Have a machine start its own disk again, and close its token.

    :param reload: Makes dnsmasq forget the machine. The record of the token goes only after that: if it fails, the
        next attempt sees that the work is not done.
    """
    old = load_arming(layout, mac)
    changed = old is not None or any(path.exists() for path in (layout.hosts(mac), *layout.scripts(mac)))
    before = _shown(layout, mac, old)
    if changed and not dry_run:
        for card in old.macs if old is not None else (mac,):
            _forget(layout, card)
        if old is not None:
            _close(layout, old)
        reload()
        remove(layout.token(mac))
    return Change(changed, None, None, before, _shown_local(mac))


def reload(command: Sequence[str] = RELOAD) -> None:
    """Have dnsmasq forget the machines that it has no file of any more; an empty command does nothing."""
    if command:
        run(command)


def _close(layout: Layout, arming: Arming) -> None:
    close_inbox(layout, arming.token)
    remove(layout.outcome(arming.mac))


def _forget(layout: Layout, card: str) -> None:
    for path in (layout.hosts(card), *layout.scripts(card)):
        remove(path)


def _require_files(layout: Layout, target: Target) -> None:
    for name in target.files:
        if not (layout.http / name).is_file():
            raise BootError(
                f"boot target {target.name!r}: {layout.http / name} is missing: set this boot server up again"
                " with reimage.lab.setup_server"
            )


def _require_folders(layout: Layout, mac: str) -> None:
    own = (layout.hosts(mac), layout.script(mac), layout.token(mac), layout.outcome(mac), layout.record(mac))
    for folder in (*(path.parent for path in own), layout.checkins, layout.arrivals):
        if not folder.is_dir():
            raise BootError(f"{folder} is missing: set this boot server up again with reimage.lab.setup_server")


def _shown(layout: Layout, mac: str, arming: Arming | None) -> str:
    scripts = [read_text(path) for card in arming.macs for path in layout.scripts(card)] if arming else []
    if arming is None or not any(scripts):
        return _shown_local(mac)
    return _masked("".join(script or "" for script in scripts), arming)


def _shown_local(mac: str) -> str:
    return f"# {mac} boots {LOCAL}: no answer to its network boot\n"


def _masked(script: str, arming: Arming) -> str:
    return script.replace(arming.token, MASK)
