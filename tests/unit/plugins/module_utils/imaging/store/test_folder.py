# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A folder that somebody else filled, and what a person may type for a store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Callable

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError, MissingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.descriptions import resolve
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.folder import PathStore
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.names import LARGEST_CHUNK, chunk_path
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.opening import open_folder, open_store

ID = bytes(range(32))
SECRET = "root:$6$secret"


@pytest.fixture
def store(tmp_path: Path) -> PathStore:
    (tmp_path / "secret").write_text(SECRET)
    root = tmp_path / "store"
    (root / chunk_path(ID)).parent.mkdir(parents=True)
    (root / "images/lab").mkdir(parents=True)
    return PathStore(root)


def link(path: Path) -> None:
    path.symlink_to(path.parents[2] / "../secret")


def endless(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (link, "is a link"),
        (os.mkfifo, "is no regular file"),
        (Path.mkdir, "is no regular file|Is a directory"),
        (endless, "larger than"),
    ],
)
def test_what_is_no_regular_file_of_a_sensible_size_is_refused(
    store: PathStore, make: Callable[[Path], object], said: str
) -> None:
    for path in (store.root / chunk_path(ID), store.root / "images/lab/latest"):
        make(path)
    with pytest.raises(ImagingError, match=said) as caught:
        store.chunk(ID)
    assert SECRET not in str(caught.value)
    with pytest.raises(ImagingError, match=said) as caught:
        resolve(store, "lab", "latest")
    assert SECRET not in str(caught.value)


def test_largest_chunk_is_read_whole(store: PathStore) -> None:
    (store.root / chunk_path(ID)).write_bytes(b"x" * LARGEST_CHUNK)
    assert len(store.chunk(ID)) == LARGEST_CHUNK


def test_what_is_missing_is_said(store: PathStore) -> None:
    with pytest.raises(MissingError, match=f"{ID.hex()}.cacnk: it is missing"):
        store.chunk(ID)
    with pytest.raises(MissingError, match="has no image 'other'; there is: lab"):
        resolve(store, "other", "latest")


@pytest.mark.parametrize("name", ["../lab", "", "a/b", ".hidden", "x" * 129])
def test_name_never_leads_out_of_the_store(store: PathStore, name: str) -> None:
    with pytest.raises(ImagingError, match="cannot be used"):
        store.description(name, "1", "index.json")


def test_kind_of_store_that_is_unknown_names_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(ImagingError, match=r"ftp:// is unknown; a store is a path, or begins with one of http://, https://"):
        open_store("ftp://server/store")
    with pytest.raises(ImagingError, match="there is no such folder"):
        open_store(str(tmp_path / "nothing"))
    with pytest.raises(ImagingError, match="only reads"):
        open_folder("http://server/store")
