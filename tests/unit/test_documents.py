# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the documents say of the repository is true: links lead somewhere, decisions are numbered and listed, variables exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DECISIONS = ROOT / "docs/decisions"
LINK = re.compile(r"\]\(([^)#\s]+)")
RECORDS = sorted(DECISIONS.glob("[0-9]*.md"))


def documents() -> list[str]:
    """Return the Markdown files of the clone."""
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    return listed.stdout.split()


@pytest.mark.parametrize("document", documents())
def test_links_lead_to_something(document: str) -> None:
    text = (ROOT / document).read_text()
    links = [link for link in LINK.findall(text) if "://" not in link and "NNNN" not in link]
    assert [link for link in links if not (ROOT / document).parent.joinpath(link).exists()] == []


def test_no_number_of_a_decision_is_taken_twice() -> None:
    numbers = [record.name[:4] for record in RECORDS]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.stem)
def test_a_decision_has_its_parts_and_is_in_the_index(record: Path) -> None:
    lines = record.read_text().splitlines()
    number, title = re.fullmatch(r"# (\d{4}): (.+)", lines[0]).groups()  # type: ignore[union-attr]
    assert number == record.name[:4]
    assert [line for line in lines if line.startswith("## ")] == ["## Context", "## Decision", "## Consequences"]
    assert f"| [{number}]({record.name}) | {title} |" in (DECISIONS / "README.md").read_text().splitlines()


def test_page_on_security_names_variables_that_roles_have() -> None:
    specs = [yaml.safe_load(path.read_text())["argument_specs"] for path in ROOT.glob("roles/*/meta/argument_specs.yml")]
    options = {option for spec in specs for entry in spec.values() for option in entry.get("options", {})}
    text = (ROOT / "docs/security.md").read_text()
    named = set(re.findall(r"`((?:reimage|automation_image|image_share|boot_server)_\w+)`", text))
    assert named
    assert named <= options


def test_each_package_of_automation_has_its_price() -> None:
    """C(make bench-boot) writes the table; a package that is added or removed shows here that it was not run."""
    text = (ROOT / "docs/automation.md").read_text()
    defaults = yaml.safe_load((ROOT / "roles/automation_image/defaults/main.yml").read_text())
    packages = (ROOT / "roles/automation_image/files/packages").read_text().split()
    assert set(re.findall(r"^\| (\S+) \|.*\| named \|$", text, re.MULTILINE)) == {
        *packages,
        *defaults["automation_image_firmware"],
    }
