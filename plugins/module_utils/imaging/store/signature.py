# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signatures of indexes, made and checked by OpenSSH. Whoever trusts an index trusts all that follows from it.

Source: ssh-keygen(1), "ALLOWED SIGNERS".
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from pathlib import Path

from ansible_collections.reimage.lab.plugins.module_utils.command import CommandError, run
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError, MissingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.folder import PathStore
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.interface import Store
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.names import INDEX, SIGNATURE, description_path

NAMESPACE = "reimage.lab"


def sign(store: PathStore, name: str, version: str, key: str, *, dry_run: bool = False) -> bool:
    """Sign an index with a private key, unless that key has signed it, and return whether it did.

    :param key: The file of the private key, without a passphrase.
    :param dry_run: Only say whether it would.
    """
    data = store.description(name, version, INDEX)
    public = run(["ssh-keygen", "-y", "-f", key]).stdout.decode().strip()
    try:
        check(store, name, version, hashlib.sha256(data).hexdigest(), f"signer {public}\n")
    except ImagingError:
        if dry_run:
            return True
        with tempfile.TemporaryDirectory() as place:
            copy = Path(place, INDEX)
            copy.write_bytes(data)
            run(["ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", NAMESPACE, str(copy)])
            store.put_signature(name, version, copy.with_name(SIGNATURE).read_bytes())
        return True
    return False


def check(store: Store, name: str, version: str, digest: str, allowed_signers: str) -> str:
    """Return who signed an index.

    :param digest: Of the index that was read: a store may give another one when it is asked again.
    :param allowed_signers: The text of an C(allowed_signers) file.
    :raises ImagingError: Nobody of them did.
    """
    try:
        data, signature = store.description(name, version, INDEX), store.description(name, version, SIGNATURE)
    except MissingError:
        raise ImagingError(f"{name}/{version} is not signed, and a signature is required: sign it with image_sign") from None
    if hashlib.sha256(data).hexdigest() != digest:
        where = f"{store.where}/{description_path(name, version, INDEX)}"
        raise ImagingError(f"{where} changed while it was read, as no image ever does: do not trust that store")
    with tempfile.TemporaryDirectory() as place:
        signed, allowed = Path(place, "sig"), Path(place, "allowed")
        signed.write_bytes(signature)
        allowed.write_text(allowed_signers, encoding="utf-8")
        try:
            found = run(["ssh-keygen", "-Y", "find-principals", "-s", str(signed), "-f", str(allowed)]).stdout.decode()
            signer = found.splitlines()[0]
            run(
                ["ssh-keygen", "-Y", "verify", "-f", str(allowed), "-I", signer, "-n", NAMESPACE, "-s", str(signed)],
                data=data,
            )
        except (CommandError, IndexError) as error:
            reason = re.sub(r"\s+", " ", str(error))
            raise ImagingError(f"the signature of {name}/{version} is not that of an allowed signer: {reason}") from error
    return signer
