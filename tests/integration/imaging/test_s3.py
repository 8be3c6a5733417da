# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A store in a bucket of a real S3 server: Swift, whose S3 interface is checked with the library of AWS."""

from __future__ import annotations

import builtins
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Iterator

import botocore.config
import botocore.session
import pytest
from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.caibx import CHUNK_SIZE
from ansible_collections.reimage.lab.plugins.module_utils.imaging.capture import Captured, capture
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import MissingError, UnreachableError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.info import describe_one
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.access import NOBODY, Access
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.descriptions import read_ids, read_index
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.fetch import Fetcher
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.folder import PathStore
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.interface import Store
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.names import chunk_path
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.opening import open_store
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.sources import Sources
from ansible_collections.reimage.lab.plugins.module_utils.imaging.verify import verify_image
from ansible_collections.reimage.lab.plugins.module_utils.imaging.zstd import Codec

from ..module import run
from .conftest import blank, deploy
from .test_layouts import LINUX, make

KEY, SECRET = "lab:images", "a-secret-that-nobody-may-see"
ALL = Access(KEY, SECRET)
BUCKET, FOLDER = "images", "school/store"


class Bucket:
    """What is in the bucket, as the library of AWS puts it there."""

    def __init__(self, endpoint: str) -> None:
        self.url = f"s3+{endpoint}/{BUCKET}/{FOLDER}"
        self.client: Any = botocore.session.Session().create_client(
            "s3",
            region_name="us-east-1",
            endpoint_url=endpoint,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            config=botocore.config.Config(signature_version="s3v4", s3={"addressing_style": "path"}),
        )

    def put(self, path: str, data: bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=f"{FOLDER}/{path}", Body=data)

    def remove(self, path: str) -> None:
        self.client.delete_object(Bucket=BUCKET, Key=f"{FOLDER}/{path}")

    def open(self, access: Access = ALL) -> Store:
        return open_store(self.url, access)


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> tuple[PathStore, Captured]:
    """A store that holds a small disk as C(lab/1)."""
    folder = tmp_path_factory.mktemp("small")
    store = PathStore(folder / "store")
    store.root.mkdir()
    return store, capture(store, str(make(folder / "master.raw", 24, [("ext4", "root", 20, LINUX)])), "lab", "1")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return blank(tmp_path / "target.raw", 24)


@pytest.fixture(scope="module")
def bucket(captured: tuple[PathStore, Captured], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    """The store of C(captured), copied into a bucket."""
    server = Path(__file__).with_name("swift_server.py")
    words = ["/usr/bin/python3", str(server), str(tmp_path_factory.mktemp("swift")), SECRET]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        found = Bucket(f"http://127.0.0.1:{int(process.stdout.readline())}")
        found.client.create_bucket(Bucket=BUCKET)
        root = captured[0].root
        files = [path for part in ("images", "chunks") for path in (root / part).rglob("*") if path.is_file()]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda path: found.put(str(path.relative_to(root)), path.read_bytes()), files))
        yield found
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def chunk(captured: tuple[PathStore, Captured], bucket: Bucket) -> Iterator[bytes]:
    """The first chunk, which is whole again afterwards."""
    identifier = read_ids(captured[0], captured[1].index, captured[1].index.partitions[0])[0]
    yield identifier
    bucket.put(chunk_path(identifier), captured[0].chunk(identifier))


def test_image_is_deployed_by_the_module_and_no_secret_is_said(bucket: Bucket, captured: Any, target: Path) -> None:
    options = {"store": bucket.url, "name": "lab", "disk": str(target), "access_key": KEY, "secret_key": SECRET}
    # Debian's Python, with the library that automation can have; the other tests have the newest one.
    result = run("image_deploy", interpreter="/usr/bin/python3", **options)
    assert (result["changed"], result["image"]) == (True, "lab/1")
    assert not deploy(captured[0], captured[1].index, str(target), dry_run=True).changed
    assert SECRET not in str(result)


def test_it_is_described_and_verified_like_any_other(bucket: Bucket, captured: Any) -> None:
    store = bucket.open()
    assert read_index(store, "lab", "latest")[1] == read_index(captured[0], "lab", "1")[1]
    assert [image["version"] for image in describe_one(store, "lab").images] == ["1"]
    report = verify_image(store, "lab")
    assert (report.images, report.damaged, report.hurt) == (["lab/1"], {}, {})


