# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.boot.errors import BootError
from ansible_collections.reimage.lab.plugins.module_utils.boot.layout import Layout
from ansible_collections.reimage.lab.plugins.module_utils.boot.loaders import Loader
from ansible_collections.reimage.lab.plugins.module_utils.boot.targets import MASK, arm, disarm

MAC = "52:54:00:77:01:01"
NAME = "52-54-00-77-01-01"


def no_reload() -> None:
    """Stand in for dnsmasq where a test is not about it."""


def tree(layout: Layout) -> dict[str, str]:
    return {str(path): path.read_text() if path.is_file() else "" for path in layout.root.rglob("*")}


def test_armed_machine_has_script_token_folder_and_answer(layout: Layout) -> None:
    token = arm(layout, MAC, "automation").token
    assert token is not None
    assert (layout.root / "hosts" / NAME).read_text() == f"{MAC}\n"
    assert json.loads((layout.root / "tokens" / f"{NAME}.json").read_text())["token"] == token
    assert stat.S_IMODE((layout.root / "tokens" / f"{NAME}.json").stat().st_mode) == 0o600
    assert (layout.root / "checkin" / token).is_dir()
    assert (layout.root / "http/machines" / f"{NAME}.ipxe").read_text().splitlines()[:4] == [
        "#!ipxe",
        f"# {MAC} boots automation; written by reimage.lab, removed when the machine is disarmed",
        "kernel --name kernel http://10.77.1.2/boot/automation/vmlinuz initrd=initrd reimage.url=http://10.77.1.2"
        f" reimage.token={token} reimage.mac={MAC} BOOTIF=01-{NAME} quiet || goto failed",
        "initrd --name initrd http://10.77.1.2/boot/automation/initrd.img || goto failed",
    ]


def test_grub_gets_the_same_by_the_address_as_it_knows_it(layout: Layout) -> None:
    token = arm(layout, MAC, "automation").token
    assert (layout.root / "http/machines" / f"{MAC}.grub").read_text().splitlines() == [
        f"# {MAC} boots automation; written by reimage.lab, removed when the machine is disarmed",
        "if linux (http,10.77.1.2)/boot/automation/vmlinuz 'reimage.url=http://10.77.1.2'"
        f" 'reimage.token={token}' 'reimage.mac={MAC}' 'BOOTIF=01-{NAME}' 'quiet'; then",
        "  if initrd (http,10.77.1.2)/boot/automation/initrd.img; then boot; fi",
        "fi",
        "echo 'reimage.lab: automation did not start; in 10 s this machine goes on to its own disk'",
        "sleep 10",
    ]
    disarm(layout, MAC, no_reload)
    assert not list(layout.http.glob("machines/*"))


@pytest.mark.parametrize(
    ("url", "path"),
    [("http://10.77.1.2:8080", "(http,10.77.1.2:8080)/boot/"), ("http://lab.example/site/a", "(http,lab.example)/site/a/boot/")],
)
def test_port_and_folder_of_the_boot_server_reach_grub(layout: Layout, url: str, path: str) -> None:
    layout.configuration.write_text(json.dumps({**json.loads(layout.configuration.read_text()), "url": url}))
    arm(layout, MAC, "automation")
    assert f"linux {path}automation/vmlinuz " in layout.script(MAC, Loader.GRUB).read_text()


def test_boot_server_that_grub_cannot_fetch_from_is_refused_before_anything_is_written(layout: Layout) -> None:
    layout.configuration.write_text(json.dumps({**json.loads(layout.configuration.read_text()), "url": "https://10.77.1.2"}))
    before = tree(layout)
    with pytest.raises(BootError, match=r"https://10\.77\.1\.2: GRUB cannot fetch from there: it has no HTTPS"):
        arm(layout, MAC, "automation")
    assert tree(layout) == before


