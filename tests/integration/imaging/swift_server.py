# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""OpenStack Swift with its S3 interface, all of it in one process: an S3 server that Debian has. Run with the system's Python.

    swift_server.py FOLDER SECRET

It prints the port of the S3 interface when it is ready. One user, C(lab:images), may do everything.
"""

from __future__ import annotations

import sys
from pathlib import Path

import eventlet

eventlet.monkey_patch()

from eventlet import wsgi
from swift.common import utils
from swift.common.ring import RingBuilder
from swift.common.wsgi import loadapp

STORAGE = """[DEFAULT]
swift_dir = {root}
devices = {root}/devices
mount_check = false
disable_fallocate = true
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
"""
# Nothing is cached, but tempauth wants to have asked.
PROXY = """[DEFAULT]
swift_dir = {root}
[pipeline:main]
pipeline = catch_errors cache s3api tempauth proxy-server
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:1
[filter:s3api]
use = egg:swift#s3api
allow_multipart_uploads = false
[filter:tempauth]
use = egg:swift#tempauth
user_lab_images = {secret} .admin
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
"""


def serve(root: Path, name: str, configuration: str) -> int:
    """Serve one of Swift's applications on a free port of the loopback address."""
    file = root / f"{name}.conf"
    file.write_text(configuration)
    listener = eventlet.listen(("127.0.0.1", 0))
    eventlet.spawn(wsgi.server, listener, loadapp(str(file), global_conf={"log_name": name}), log_output=False)
    return int(listener.getsockname()[1])


def main(root: Path, secret: str) -> None:
    """Serve until somebody ends it."""
    utils.HASH_PATH_SUFFIX = b"reimage"  # otherwise it is read from /etc/swift
    (root / "devices/disk").mkdir(parents=True)
    for name in ("account", "container", "object"):
        place = {"ip": "127.0.0.1", "port": serve(root, name, STORAGE.format(root=root, name=name))}
        ring = RingBuilder(part_power=4, replicas=1, min_part_hours=0)
        replication = {f"replication_{key}": value for key, value in place.items()}
        ring.add_dev({"id": 0, "region": 1, "zone": 1, "device": "disk", "weight": 1, **place, **replication})
        ring.rebalance()
        ring.get_ring().save(str(root / f"{name}.ring.gz"))
    print(serve(root, "proxy", PROXY.format(root=root, secret=secret)), flush=True)
    while True:
        eventlet.sleep(3600)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
