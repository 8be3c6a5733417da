# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is asked of a store, and what those have in common that keep files at paths."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Callable, Protocol

from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError, MissingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.names import (
    INDEX,
    LARGEST_CHUNK,
    LATEST,
    chunk_path,
    description_path,
    largest,
)

_PIECE = 1 << 20


class Store(Protocol):
    """Where images come from. Threads share it. What it returns is not checked, only bounded.

    What can be listed and written too is a C(PathStore).
    """

    where: str

    def chunk(self, identifier: bytes) -> bytes:
        """Return a chunk as it is stored, packed.

        :raises MissingError: It is not there.
        :raises UnreachableError: The store does not answer.
        """

    def description(self, name: str, version: str, file: str) -> bytes:
        """Return a file of an image's description.

        :param version: Nothing for the file C(LATEST), which is of all versions.
        :raises MissingError: It is not there.
        :raises UnreachableError: The store does not answer.
        """


class FileStore(ABC):
    """A C(Store) that keeps its files at the paths of a store's folder, whatever carries them."""

    def __init__(self, where: str) -> None:
        self.where = where

    @abstractmethod
    def read(self, path: str, most: int) -> bytes:
        """Return a file of at most I(most) bytes; C(FileNotFoundError) if there is none."""

    def chunk(self, identifier: bytes) -> bytes:
        """See C(Store)."""
        path = chunk_path(identifier)
        try:
            return self.read(path, LARGEST_CHUNK)
        except FileNotFoundError:
            raise MissingError(f"{self.where}/{path}: it is missing") from None

    def description(self, name: str, version: str, file: str) -> bytes:
        """See C(Store)."""
        path = description_path(name, version, file)
        try:
            return self.read(path, largest(file))
        except FileNotFoundError:
            raise MissingError(self._missing(name, version, file)) from None

    def _take(self, path: str, read: Callable[[int], bytes], most: int) -> bytes:
        """Return all that I(read) gives, piece by piece, for a server may say that it is little, or nothing, and never end."""
        pieces: list[bytes] = []
        size = 0
        while size <= most:
            piece = read(_PIECE)
            if not piece:
                return b"".join(pieces)
            pieces.append(piece)
            size += len(piece)
        raise ImagingError(f"{self.where}/{path} is larger than {most} bytes, which no such file of a store is")

    def _missing(self, name: str, version: str, file: str) -> str:
        """Say what is missing where a file of a description is."""
        if file == LATEST:
            return f"store {self.where} has no image {name!r}"
        if file == INDEX:
            return f"store {self.where} has no image {name}/{version}"
        return f"{self.where}/{description_path(name, version, file)} is missing"