def test_what_is_missing_is_said(bucket: Bucket, chunk: bytes, captured: Any) -> None:
    store = bucket.open()
    bucket.remove(chunk_path(chunk))
    with pytest.raises(MissingError, match=re.escape(f"{bucket.url}/{chunk_path(chunk)}: it is missing")):
        store.chunk(chunk)
    with pytest.raises(MissingError, match="has no image lab/9"):
        read_index(store, "lab", "9")
    with pytest.raises(ReimageError, match="there is no bucket 'nothing': correct the address"):
        read_index(open_store(bucket.url.replace(f"/{BUCKET}/", "/nothing/"), Access(KEY, SECRET)), "lab", "1")


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: b"", lambda data: data + bytes(2 << 20)])
def test_damaged_chunk_is_named_and_comes_from_a_mirror(bucket: Bucket, chunk: bytes, captured: Any, damage: Any) -> None:
    whole = captured[0].chunk(chunk)
    bucket.put(chunk_path(chunk), damage(whole))
    with pytest.raises(ReimageError, match=re.escape(f"{bucket.url}/{chunk_path(chunk)}")):
        Fetcher(Sources([bucket.open()]), "lab/1").get(chunk, CHUNK_SIZE)
    both = Fetcher(Sources([bucket.open(), captured[0]]), "lab/1")
    assert both.get(chunk, CHUNK_SIZE) == Codec().decompress(whole, CHUNK_SIZE)


@pytest.mark.parametrize(
    ("access", "said"),
    [
        (Access(KEY, "wrong" * 4), "SignatureDoesNotMatch"),
        (Access("nobody:here", SECRET), "InvalidAccessKeyId|SignatureDoesNotMatch|AccessDenied"),
        (NOBODY, "HTTP 40[013]"),
    ],
)
def test_wrong_credentials_are_refused_with_one_error_that_holds_none(bucket: Bucket, access: Access, said: str) -> None:
    with pytest.raises(ReimageError, match=said) as caught:
        read_index(bucket.open(access), "lab", "1")
    assert f"check access_key and secret_key, that they may read the bucket '{BUCKET}'" in str(caught.value)
    assert "\n" not in str(caught.value)
    for word in (SECRET, access.secret_key, "AWS4-HMAC"):
        assert not word or word not in str(caught.value)
    assert access.secret_key == "" or access.secret_key not in repr(access)


def test_credentials_are_never_searched_for_elsewhere(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    with pytest.raises(ReimageError, match="the server refuses it"):
        read_index(bucket.open(NOBODY), "lab", "1")


def test_server_that_is_gone() -> None:
    with pytest.raises(UnreachableError, match=r"s3\+http://127\.0\.0\.1:9/images: the store does not answer"):
        read_index(open_store("s3+http://127.0.0.1:9/images", ALL), "lab", "1")


def test_missing_library_is_one_error_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def refuse(name: str, *arguments: Any, **options: Any) -> Any:
        if name.partition(".")[0] == "botocore":
            raise ImportError(name)
        return original(name, *arguments, **options)

    for name in [name for name in sys.modules if name.partition(".")[0] == "botocore"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ReimageError, match="botocore is not installed here: install python3-botocore, or put it into"):
        open_store("s3+https://server/bucket", ALL)


@pytest.mark.parametrize(
    ("url", "access", "said"),
    [
        ("s3+https://server", NOBODY, "name server and bucket"),
        ("s3+https:///bucket", NOBODY, "name a server and a folder"),
        ("s3+https://server/bucket", Access(KEY, ""), "belong together"),
        (f"s3+https://{KEY}:{SECRET}@server/bucket", NOBODY, r"s3\+https://\.\.\.@server/bucket: user and password"),
        (f"https://user:{SECRET}@server/store", NOBODY, "user and password do not belong into an address"),
    ],
)
def test_address_that_cannot_be_is_refused(url: str, access: Access, said: str) -> None:
    with pytest.raises(ReimageError, match=said) as caught:
        open_store(url, access)
    assert SECRET not in str(caught.value)
