# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The waiting itself; the boot server's answers are made up here, and real in tests/integration and molecule."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.reimage.lab.plugins.action import wait_for_checkin
from ansible_collections.reimage.lab.plugins.plugin_utils.this_run import this_run

STEP = {"file": "vmlinuz", "at": 1795226400.0, "address": "10.77.1.101"}
NOTHING = {"checkin": None, "fetched": [], "refused": [], "waiting": 0, "armed_at": 100.0, "now": 130.0, "target": "automation"}


class Clock:
    """Time that passes only while the boot server is asked."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Any:
    clock = Clock()
    shown: list[str] = []
    monkeypatch.setattr(wait_for_checkin.time, "monotonic", clock.monotonic)
    monkeypatch.setattr(wait_for_checkin.display, "display", shown.append)

    def run(answers: list[dict[str, Any]], timeout: int = 40, check_mode: bool = False, held: Any = None, **options: Any) -> Any:
        asked: list[dict[str, Any]] = []
        renewed: list[tuple[float, dict[str, Any]]] = []

        def execute(module_name: str, module_args: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
            if module_name == "reimage.lab.machine_state":
                renewed.append((clock.now, module_args["lease"]))
                return {"failed": True, "held": held} if held else {"changed": False}
            asked.append(module_args)
            clock.now += module_args["wait"]
            return answers[min(len(asked), len(answers)) - 1]

        task = SimpleNamespace(
            check_mode=check_mode, async_val=0, args={"mac": "52:54:00:77:01:01", "timeout": timeout, **options}, action="wait"
        )
        action = wait_for_checkin.ActionModule(
            task, SimpleNamespace(_shell=SimpleNamespace(tmpdir="/tmp")), None, None, None, None
        )
        monkeypatch.setattr(action, "_execute_module", execute)
        return SimpleNamespace(
            result=action.run(task_vars={"inventory_hostname": "pc-01"}), asked=asked, renewed=renewed, shown=shown
        )

    return run


CHECKIN = {"address": "10.77.1.101", "fetched_by": ["10.77.1.101"]}


def test_check_in_is_returned_and_each_step_shown_once(wait: Any) -> None:
    answers = [
        NOTHING,
        {**NOTHING, "fetched": [STEP]},
        {**NOTHING, "fetched": [STEP], "checkin": CHECKIN},
    ]
    got = wait(answers)
    assert got.result == {"changed": False, "checkin": CHECKIN, "seconds": 40.0}
    assert got.shown == [
        "pc-01 (52:54:00:77:01:01): fetched vmlinuz from 10.77.1.101",
        "pc-01 (52:54:00:77:01:01): checked in from 10.77.1.101 after 40 s",
    ]
    assert [asked["known"] for asked in got.asked] == [0, 0, 1]
    assert max(asked["wait"] for asked in got.asked) <= 15


def test_waiting_renews_the_lease_once_a_minute(wait: Any) -> None:
    answers = [NOTHING] * 10 + [{**NOTHING, "checkin": CHECKIN}]
    got = wait(answers, timeout=600, lease={"purpose": "reimage a/1", "seconds": 300})
    assert [at for at, _lease in got.renewed] == [60.0, 120.0]
    lease = got.renewed[0][1]
    assert (lease["purpose"], lease["seconds"], lease["run"]) == ("reimage a/1", 300, this_run())
    assert wait(answers, timeout=600).renewed == []


def test_waiting_ends_where_another_run_has_the_machine(wait: Any) -> None:
    got = wait([NOTHING], timeout=600, lease={"purpose": "reimage a/1"}, held={"run": "elsewhere"})
    assert got.result == {"failed": True, "held": {"run": "elsewhere"}}
    assert sum(asked["wait"] for asked in got.asked) == 60


def test_timeout_names_machine_wait_and_what_to_look_at(wait: Any) -> None:
    with pytest.raises(AnsibleActionFail) as failure:
        wait([NOTHING])
    assert str(failure.value).startswith(
        "pc-01 (52:54:00:77:01:01): no check-in within 40 s. It was armed with automation 30 s ago and has since not"
        " asked this boot server for anything: check that it is switched on"
    )
    assert str(failure.value).endswith(". To follow its next boot, run reimage.lab.diagnose")


def test_timeout_says_how_far_the_machine_came(wait: Any) -> None:
    with pytest.raises(AnsibleActionFail, match=r"fetched vmlinuz .*\(last at \d\d:\d\d:00 UTC, as 10.77.1.101\)"):
        wait([{**NOTHING, "fetched": [STEP]}])
    with pytest.raises(AnsibleActionFail, match=r"dnsmasq: PXE proxy.*has not fetched its boot script"):
        wait([{**NOTHING, "dhcp": "PXE proxy"}])


def test_error_of_the_boot_server_ends_the_wait_and_names_the_machine(wait: Any) -> None:
    got = wait([{"failed": True, "msg": "x is not armed"}])
    assert (got.result["failed"], got.result["msg"]) == (True, "pc-01 (52:54:00:77:01:01): x is not armed")


def test_check_mode_asks_once(wait: Any) -> None:
    got = wait([NOTHING], check_mode=True)
    assert (got.result["checkin"], len(got.asked)) == (None, 1)


REFUSAL = {"at": 1.0, "sender": "10.77.1.66", "reason": "it says that it is at 10.77.1.101", "by_machine": False}


def test_each_refusal_is_shown_once_while_the_wait_goes_on(wait: Any) -> None:
    got = wait([{**NOTHING, "refused": [REFUSAL]}, {**NOTHING, "refused": [REFUSAL]}, {**NOTHING, "checkin": CHECKIN}])
    assert got.shown[0] == (
        "pc-01 (52:54:00:77:01:01): a check-in from 10.77.1.66 was refused: it says that it is at 10.77.1.101"
    )
    assert len(got.shown) == 2 and got.result["checkin"] == CHECKIN


@pytest.mark.parametrize(
    ("fetched_by", "said"),
    [
        (
            ["10.77.1.200"],
            "its boot loader had another address, 10.77.1.200, so that only the subnet of 10.77.1.101 could be checked",
        ),
        (["10.77.1.66", "10.77.1.101"], "its boot script was also fetched from 10.77.1.66"),
    ],
)
def test_others_that_fetched_the_boot_script_are_shown(wait: Any, fetched_by: list[str], said: str) -> None:
    got = wait([{**NOTHING, "checkin": {**CHECKIN, "fetched_by": fetched_by}}])
    assert got.shown[-1].startswith(f"pc-01 (52:54:00:77:01:01): {said}")


def test_address_of_the_controller_is_refused(wait: Any) -> None:
    with pytest.raises(AnsibleActionFail, match=r"127\.0\.0\.1, which checked in, is an address of the controller"):
        wait([{**NOTHING, "checkin": {**CHECKIN, "address": "127.0.0.1"}}])


def test_timeout_tells_what_the_boot_server_refused_or_did_not_look_at(wait: Any) -> None:
    with pytest.raises(AnsibleActionFail, match=r"the boot server refused what came from 10\.77\.1\.66: it says that"):
        wait([{**NOTHING, "fetched": [STEP], "refused": [REFUSAL]}])
    with pytest.raises(AnsibleActionFail, match=r"2 check-ins wait .* systemctl status reimage-checkin\.path"):
        wait([{**NOTHING, "fetched": [STEP], "waiting": 2}])
