# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Accounts of machines in a real Active Directory domain, which Samba serves in a network namespace; Samba is the client too."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Iterator

import pytest
from ansible_collections.reimage.lab.plugins.module_utils import command
from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows import offline_join
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.offline_join import Domain, check_blob, provision
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.volume import mounted_windows

from ...lab.windows import make_disk

ROOT = Path(__file__).resolve().parents[3]
SPACE, ADDRESS, PASSWORD = f"test-ad-{os.getpid()}", "192.0.2.1", "Passw0rd.of.tests"
DOMAIN = Domain("lab.test", "Administrator", PASSWORD, controller="dc1.lab.test")


def inside(*words: object) -> list[str]:
    """Words that run a program in the namespace, with a resolver of its own."""
    return ["ip", "netns", "exec", SPACE, *(str(word) for word in words)]


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A domain controller for lab.test."""
    folder = tmp_path_factory.mktemp("ad")
    resolver = Path("/etc/netns", SPACE)
    server = None
    subprocess.run(["ip", "netns", "add", SPACE], check=True)
    try:
        resolver.mkdir(parents=True)
        (resolver / "resolv.conf").write_text(f"nameserver {ADDRESS}\nsearch lab.test\n")
        (resolver / "hosts").write_text(f"127.0.0.1 localhost\n{ADDRESS} dc1.lab.test dc1\n")
        for words in (["link", "set", "lo", "up"], ["address", "add", f"{ADDRESS}/32", "dev", "lo"]):
            subprocess.run(["ip", "-n", SPACE, *words], check=True)
        words = [
            *("samba-tool", "domain", "provision", f"--targetdir={folder}", "--realm=LAB.TEST", "--domain=LAB"),
            *("--server-role=dc", "--dns-backend=SAMBA_INTERNAL", "--host-name=dc1", f"--host-ip={ADDRESS}"),
            f"--adminpass={PASSWORD}",
        ]
        subprocess.run(inside(*words), check=True, capture_output=True, timeout=180)
        server = subprocess.Popen(
            inside("samba", "-s", folder / "etc/smb.conf", "-F", "--no-process-group"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _wait_for_accounts(folder)
        yield folder
    finally:
        if server:
            server.terminate()
            server.wait(30)
        subprocess.run(["ip", "netns", "delete", SPACE], check=True)
        shutil.rmtree(resolver, ignore_errors=True)


def _wait_for_accounts(folder: Path) -> None:
    """Wait until the domain makes accounts, which takes some seconds longer than that it accepts a logon."""
    configuration = folder / "client.conf"
    domain = "realm = LAB.TEST\nworkgroup = LAB\nsecurity = ads\n"
    configuration.write_text(f"[global]\n{domain}private dir = {folder}\nnetbios name = READY\n")
    words = ["net", "-s", configuration, "-U", f"Administrator%{PASSWORD}", "offlinejoin", "provision", "domain=lab.test"]
    said = ""
    for _attempt in range(60):
        done = subprocess.run(
            inside(*words, "machine_name=READY", f"savefile={folder / 'ready'}"), capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            return
        said = done.stdout + done.stderr
        time.sleep(1)
    pytest.fail(f"the domain controller did not make an account within 60 s: {said}")


@pytest.fixture
def here(controller: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The engine's programs run in the namespace, as they would on a host of the domain."""
    original: Callable[..., object] = command.run
    monkeypatch.setattr(offline_join, "run", lambda words, **more: original(inside(*words), **more))
    return controller


def test_account_is_made_once_and_the_blob_joins_a_machine(here: Path, tmp_path: Path) -> None:
    file, made = provision(DOMAIN, "PC-LAB-001", tmp_path / "cache", "image-1")
    assert made
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    blob = file.read_text()
    again, made_again = provision(DOMAIN, "PC-LAB-001", tmp_path / "cache", "image-1")
    assert (again, made_again, again.read_text()) == (file, False, blob)
    join(blob, "PC-LAB-001", tmp_path)


