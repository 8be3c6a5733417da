# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Boot targets by kind: boot.json says which kind a target is, and the kind knows its files, its token and its scripts."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping

import pytest
import yaml
from ansible_collections.reimage.lab.plugins.module_utils.boot.configuration import load_configuration
from ansible_collections.reimage.lab.plugins.module_utils.boot.errors import BootError
from ansible_collections.reimage.lab.plugins.module_utils.boot.kinds.kernel import Kernel
from ansible_collections.reimage.lab.plugins.module_utils.boot.kinds.registry import KINDS, read_target
from ansible_collections.reimage.lab.plugins.module_utils.boot.kinds.target import Boot, Target, text_field
from ansible_collections.reimage.lab.plugins.module_utils.boot.layout import Layout
from ansible_collections.reimage.lab.plugins.module_utils.boot.loaders import Loader
from ansible_collections.reimage.lab.plugins.module_utils.boot.targets import arm, disarm
from ansible_collections.reimage.lab.plugins.module_utils.boot.tokens import load_arming
from ansible_collections.reimage.lab.plugins.module_utils.boot.trail import requests_seen

MAC = "52:54:00:77:01:01"
ROLE = Path(__file__).resolve().parents[5] / "roles/boot_server"
EXAMPLES: dict[str, dict[str, Any]] = {"kernel": {"kernel": "vmlinuz"}, "local": {}}  # one of each kind


def declare(layout: Layout, **targets: Any) -> None:
    value = {**json.loads(layout.configuration.read_text()), "targets": targets}
    layout.configuration.write_text(json.dumps(value))


def test_a_target_without_a_kind_is_a_kernel(layout: Layout) -> None:
    fields = {"kernel": "automation/vmlinuz", "initrd": "automation/initrd.img", "arguments": ["quiet"]}
    declare(layout, old=fields, new={"kind": "kernel", **fields})
    configuration = load_configuration(layout)
    old, new = (configuration.target(name) for name in ("old", "new"))
    assert isinstance(old, Kernel) and isinstance(new, Kernel)
    assert old.files == new.files == ("automation/vmlinuz", "automation/initrd.img")
    assert old.arguments == new.arguments == ("quiet",)


def test_a_kernel_is_given_all_files_of_its_initramfs_in_their_order(layout: Layout) -> None:
    """The last one is the site's own: it has the keys that may log in. Under UEFI the kernel asks for each by its name."""
    (layout.http / "automation/site.img").touch()
    files = ["automation/initrd.img", "automation/site.img"]
    declare(layout, automation={"kernel": "automation/vmlinuz", "initrd": files})
    arm(layout, MAC, "automation")
    lines = layout.script(MAC).read_text().splitlines()
    assert " initrd=initrd initrd=initrd1 reimage.url=" in lines[2]
    assert lines[3:5] == [
        "initrd --name initrd http://10.77.1.2/boot/automation/initrd.img || goto failed",
        "initrd --name initrd1 http://10.77.1.2/boot/automation/site.img || goto failed",
    ]


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ({"kind": "iso"}, "target 'odd': kind 'iso' is unknown: choose one of kernel, local"),
        ({"kind": ["local"]}, r"target 'odd': kind \['local'\] is unknown"),
        ({"kind": "local", "kernel": "vmlinuz"}, "target 'odd': kind local has no `kernel`; it has no fields"),
        ({"kernel": "vmlinuz", "initrd": ["initrd.img", ["site.img"]]}, "target 'odd': `initrd`"),
        ({"kernel": "vmlinuz", "initrd": ["initrd.img", "../site.img"]}, "target 'odd': `initrd`"),
        ({"kernel": "vmlinuz", "argument": ["x"]}, "kind kernel has no `argument`; it has `kernel`, `initrd`, `arguments`"),
    ],
)
def test_what_no_kind_knows_is_refused_before_anything_is_served(layout: Layout, target: Any, said: str) -> None:
    declare(layout, automation={"kernel": "automation/vmlinuz"}, odd=target)
    with pytest.raises(BootError, match=rf"boot\.json: .*{said}"):
        arm(layout, MAC, "automation")
    assert not list(layout.http.glob("machines/*")) and not list(layout.hosts(MAC).parent.iterdir())


