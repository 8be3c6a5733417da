# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.folder import PathStore
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.opening import open_store


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://server/my store", r"no blank, .*: write http://server/my%20store$"),
        ("https://server/größe", r"write https://server/gr%C3%B6%C3%9Fe$"),
        ("http://server/a\nb", r"write http://server/a%0Ab$"),
        ("http://server:port/store", "this is no address: Port could not be cast"),
        ("http://server:99999/store", "this is no address: Port out of range"),
        ("http://[::1/store", "this is no address: Invalid IPv6 URL"),
        ("http:///store", "name a server and a folder, and no query"),
        ("http://server/store?name=lab", "name a server and a folder, and no query"),
    ],
)
def test_address_that_no_server_can_be_asked_for(url: str, said: str) -> None:
    with pytest.raises(ImagingError, match=said) as caught:
        open_store(url)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://server/my%20store", "https://[fd00::1]:8443/store/", "http://192.0.2.1"])
def test_address_of_a_store(url: str) -> None:
    assert open_store(url).where.startswith("http")


@pytest.mark.parametrize("name", ["lab.", "a..", "CON", "nul", "Com1", "lpt9.2026", "aux.windows.11"])
def test_name_that_a_share_changes_or_takes_for_a_device(tmp_path: Path, name: str) -> None:
    store = PathStore(tmp_path)
    for wanted in ((name, "1"), ("lab", name)):
        with pytest.raises(
            ImagingError, match=r"cannot be used: (shares drop the dot|for Windows and its shares it is a device)"
        ):
            store.refuse_version(*wanted)


def test_image_from_before_such_names_were_refused_can_still_be_read(tmp_path: Path) -> None:
    (tmp_path / "images/lab./1.").mkdir(parents=True)
    assert PathStore(tmp_path).versions("lab.") == ["1."]


@pytest.mark.parametrize("name", ["console", "lab.com1", "nullable", "v1.0-rc.1", "com10"])
def test_name_that_only_looks_like_a_device(tmp_path: Path, name: str) -> None:
    PathStore(tmp_path).refuse_version(name, name)


def test_names_that_differ_only_in_case(tmp_path: Path) -> None:
    (tmp_path / "images/Lab/V1").mkdir(parents=True)
    store = PathStore(tmp_path)
    with pytest.raises(ImagingError, match="has an image Lab, which a share may not tell from lab"):
        store.refuse_version("lab", "2")
    with pytest.raises(ImagingError, match="has Lab/V1 already"):
        store.refuse_version("Lab", "v1")
    store.refuse_version("Lab", "2")
    (tmp_path / "images/lab").mkdir()
    store.refuse_version("lab", "V1")
