# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.boot.configuration import load_configuration
from ansible_collections.reimage.lab.plugins.module_utils.boot.errors import BootError
from ansible_collections.reimage.lab.plugins.module_utils.boot.layout import Layout


def configure(layout: Layout, **changes: Any) -> None:
    value = {**json.loads(layout.configuration.read_text()), **changes}
    layout.configuration.write_text(json.dumps(value))


def test_unknown_target_is_refused_with_the_known_ones(layout: Layout) -> None:
    with pytest.raises(
        BootError, match="'windows' is unknown on this boot server: choose one of automation, broken, local, memtest"
    ):
        load_configuration(layout).target("windows")


def test_missing_configuration_says_what_to_run(layout: Layout) -> None:
    layout.configuration.unlink()
    with pytest.raises(BootError, match=r"boot\.json: is missing: set this boot server up with reimage\.lab\.setup_server"):
        load_configuration(layout)


@pytest.mark.parametrize("url", [None, "", "10.77.1.2", "ftp://10.77.1.2", "http://a b", "http://a/${x}", "http://a/\nshell"])
def test_malformed_url_is_refused(layout: Layout, url: Any) -> None:
    configure(layout, url=url)
    with pytest.raises(BootError, match="`url` is missing or malformed"):
        load_configuration(layout)


@pytest.mark.parametrize("argument", ["a b", "a\nb", "x=${mac}", "a||b", "a&&b", '"a"', "", 7])
def test_argument_that_a_loader_would_not_pass_on_is_refused(layout: Layout, argument: Any) -> None:
    configure(layout, targets={"automation": {"kernel": "vmlinuz", "arguments": [argument]}})
    with pytest.raises(BootError, match=r"target 'automation': argument .* cannot be passed through a boot loader"):
        load_configuration(layout)


@pytest.mark.parametrize("kernel", ["../vmlinuz", "/vmlinuz", "a/../../b", "a b", "", None])
def test_kernel_outside_of_the_served_folder_is_refused(layout: Layout, kernel: Any) -> None:
    configure(layout, targets={"automation": {"kernel": kernel}})
    with pytest.raises(BootError, match="`kernel` is missing or malformed"):
        load_configuration(layout)


@pytest.mark.parametrize("target", [[], "vmlinuz", {"kernel": "vmlinuz", "arguments": "quiet"}])
def test_target_of_the_wrong_shape_is_refused(layout: Layout, target: Any) -> None:
    configure(layout, targets={"automation": target})
    with pytest.raises(BootError, match="target 'automation'"):
        load_configuration(layout)


def test_usual_arguments_pass(layout: Layout) -> None:
    arguments = ["quiet", "console=ttyS0,115200n8", "ip=dhcp", "url=http://[fd00::1]/a?b=c&d=e"]
    configure(layout, targets={"automation": {"kernel": "vmlinuz", "arguments": arguments}})
    assert load_configuration(layout).target("automation").arguments == tuple(arguments)
