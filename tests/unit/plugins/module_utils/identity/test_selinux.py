# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SELinux labels: a file keeps its own, a new one gets the policy's, and where nobody knows it the system labels itself.

The kernel stores the labels in files of this test, whether or not it has SELinux; only root may set them.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.identity import give
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.selinux import ATTRIBUTE, Policy
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.tree import Tree

CONTEXTS = r"""
# a comment
/.*	system_u:object_r:default_t:s0
/etc/.*	system_u:object_r:etc_t:s0
/etc/ssh/ssh_host.*_key	--	system_u:object_r:sshd_key_t:s0
/etc/hosts\.d	-d	system_u:object_r:hosts_d_t:s0
/var/lib(/.*)?	system_u:object_r:var_lib_t:s0
/var/run/.*	system_u:object_r:var_run_t:s0
/var/lib/none/.*	<<none>>
/etc/hostname	--	system_u:object_r:hostname_etc_t:s0
/etc/h.*	system_u:object_r:h_t:s0
"""
FILES = "etc/selinux/targeted/contexts/files"


def policy(contexts: str = CONTEXTS, mode: str = "enforcing", **others: str) -> Policy:
    texts = {"/etc/selinux/config": f"# SELINUX=off\nSELINUX={mode}\nSELINUXTYPE=targeted\n", f"/{FILES}/file_contexts": contexts}
    texts.update({f"/{FILES}/file_contexts.{name}": text for name, text in others.items()})
    return Policy(texts.get)


@pytest.mark.parametrize(
    ("path", "folder", "kind"),
    [
        ("/etc/hostname", False, "hostname_etc_t"),  # a plain path counts more than a pattern that comes later
        ("/etc/hosts", False, "h_t"),  # of patterns the last counts
        ("/etc/hosts.d", True, "hosts_d_t"),
        ("/etc/ssh/ssh_host_rsa_key", False, "sshd_key_t"),
        ("/etc/ssh/ssh_host_rsa_key", True, "etc_t"),  # the line is about files
        ("/etc/ssh/ssh_host_rsa_key.pub", False, "etc_t"),
        ("/var/lib", True, "var_lib_t"),
        ("/var/lib/reimage/identity.json", False, "var_lib_t"),
        ("/run/x", False, "var_run_t"),
        ("/runaway", False, "default_t"),
    ],
)
def test_label_of_the_policy(path: str, folder: bool, kind: str) -> None:
    assert policy(subs_dist="/run /var/run\n").label(path, folder=folder) == f"system_u:object_r:{kind}:s0"


def test_local_line_counts_more_and_some_files_need_no_label() -> None:
    local = policy(local="/etc/hosts -- system_u:object_r:mine_t:s0:c1,c2\n")
    assert local.label("/etc/hosts") == "system_u:object_r:mine_t:s0:c1,c2"
    assert policy().label("/var/lib/none/x") == ""
    assert policy(mode="disabled").label("/etc/hosts") == Policy({}.get).label("/etc/hosts") == ""


@pytest.mark.parametrize(
    "line", ["", "/etc/(x", "/etc/(a*)*b", "/etc/.*.*.*.*x", "/etc/x label with spaces", "/etc/x ../../x", "/etc/x a:b:c\0"]
)
def test_label_that_cannot_be_told_is_none(line: str) -> None:
    assert policy(f"{line} system_u:object_r:etc_t:s0\n" if "x " not in line else f"{line}\n").label("/etc/x") is None
    # To try this one would take longer than the universe has.
    assert policy("/etc/(a*)*b system_u:object_r:etc_t:s0\n").label(f"/etc/{'a' * 200}c") is None


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A Linux with SELinux and host keys."""
    root = tmp_path / "root"
    for name, text in {
        "etc/os-release": "ID=fedora\n",
        "etc/hostname": "master\n",
        "etc/machine-id": "0" * 32 + "\n",
        "etc/ssh/sshd_config": "",
        "etc/ssh/ssh_host_ed25519_key": "",
        "etc/selinux/config": "SELINUX=enforcing\nSELINUXTYPE=targeted\n",
        f"{FILES}/file_contexts": CONTEXTS,
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    try:
        for name in ("hostname", "machine-id", "ssh/ssh_host_ed25519_key"):
            os.setxattr(root / "etc" / name, ATTRIBUTE, b"system_u:object_r:own_t:s0\0")
    except PermissionError:
        pytest.skip("only root may set a label")
    return root


def kind(path: Path) -> str:
    return os.getxattr(path, ATTRIBUTE).rstrip(b"\0").decode().split(":")[2]


def test_all_that_is_written_is_labelled(root: Path) -> None:
    tree = Tree(root)
    assert give(tree, "pc-01", "lab/1")[0]
    for name in ("hostname", "machine-id", "ssh/ssh_host_ed25519_key"):
        assert kind(root / "etc" / name) == "own_t"
    assert kind(root / "etc/hosts") == "h_t"
    assert kind(root / "etc/ssh/ssh_host_ed25519_key.pub") == "etc_t"
    assert [kind(root / name) for name in ("var/lib", "var/lib/reimage", "var/lib/reimage/identity.json")] == ["var_lib_t"] * 3
    assert not (root / ".autorelabel").exists()


def test_system_labels_itself_where_the_policy_cannot_be_read(root: Path) -> None:
    (root / f"{FILES}/file_contexts").unlink()
    tree = Tree(root)
    assert give(tree, "pc-01", "lab/1")[0]
    assert (root / ".autorelabel").read_text() == ""
    assert kind(root / "etc/hostname") == "own_t"
    assert tree.unlabelled[0] == "/etc/hosts"
    (root / ".autorelabel").unlink()
    assert not give(Tree(root), "pc-01", "lab/1")[0]
    assert not (root / ".autorelabel").exists()


def test_system_without_selinux_gets_no_label(root: Path) -> None:
    (root / "etc/selinux/config").unlink()
    assert give(Tree(root), "pc-01", "lab/1")[0]
    assert kind(root / "etc/hostname") == "own_t"
    assert os.listxattr(root / "etc/hosts") == []
    assert not (root / ".autorelabel").exists()
