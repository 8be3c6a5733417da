# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All that is fetched at set-up is pinned: by hash, or by the signature of Debian's archive."""

from __future__ import annotations

import json
import re
from pathlib import Path

import ansible_collections
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ["requirements", "tests/requirements"]
COLLECTIONS = ["requirements.yml", "collections/requirements.yml"]


def locked(name: str) -> dict[str, tuple[str, list[str]]]:
    """Return version and hashes of each package of a lock."""
    entries = re.split(r"^(?=[A-Za-z0-9])", (ROOT / f"{name}.txt").read_text(), flags=re.M)[1:]
    found = {}
    for entry in entries:
        match = re.match(r"([A-Za-z0-9._-]+)==(\S+)", entry)
        assert match, entry
        found[match[1].lower()] = match[2], re.findall(r"--hash=sha256:([0-9a-f]{64})\b", entry)
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_of_a_lock_has_a_hash(name: str) -> None:
    assert all(hashes for _version, hashes in locked(name).values())


@pytest.mark.parametrize("name", LOCKS)
def test_lock_has_what_is_wanted(name: str) -> None:
    wanted = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)$", (ROOT / f"{name}.in").read_text(), flags=re.M)
    versions = {package: version for package, (version, _hashes) in locked(name).items()}
    assert wanted
    assert {package.lower(): version for package, version in wanted}.items() <= versions.items(), "run `make lock`"


def test_both_locks_agree() -> None:
    every, controller = (locked(name) for name in reversed(LOCKS))
    assert controller.items() <= every.items()


def test_pip_fetches_nothing_without_a_hash_and_builds_nothing() -> None:
    """What builds a package would be fetched too, and not be pinned."""
    places = [ROOT / "Makefile", *ROOT.glob("scripts/*"), *ROOT.glob(".ci/*"), *ROOT.glob("roles/*/tasks/**/*.yml")]
    calls = [
        (path.name, call)
        for path in places
        if path.is_file()
        for call in re.split(r"\n\s*\n|\n(?=\t)", path.read_text())
        if re.search(r"\bpip(?:[\s-]|--\S+)+(?:install|download)\b", call)
    ]
    assert {name for name, _call in calls} == {"Makefile", "blake3.yml"}
    assert all("--require-hashes" in call and "--only-binary" in call for _name, call in calls)


def test_nothing_is_fetched_in_another_way() -> None:
    tasks = [*ROOT.glob("roles/*/tasks/**/*.yml"), *ROOT.glob("playbooks/*.yml")]
    programs = [ROOT / "Makefile", *ROOT.glob("scripts/*"), *ROOT.glob(".ci/*"), *ROOT.glob("roles/*/files/*")]
    modules = r"get_url|builtin\.(?:uri|git|unarchive|apt_key|apt_repository):|galaxy_install|allow_unauthenticated|npm:"
    commands = r"\b(?:wget|git clone|ansible-galaxy collection install|npm|trusted=yes|AllowUnauthenticated)\b|\bcurl\b.*://"
    for paths, pattern in ((tasks, modules), (programs, commands)):
        assert not [path for path in paths if path.is_file() and re.search(pattern, path.read_text(errors="replace"))]


def test_actions_of_the_workflow_are_pinned_by_commit() -> None:
    uses = [line for path in ROOT.glob(".github/workflows/*.yml") for line in re.findall(r"uses: (\S+)", path.read_text())]
    assert uses and all(re.fullmatch(r"\S+@[0-9a-f]{40}", action) for action in uses)


@pytest.mark.parametrize("file", COLLECTIONS)
def test_collections_are_those_that_the_tests_ran_with(file: str) -> None:
    wanted = {
        each["name"]: each["version"] for each in yaml.safe_load((ROOT / file).read_text())["collections"] if each["name"] != "."
    }
    needed = yaml.safe_load((ROOT / "galaxy.yml").read_text())["dependencies"]
    assert wanted.keys() == needed.keys()
    for name, version in wanted.items():
        manifests = [Path(path, name.replace(".", "/"), "MANIFEST.json") for path in ansible_collections.__path__]
        brought = [json.loads(manifest.read_text())["collection_info"]["version"] for manifest in manifests if manifest.exists()]
        assert brought == [version]


def test_library_that_runs_on_every_machine_is_that_of_the_tests() -> None:
    defaults = yaml.safe_load((ROOT / "roles/automation_image/defaults/main.yml").read_text())
    version, hashes = locked("tests/requirements")["blake3"]
    assert version == defaults["automation_image_blake3"]
    assert defaults["automation_image_blake3_sha256"] in hashes
