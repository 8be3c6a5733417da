# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asks the boot server in short calls until a machine has checked in: stopped, it leaves nothing running there."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.utils.display import Display
from ansible_collections.reimage.lab.plugins.plugin_utils.machine import MachineAction
from ansible_collections.reimage.lab.plugins.plugin_utils.this_run import this_run, who

LONGEST_CALL = 15.0
RENEWAL = 60.0
display = Display()


class ActionModule(MachineAction):
    _requires_connection = True
    TRANSFERS_FILES = False

    def work(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        _validated, options = self.validate_argument_spec(
            argument_spec={
                "mac": {"type": "str", "required": True},
                "timeout": {"type": "int", "default": 600},
                "lease": {"type": "dict"},
                "root": {"type": "path", "default": "/srv/reimage/boot"},
            }
        )
        machine = f"{task_vars.get('inventory_hostname', 'machine')} ({options['mac']})"
        timeout = 0 if self._task.check_mode else options["timeout"]
        started, known = time.monotonic(), 0
        told: list[str] = []
        renew_at = started + RENEWAL
        while True:
            if options["lease"] and time.monotonic() >= renew_at:
                held = self._renew(options, task_vars)
                if held.get("failed"):
                    return held
                renew_at = time.monotonic() + RENEWAL
            left = timeout - (time.monotonic() - started)
            wait = max(0.0, min(LONGEST_CALL, left))
            found = self._ask(options, task_vars, wait=wait, known=known, hints=left <= LONGEST_CALL)
            if found.get("failed"):
                return {**found, "msg": f"{machine}: {found.get('msg', 'the boot server cannot be asked')}"}
            waited = time.monotonic() - started
            known = len(found["fetched"])
            _tell(machine, found, told)
            if found["checkin"]:
                _refuse_own(machine, found["checkin"]["address"])
                display.display(f"{machine}: checked in from {found['checkin']['address']} after {waited:.0f} s")
                for note in notes(found["checkin"]):
                    display.display(f"{machine}: {note}")
                return {"changed": False, "checkin": found["checkin"], "seconds": round(waited, 1)}
            if self._task.check_mode:
                return {"changed": False, "checkin": None, "seconds": round(waited, 1)}
            if waited >= timeout:
                raise AnsibleActionFail(f"{explain(machine, timeout, found)}. To follow its next boot, run reimage.lab.diagnose")

    def _ask(self, options: dict[str, Any], task_vars: dict[str, Any], **more: Any) -> dict[str, Any]:
        found: dict[str, Any] = self._execute_module(
            module_name="reimage.lab.checkin_info",
            module_args={"mac": options["mac"], "root": options["root"], **more},
            task_vars=task_vars,
        )
        return found

    def _renew(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Take the lease of the machine again, so that waiting does not lose it."""
        lease = {**options["lease"], "run": this_run(), "holder": who()}
        result: dict[str, Any] = self._execute_module(
            module_name="reimage.lab.machine_state",
            module_args={"mac": options["mac"], "root": options["root"], "lease": lease},
            task_vars=task_vars,
        )
        return result


def _tell(machine: str, found: dict[str, Any], told: list[str]) -> None:
    """Show what the boot server saw since the last time."""
    lines = [f"fetched {step['file']} from {step['address']}" for step in found["fetched"]]
    lines += [f"a check-in from {refusal['sender']} was refused: {refusal['reason']}" for refusal in found["refused"]]
    for line in lines:
        if line not in told:
            display.display(f"{machine}: {line}")
            told.append(line)


def notes(checkin: dict[str, Any]) -> list[str]:
    """Say what a person should know of who fetched the boot script, besides the machine."""
    address, fetched_by = checkin["address"], checkin["fetched_by"]
    others = ", ".join(other for other in fetched_by if other != address)
    if address not in fetched_by:
        return [f"its boot loader had another address, {others}, so that only the subnet of {address} could be checked"]
    return [f"its boot script was also fetched from {others}"] if others else []


def _refuse_own(machine: str, address: str) -> None:
    """Refuse an address of the controller itself: the kernel would go there from that very address. Nothing is sent."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect((address, 9))
        if probe.getsockname()[0] == address:
            raise AnsibleActionFail(f"{machine}: {address}, which checked in, is an address of the controller")


def explain(machine: str, timeout: int, found: dict[str, Any]) -> str:
    """Say what was awaited, for how long, how far the machine came, and what to look at."""
    ago = found["now"] - found["armed_at"]
    awaited = f"{machine}: no check-in within {timeout} s. It was armed with {found['target']} {ago:.0f} s ago"
    if found["waiting"]:
        return (
            f"{awaited}, and {found['waiting']} check-ins wait at the boot server for being looked at: see there what"
            " systemctl status reimage-checkin.path reimage-checkin.service says"
        )
    if found["refused"]:
        last = found["refused"][-1]
        return f"{awaited}, and the boot server refused what came from {last['sender']}: {last['reason']}"
    if found["fetched"]:
        last = found["fetched"][-1]
        files = ", ".join(step["file"] for step in found["fetched"])
        return (
            f"{awaited} and has since fetched {files} from this boot server (last at {_clock(last['at'])}, as"
            f" {last['address']}): look at its screen"
        )
    if found.get("dhcp"):
        return (
            f"{awaited} and has since asked for its network boot (dnsmasq: {found['dhcp']}), but has not fetched"
            " its boot script: look at its screen, and check that it reaches this server by TFTP (UDP 69) and HTTP"
        )
    return (
        f"{awaited} and has since not asked this boot server for anything: check that it is switched on, boots from"
        " the network first, has this MAC address, and that its network's DHCP relay names this server too"
    )


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.gmtime(at)) + " UTC"
