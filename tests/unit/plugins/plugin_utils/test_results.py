# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is believed of the result of a module."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.untrusted import UntrustedError
from ansible_collections.reimage.lab.plugins.plugin_utils.results import LONGEST_MESSAGE, believed, documented, message

DEPLOY = documented("reimage.lab.image_deploy")
IDENTITY = documented("reimage.lab.linux_identity")
STATE = documented("reimage.lab.machine_state")


def test_documented_fields_pass_as_they_are() -> None:
    result = {
        "changed": True,
        "image": "lab/1",
        "bytes_written": 0,
        "seconds": 1.5,
        "msg": "",
        "diff": {"before": "a\n\tb", "after": ""},
    }
    assert believed(result, DEPLOY) == result
    state = {"machine": {"name": "pc-01", "history": [{"state": "armed", "at": 1.5, "note": ""}]}, "lease": None}
    assert believed(state, STATE) == state


def test_what_is_not_documented_is_dropped_at_each_level() -> None:
    dropped = {"ansible_facts": {"a": 1}, "add_host": {}, "ansible_stats": {}, "owned": 1, "exception": "x"}
    assert believed({"changed": True, **dropped}, DEPLOY) == {"changed": True}
    assert believed({"machine": {"name": "pc-01", "ansible_facts": {"a": 1}}}, STATE) == {"machine": {"name": "pc-01"}}


@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        *((DEPLOY, "bytes_written", value) for value in ("7", 7.5, True, [], float("inf"), 1 << 70)),
        *((DEPLOY, "seconds", value) for value in ("1", float("nan"), [], 1 << 70)),
        *((DEPLOY, "image", value) for value in (7, [], {}, "x" * 100_000)),
        *((DEPLOY, "changed", value) for value in ("yes", 1, [])),
        *((IDENTITY, "host_keys", value) for value in ("ssh-ed25519 AAAA", {}, [7], [["x"]])),
        *((STATE, "machine", value) for value in ([], "x", {"history": "x"}, {"history": [7]}, {"name": 7})),
    ],
)
def test_field_of_another_type_is_refused_by_its_name(fields: Any, name: str, value: Any) -> None:
    with pytest.raises(UntrustedError, match=f"^{name}: ") as error:
        believed({name: value}, fields)
    assert str(error.value).isprintable()


def test_text_is_one_printable_line() -> None:
    """A host key, for example, becomes a line of known_hosts."""
    found = believed({"host_keys": ["ssh-ed25519 AAAA\n* ssh-ed25519 BBBB\x1b[2J"]}, IDENTITY)
    assert found["host_keys"] == ["ssh-ed25519 AAAA * ssh-ed25519 BBBB [2J"]


def test_message_of_a_failure_is_one_line_of_bounded_length() -> None:
    assert message("disk\x1b[31m is\n\n  gone\r\nok: [pc-02]") == "disk [31m is gone ok: [pc-02]"
    assert len(message("x" * 100_000)) == LONGEST_MESSAGE
    assert message(["a", 7]) == "['a', 7]"
