# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A folder that somebody else filled, and what a person may type for a store."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Callable

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError, MissingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.descriptions import resolve
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.folder import PathStore
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.names import LARGEST_CHUNK, chunk_path
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.opening import open_folder, open_store
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.prune import prune

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
    with pytest.raises(ImagingError, match="it is only read"):
        open_folder("http://server/store")


@pytest.mark.parametrize("above", ["chunks", "chunks/0001", "images", "images/lab", "images/lab/1"])
def test_link_in_the_place_of_a_folder_is_not_followed(store: PathStore, tmp_path: Path, above: str) -> None:
    """What is behind it may be what only root can read, and would be served to everybody as part of an image."""
    (store.root / chunk_path(ID)).write_bytes(b"chunk")
    (store.root / "images/lab/1").mkdir()
    for file in ("index.json", "p1.caibx"):
        (store.root / "images/lab/1" / file).write_bytes(b"description")
    (store.root / above).rename(tmp_path / "elsewhere")
    (store.root / above).symlink_to(tmp_path / "elsewhere")
    asked: list[Callable[[], object]] = [lambda: store.chunk(ID)]
    if above.startswith("images"):
        asked = [partial(store.description, "lab", "1", file) for file in ("index.json", "p1.caibx")]
    for ask in asked:
        with pytest.raises(ImagingError, match=f"{above} is a link"):
            ask()


def test_store_that_is_reached_through_a_link_is_read(store: PathStore, tmp_path: Path) -> None:
    (store.root / chunk_path(ID)).write_bytes(b"chunk")
    (tmp_path / "link").symlink_to(store.root)
    assert open_folder(str(tmp_path / "link")).chunk(ID) == b"chunk"


def test_link_in_the_place_of_a_chunk_is_replaced_by_a_capture(store: PathStore, tmp_path: Path) -> None:
    path = store.root / chunk_path(ID)
    path.symlink_to(tmp_path / "secret")
    before = (tmp_path / "secret").stat()
    assert store.claim_chunk(ID) == 0
    store.put_chunk(ID, b"chunk")
    assert (path.is_symlink(), store.chunk(ID)) == (False, b"chunk")
    assert ((tmp_path / "secret").read_text(), (tmp_path / "secret").stat().st_mtime_ns) == (SECRET, before.st_mtime_ns)


def test_prune_removes_nothing_behind_a_link(store: PathStore, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    for name in (".bashrc", "old.cacnk"):
        (tmp_path / "elsewhere" / name).write_text("ours")
        os.utime(tmp_path / "elsewhere" / name, (0, 0))
    (store.root / "chunks/abcd").symlink_to(tmp_path / "elsewhere")
    (store.root / "staging").symlink_to(tmp_path / "elsewhere")
    (store.root / "images/lab").rmdir()
    prune(store)
    assert sorted(path.name for path in (tmp_path / "elsewhere").iterdir()) == [".bashrc", "old.cacnk"]


@pytest.mark.parametrize("above", ["images/lab", "images/lab/1"])
def test_prune_removes_no_chunk_while_an_image_is_behind_a_link(store: PathStore, tmp_path: Path, above: str) -> None:
    (store.root / "images/lab/1").mkdir()
    (store.root / above).rename(tmp_path / "elsewhere")
    (store.root / above).symlink_to(tmp_path / "elsewhere")
    chunk = store.root / "chunks/abcd/abcd.cacnk"
    store.write(chunk, b"of nobody")
    os.utime(chunk, (0, 0))
    result = prune(store)
    assert chunk.exists()
    assert f"{above} is a link" in result.warnings[0]
