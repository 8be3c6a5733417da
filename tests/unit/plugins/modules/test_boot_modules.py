# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The wiring of the boot modules; what they do is tested with module_utils/boot."""

from __future__ import annotations

import hashlib
import json
import time
from types import ModuleType
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.reimage.lab.plugins.module_utils.boot.layout import Layout
from ansible_collections.reimage.lab.plugins.module_utils.boot.outcome import Outcome, Refusal, save_outcome
from ansible_collections.reimage.lab.plugins.module_utils.boot.tokens import Arming, load_arming
from ansible_collections.reimage.lab.plugins.modules import boot_target, checkin_info, machine_info, machine_state

MAC = "52:54:00:77:01:01"


def call(module: ModuleType, capsys: pytest.CaptureFixture[str], **options: Any) -> dict[str, Any]:
    with patch_module_args(options), pytest.raises(SystemExit):
        module.main()
    return json.loads(capsys.readouterr().out)  # type: ignore[no-any-return]


def test_arm_and_disarm(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    common = {"mac": MAC.upper(), "root": str(layout.root), "reload": ["touch", str(layout.root / "reloaded")]}
    armed = call(boot_target, capsys, target="automation", **common)
    assert armed["changed"] and layout.inbox(armed["token"]).is_dir() and armed["armed_at"] <= time.time()
    assert armed["token"] not in json.dumps(armed["diff"])
    assert not (layout.root / "reloaded").exists()
    assert call(boot_target, capsys, target="local", _ansible_check_mode=True, **common)["changed"]
    assert layout.inbox(armed["token"]).is_dir()
    disarmed = call(boot_target, capsys, target="local", **common)
    assert disarmed["changed"] and "token" not in disarmed
    assert (layout.root / "reloaded").exists()


def test_disarm_without_reload(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    call(boot_target, capsys, mac=MAC, target="automation", root=str(layout.root))
    assert call(boot_target, capsys, mac=MAC, target="local", root=str(layout.root), reload=[])["changed"]


def test_failed_reload_fails_the_module(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    call(boot_target, capsys, mac=MAC, target="automation", root=str(layout.root))
    result = call(boot_target, capsys, mac=MAC, target="local", root=str(layout.root), reload=["false"])
    assert result["failed"] and "false: failed with exit code 1" in result["msg"]


@pytest.mark.parametrize("module", [boot_target, machine_state, machine_info, checkin_info])
def test_malformed_mac_is_one_clear_error(layout: Layout, capsys: pytest.CaptureFixture[str], module: ModuleType) -> None:
    more = {"target": "automation"} if module is boot_target else {}
    result = call(module, capsys, mac="pc-01", root=str(layout.root), **more)
    assert result["failed"]
    assert result["msg"] == "'pc-01' is not a MAC address: write it like 52:54:00:77:01:01"


def test_state_is_recorded_once_and_read(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    common = {"mac": MAC, "root": str(layout.root)}
    writing = {**common, "state": "writing", "name": "pc-01", "image": "a/1"}
    assert call(machine_state, capsys, **writing, _ansible_check_mode=True)["changed"]
    assert call(machine_state, capsys, **common)["machine"]["state"] == "registered"
    assert call(machine_state, capsys, **writing)["changed"]
    assert not call(machine_state, capsys, **writing)["changed"]
    read = call(machine_state, capsys, **common, name="other")
    assert not read["changed"]
    assert (read["machine"]["state"], read["machine"]["name"]) == ("writing", "pc-01")


def test_unknown_state_is_refused(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    result = call(machine_state, capsys, mac=MAC, root=str(layout.root), state="sleeping")
    assert result["failed"] and "sleeping" in result["msg"]
    assert list((layout.root / "state").iterdir()) == []


def test_check_in_of_a_machine_that_is_not_armed_is_not_awaited(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    result = call(checkin_info, capsys, mac=MAC, root=str(layout.root), wait=60)
    assert result["failed"] and f"{MAC} is not armed" in result["msg"]


def test_wait_ends_with_the_next_sign_or_the_time(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    armed = call(boot_target, capsys, mac=MAC, target="automation", root=str(layout.root))
    common = {"mac": MAC, "root": str(layout.root)}
    started = time.monotonic()
    nothing = call(checkin_info, capsys, **common, wait=0.2)
    assert time.monotonic() - started >= 0.2
    assert (nothing["checkin"], nothing["fetched"], nothing["target"]) == (None, [], "automation")
    entry = {
        "at": time.time(),
        "client": "10.0.0.7",
        "uri": f"/boot/machines/{MAC.replace(':', '-')}.ipxe",
        "status": 200,
    }
    (layout.root / "access.log").write_text(json.dumps(entry) + "\n")
    sign = call(checkin_info, capsys, **common, wait=60)
    assert [step["address"] for step in sign["fetched"]] == ["10.0.0.7"]
    assert armed["token"] not in json.dumps(sign)


def test_one_call_takes_the_lease_and_records_the_state_or_does_neither(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    common = {"mac": MAC, "root": str(layout.root), "name": "pc-01"}
    mine, other = ({"run": run, "holder": run, "purpose": "reimage a/1"} for run in ("run-1", "run-2"))
    taken = call(machine_state, capsys, **common, state="armed", lease=mine)
    assert (taken["changed"], taken["machine"]["state"], taken["lease"]["run"]) == (True, "armed", "run-1")
    for refused in ({"state": "failed", "lease": other}, {"state": "failed"}, {"lease": other}):
        result = call(machine_state, capsys, **common, **refused)
        assert (result["failed"], result["held"]["run"]) == (True, "run-1")
    assert call(machine_state, capsys, **common)["lease"]["run"] == "run-1"
    wrong = call(machine_state, capsys, **common, state="verified", lease=mine)
    assert "pc-01 is armed, so it cannot become verified" in wrong["msg"]
    renewed = call(machine_state, capsys, **common, lease=mine)
    assert (renewed["changed"], renewed["machine"]["state"]) == (False, "armed")
    given = call(machine_state, capsys, **common, state="failed", lease={**mine, "release": True})
    assert (given["machine"]["state"], given["lease"]) == ("failed", None)
    assert call(machine_state, capsys, **common, state="armed", lease=other)["lease"]["run"] == "run-2"


def test_check_mode_takes_no_lease(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    common = {"mac": MAC, "root": str(layout.root)}
    assert call(machine_state, capsys, **common, state="armed", lease={"run": "run-1"}, _ansible_check_mode=True)["changed"]
    assert not (layout.root / "leases").exists()
    assert call(machine_state, capsys, **common)["lease"] is None


class TestCheckin:
    """What C(checkin_info) and C(machine_state) make of what became of check-ins; the judging is tested with C(arrivals)."""

    @pytest.fixture
    def arming(self, layout: Layout, capsys: pytest.CaptureFixture[str]) -> Arming:
        call(boot_target, capsys, mac=MAC, target="automation", root=str(layout.root))
        found = load_arming(layout, MAC)
        assert found is not None
        return found

    def test_challenge_is_answered_by_the_token_which_is_not_told(
        self, layout: Layout, capsys: pytest.CaptureFixture[str], arming: Arming
    ) -> None:
        save_outcome(layout, MAC, Outcome(arming.armed_at, {"address": "10.77.1.101"}))
        results = [call(checkin_info, capsys, mac=MAC, root=str(layout.root)) for _time in range(2)]
        for result in results:
            challenge = result["checkin"]["challenge"]
            assert hashlib.sha256(f"{challenge['nonce']}{arming.token}".encode()).hexdigest() == challenge["answer"]
            assert arming.token not in json.dumps(result)
        assert results[0]["checkin"]["challenge"] != results[1]["checkin"]["challenge"]

    def test_controllers_address_is_refused(
        self, layout: Layout, capsys: pytest.CaptureFixture[str], arming: Arming, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSH_CONNECTION", "10.77.1.1 50000 10.77.1.2 22")
        save_outcome(layout, MAC, Outcome(arming.armed_at, {"address": "10.77.1.1"}))
        result = call(checkin_info, capsys, mac=MAC, root=str(layout.root))
        assert result["failed"]
        assert result["msg"] == f"10.77.1.1, which checked in as {MAC}, is the address of the controller"

    def test_what_is_known_of_a_machine_holds_its_check_in_unless_that_cannot_be_used(
        self, layout: Layout, capsys: pytest.CaptureFixture[str], arming: Arming, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSH_CONNECTION", "10.77.1.1 50000 10.77.1.2 22")
        keys = {"host_keys": ["ssh-ed25519 AAAA"], "received_at": 1.0}
        rival = Refusal(2.0, "10.77.1.66", "another", by_machine=True)
        monkeypatch.setattr(machine_info, "answers", lambda checkin: checkin["address"] == "10.77.1.101")
        for outcome, address, armed in (
            (Outcome(arming.armed_at), None, True),
            (Outcome(arming.armed_at, {"address": "10.77.1.101", **keys}), "10.77.1.101", True),
            (Outcome(arming.armed_at, {"address": "10.77.1.101", **keys}).refuse(rival), None, False),
            (Outcome(arming.armed_at, {"address": "10.77.1.1", **keys}), None, False),
        ):
            save_outcome(layout, MAC, outcome)
            result = call(machine_info, capsys, mac=MAC, root=str(layout.root))
            assert (result["checkin"] or {}).get("address") == address
            assert result["in_automation"] == (address is not None)
            assert result["armed_at"] == (arming.armed_at if armed else None)  # without, it is armed anew
            assert result["machine"]["state"] == "registered"
        call(boot_target, capsys, mac=MAC, target="local", root=str(layout.root), reload=["true"])
        result = call(machine_info, capsys, mac=MAC, root=str(layout.root))
        assert (result["armed_at"], result["checkin"], result["in_automation"]) == (None, None, False)

    def test_refused_and_waiting_check_ins_are_told(
        self, layout: Layout, capsys: pytest.CaptureFixture[str], arming: Arming
    ) -> None:
        save_outcome(layout, MAC, Outcome(arming.armed_at).refuse(Refusal(1.0, "10.77.1.66", "x" * 1000, by_machine=False)))
        (layout.arrivals / "one.json").touch()
        result = call(checkin_info, capsys, mac=MAC, root=str(layout.root))
        assert (result["checkin"], result["waiting"], result["refused"][0]["sender"]) == (None, 1, "10.77.1.66")
        assert len(result["refused"][0]["reason"]) == 400

    def test_no_state_but_failed_is_recorded_where_two_say_that_they_are_the_machine(
        self, layout: Layout, capsys: pytest.CaptureFixture[str], arming: Arming
    ) -> None:
        accepted = Outcome(arming.armed_at, {"address": "10.77.1.101", "received_at": 1.0})
        save_outcome(layout, MAC, accepted.refuse(Refusal(2.0, "10.77.1.66", "another", by_machine=True)))
        common = {"mac": MAC, "root": str(layout.root)}
        result = call(machine_state, capsys, **common, state="writing")
        assert result["failed"] and "one from 10.77.1.101, at 00:00:01 UTC, and another from 10.77.1.66" in result["msg"]
        assert call(machine_state, capsys, **common, state="failed", note=result["msg"])["changed"]