def test_answer_comes_last(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """If arming is cut short anywhere, dnsmasq must not have been told to answer."""
    (layout.root / "hosts" / NAME).mkdir()  # the last step fails
    with pytest.raises(BootError):
        arm(layout, MAC, "automation")
    (layout.root / "hosts" / NAME).rmdir()
    token = arm(layout, MAC, "automation").token
    assert [path.name for path in layout.checkins.iterdir()] == [token]


def test_armed_again_keeps_the_token_and_changes_nothing(layout: Layout) -> None:
    first = arm(layout, MAC, "automation")
    before = tree(layout)
    again = arm(layout, MAC, "automation")
    assert (again.changed, again.token, again.armed_at) == (False, first.token, first.armed_at)
    assert tree(layout) == before


@pytest.mark.parametrize("lost", [f"hosts/{NAME}", f"http/machines/{NAME}.ipxe", f"http/machines/{MAC}.grub", "checkin/TOKEN"])
def test_what_was_lost_is_put_back_with_the_same_token(layout: Layout, lost: str) -> None:
    token = str(arm(layout, MAC, "automation").token)
    before = tree(layout)
    path = layout.root / lost.replace("TOKEN", token)
    path.rmdir() if path.is_dir() else path.unlink()
    assert arm(layout, MAC, "automation").changed
    assert tree(layout) == before


def test_other_target_means_another_token_and_the_old_one_is_closed(layout: Layout) -> None:
    old = str(arm(layout, MAC, "automation").token)
    (layout.inbox(old) / "checkin.json").write_text("{}")
    new = arm(layout, MAC, "memtest")
    assert new.changed and new.token != old
    assert [path.name for path in layout.checkins.iterdir()] == [new.token]
    assert "initrd" not in layout.script(MAC).read_text()


def test_renewed_token_forgets_the_check_in(layout: Layout) -> None:
    old = str(arm(layout, MAC, "automation").token)
    (layout.inbox(old) / "checkin.json").write_text("{}")
    new = arm(layout, MAC, "automation", renew=True)
    assert new.changed and new.token != old
    assert list(layout.checkins.rglob("*")) == [layout.inbox(str(new.token))]


def test_two_machines_have_different_tokens(layout: Layout) -> None:
    assert arm(layout, MAC, "automation").token != arm(layout, "52:54:00:77:01:02", "automation").token


@pytest.mark.parametrize("target", ["broken", "windows"])
def test_target_that_cannot_boot_is_refused_before_anything_is_written(layout: Layout, target: str) -> None:
    before = tree(layout)
    with pytest.raises(BootError):
        arm(layout, MAC, target)
    assert tree(layout) == before


def test_half_set_up_server_is_refused_before_anything_is_written(layout: Layout) -> None:
    layout.checkins.rmdir()
    before = tree(layout)
    with pytest.raises(BootError, match="checkin is missing: set this boot server up again"):
        arm(layout, MAC, "automation")
    assert tree(layout) == before


def test_disarmed_machine_leaves_nothing(layout: Layout) -> None:
    before = tree(layout)
    token = str(arm(layout, MAC, "automation").token)
    (layout.inbox(token) / "progress.json").write_text("{}")
    assert disarm(layout, MAC, no_reload).changed
    assert tree(layout) == before
    assert not disarm(layout, MAC, no_reload).changed


def test_dnsmasq_reloads_when_its_file_is_gone_and_only_if_something_changed(layout: Layout) -> None:
    there: list[bool] = []
    arm(layout, MAC, "automation")
    for _time in range(2):
        disarm(layout, MAC, lambda: there.append(layout.hosts(MAC).exists()))
    assert there == [False]


def test_failed_reload_is_tried_again(layout: Layout) -> None:
    """dnsmasq may still answer, so the machine must not count as disarmed."""

    def failing() -> None:
        raise BootError("no dnsmasq")

    token = str(arm(layout, MAC, "automation").token)
    with pytest.raises(BootError, match="no dnsmasq"):
        disarm(layout, MAC, failing)
    assert not layout.inbox(token).exists()
    assert disarm(layout, MAC, no_reload).changed
    assert not disarm(layout, MAC, no_reload).changed


def test_dry_run_writes_nothing_and_invents_no_token(layout: Layout) -> None:
    before = tree(layout)
    planned = arm(layout, MAC, "automation", dry_run=True)
    assert (planned.changed, planned.token) == (True, None)
    assert tree(layout) == before
    token = arm(layout, MAC, "automation").token
    armed = tree(layout)
    assert arm(layout, MAC, "automation", dry_run=True).token == token
    assert disarm(layout, MAC, no_reload, dry_run=True).changed
    assert tree(layout) == armed


def test_diff_never_shows_a_token(layout: Layout) -> None:
    first = arm(layout, MAC, "automation")
    second = arm(layout, MAC, "memtest")
    third = disarm(layout, MAC, no_reload)
    shown = "".join(change.before + change.after for change in (first, second, third))
    assert MASK in shown
    assert str(first.token) not in shown and str(second.token) not in shown


@pytest.mark.parametrize("content", ['{"mac": "52:54:00:77:01:01"}', '{"mac":1,"target":1,"token":"../..","armed_at":1}', "["])
def test_damaged_token_record_is_named_and_used_for_nothing(layout: Layout, content: str) -> None:
    layout.token(MAC).write_text(content)
    with pytest.raises(BootError, match=f"{NAME}.json: is"):
        disarm(layout, MAC, no_reload)


def test_inbox_belongs_to_the_web_server(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    owners: list[tuple[Path, int, int]] = []
    monkeypatch.setattr("os.chown", lambda path, user, group: owners.append((path, user, group)))
    token = str(arm(layout, MAC, "automation").token)
    parent = layout.checkins.stat()
    assert owners == [(layout.inbox(token), parent.st_uid, parent.st_gid)]


def test_every_card_of_a_machine_boots_with_its_one_token_until_it_is_disarmed(layout: Layout) -> None:
    cards = ["52:54:00:77:01:0a", "52:54:00:77:01:0b"]
    first = arm(layout, MAC, "automation", cards)
    assert not arm(layout, MAC, "automation", cards).changed
    names = sorted(card.replace(":", "-") for card in [MAC, *cards])
    assert sorted(path.name for path in (layout.root / "hosts").iterdir()) == names
    for name in names:
        script = (layout.root / "http/machines" / f"{name}.ipxe").read_text()
        assert f"reimage.token={first.token} reimage.mac={MAC} BOOTIF=01-{name} " in script
    assert arm(layout, MAC, "automation", cards[:1]).changed
    assert sorted(path.name for path in (layout.root / "hosts").iterdir()) == names[:1] + names[1:2]
    assert disarm(layout, MAC, no_reload).changed
    assert not list((layout.root / "hosts").iterdir())
    assert not list((layout.root / "http/machines").iterdir())