@pytest.mark.parametrize("name", ["", "a b", "a\nboot", "../a", "x" * 65])
def test_name_that_could_not_stand_in_a_script_is_refused(layout: Layout, name: str) -> None:
    declare(layout, **{name: {"kind": "local"}})
    with pytest.raises(BootError, match="the name of a target has letters"):
        load_configuration(layout)


def test_local_cannot_be_declared_to_be_anything_else(layout: Layout) -> None:
    declare(layout, local={"kernel": "automation/vmlinuz"})
    with pytest.raises(BootError, match="target 'local' has a meaning already"):
        load_configuration(layout)


def test_kind_without_a_token_opens_no_folder_and_shows_none(layout: Layout) -> None:
    declare(layout, automation={"kernel": "automation/vmlinuz"}, own_disk={"kind": "local"})
    before = arm(layout, MAC, "automation")
    change = arm(layout, MAC, "own_disk")
    assert (change.changed, change.token) == (True, None) and change.armed_at
    assert not list(layout.checkins.iterdir())
    assert layout.script(MAC).read_text() == f"#!ipxe\n# {MAC} goes on to its own disk\nexit 1\n"
    assert layout.script(MAC, Loader.GRUB).read_text() == f"# {MAC} goes on to its own disk\n"
    assert layout.hosts(MAC).read_text() == f"{MAC}\n"
    assert "token" not in change.after and str(before.token) not in change.before
    assert not arm(layout, MAC, "own_disk").changed
    assert disarm(layout, MAC, lambda: None).changed
    assert not list(layout.http.glob("machines/*"))


@pytest.mark.parametrize("loader", list(Loader))
@pytest.mark.parametrize("kind", list(KINDS))
def test_every_kind_has_a_script_for_every_loader(kind: str, loader: Loader) -> None:
    target = read_target("example", {"kind": kind, **EXAMPLES[kind]}, "boot.json")
    token = "0123" if target.needs_token else ""
    script = target.script(loader, Boot("http://10.77.1.2", MAC, MAC, token))
    assert MAC in script and token in script


def test_a_new_kind_is_a_class_and_a_line_in_the_registry(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arming, the check of its files and the trail of what a machine fetched take it as it is."""

    @dataclass(frozen=True)
    class Chain(Target):
        kind = "chain"
        needs_token = False
        file: str

        @classmethod
        def read(cls, name: str, value: Mapping[str, Any], where: str) -> Target:
            return cls(name, text_field(value, "file", re.compile(r"[a-z.]+"), where))

        @property
        def files(self) -> tuple[str, ...]:
            return (self.file,)

        def script(self, loader: Loader, boot: Boot) -> str:
            return f"#!ipxe\nchain {boot.url}/boot/{self.file}\n"

    monkeypatch.setitem(KINDS, "chain", Chain)
    declare(layout, other={"kind": "chain", "file": "other.efi"})
    with pytest.raises(BootError, match=r"other\.efi is missing"):
        arm(layout, MAC, "other")
    (layout.http / "other.efi").touch()
    arm(layout, MAC, "other")
    assert layout.script(MAC).read_text() == "#!ipxe\nchain http://10.77.1.2/boot/other.efi\n"
    arming = load_arming(layout, MAC)
    assert arming is not None
    uris = ("/boot/machines/52-54-00-77-01-01.ipxe", "/boot/other.efi")
    lines = [json.dumps({"at": arming.armed_at + 1, "client": "10.0.0.7", "uri": uri, "status": 200}) for uri in uris]
    (layout.root / "access.log").write_text("\n".join(lines) + "\n")
    assert [entry["file"] for entry in requests_seen(layout, load_configuration(layout), arming)][1:] == ["other.efi"]


def test_role_knows_the_same_kinds() -> None:
    assert set(yaml.safe_load((ROLE / "vars/main.yml").read_text())["boot_server_kinds"]) == set(KINDS)