def join(blob: str, name: str, folder: Path) -> None:
    """Join as Windows would at its first start, with Samba as the client."""
    state = folder / "client"
    state.mkdir()
    kinds = ("private dir", "lock directory", "state directory", "cache directory")
    places = "".join(f"{kind} = {state}\n" for kind in kinds)
    domain = "realm = LAB.TEST\nworkgroup = LAB\nsecurity = ads\n"
    (state / "smb.conf").write_text(f"[global]\n{domain}netbios name = {name}\n{places}")
    (state / "blob").write_bytes(b"\xff\xfe" + f"{blob}\0".encode("utf-16-le"))
    for words in (["offlinejoin", "requestodj", f"loadfile={state / 'blob'}"], ["ads", "testjoin", "-P"]):
        net = inside("net", "-s", state / "smb.conf", *words)
        done = subprocess.run(net, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


PLAYBOOK = """
- name: As the playbook does it
  hosts: all
  connection: local
  gather_facts: false
  tasks:
    - name: Step through the role
      ansible.builtin.include_role:
        name: reimage.lab.reimage
        tasks_from: "{{ item }}"
      loop: [record.yml, systems/windows/join_domain.yml, systems/windows/inject.yml]
"""


def test_role_gives_a_windows_the_account_that_was_made_for_it(controller: Path, tmp_path: Path) -> None:
    make_disk(tmp_path / "disk.raw")
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    domain = {"domain": "lab.test", "username": "Administrator", "password": PASSWORD, "controller": "dc1.lab.test"}
    variables = {
        "ansible_python_interpreter": sys.executable,
        "reimage_server": "localhost",
        "reimage_root": str(tmp_path),
        "reimage_macs": ["52:54:00:12:34:56"],
        "reimage_walk": "reimage",
        "reimage_step": {"state": "armed"},
        "reimage_wanted": "windows/1",
        "reimage_identity": "windows",
        "reimage_windows": {"accounts": [{"name": "technician", "password": "of.the.tests"}]},
        "reimage_domain": domain,
        "reimage_domain_cache": str(tmp_path / "cache"),
        "reimage_inject_disk": str(tmp_path / "disk.raw"),
    }
    for folder in ("records", "state", "leases"):
        (tmp_path / "boot" / folder).mkdir(parents=True)
    words = ["ansible-playbook", "-v", "-i", "PC-LAB-010,", tmp_path / "play.yml", "-e", json.dumps(variables)]
    environment = {**os.environ, "REIMAGE_REPORT_DIRECTORY": str(tmp_path / "report")}
    done = subprocess.run(inside(*words), cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    with mounted_windows(str(tmp_path / "disk.raw"), read_only=True) as (folder, _partition):
        path = "string(//*[local-name()='AccountData'])"
        file = folder / "Windows/Panther/unattend.xml"
        blob = subprocess.run(["xmllint", "--xpath", path, file], check=True, capture_output=True, text=True).stdout.strip()
    assert len(blob) > 100
    assert blob not in done.stdout
    assert PASSWORD not in done.stdout
    join(blob, "PC-LAB-010", tmp_path)


def test_new_deployment_makes_a_new_account(here: Path, tmp_path: Path) -> None:
    first, _made = provision(DOMAIN, "PC-LAB-002", tmp_path, "image-1")
    second, made = provision(DOMAIN, "PC-LAB-002", tmp_path, "image-2")
    assert made
    assert first.read_text() != second.read_text()


def test_dry_run_makes_nothing(here: Path, tmp_path: Path) -> None:
    assert provision(DOMAIN, "PC-LAB-003", tmp_path / "cache", "image-1", dry_run=True)[1]
    assert not (tmp_path / "cache").exists()


def test_wrong_password_is_said_without_showing_it(here: Path, tmp_path: Path) -> None:
    wrong = Domain("lab.test", "Administrator", "not.the.Passw0rd", controller="dc1.lab.test")
    with pytest.raises(IdentityError, match="refuses Administrator, or the password is wrong") as caught:
        provision(wrong, "PC-LAB-004", tmp_path, "image-1")
    assert "not.the.Passw0rd" not in str(caught.value)
    assert not list(tmp_path.glob("*.odj"))


def test_domain_that_is_not_there(here: Path, tmp_path: Path) -> None:
    elsewhere = Domain("nowhere.test", "Administrator", PASSWORD, controller="dc1.nowhere.test")
    with pytest.raises(IdentityError, match=r"PC-LAB-005 could not be given an account in nowhere\.test"):
        provision(elsewhere, "PC-LAB-005", tmp_path, "image-1")


def test_blob_of_another_machine_is_refused(here: Path, tmp_path: Path) -> None:
    file, _made = provision(DOMAIN, "PC-LAB-006", tmp_path, "image-1")
    check_blob(file.read_text(), "PC-LAB-006")
    for name in ("PC-LAB-007", "PC-LAB-00"):
        with pytest.raises(IdentityError, match="another machine"):
            check_blob(file.read_text(), name)


@pytest.mark.parametrize(
    ("name", "deployment", "said"),
    [("PC-LAB-001-TOO-LONG", "image-1", "computer_name"), ("PC-1", "../x", "deployment"), ("12345", "image-1", "computer_name")],
)
def test_names_that_cannot_be_are_refused(tmp_path: Path, name: str, deployment: str, said: str) -> None:
    with pytest.raises(IdentityError, match=said):
        provision(DOMAIN, name, tmp_path, deployment)
    assert os.listdir(tmp_path) == []
