"""Object stores that tests start: each in a process of its own, with a bucket a test."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from penstock.model.location import Location

_MOTO = """
import logging, sys, threading
logging.getLogger("werkzeug").setLevel(logging.ERROR)
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
server.stop()
"""


@contextmanager
def moto() -> Iterator[dict[str, str]]:
    """moto's S3, an imitation; gives the environment in which clients find it."""
    server = subprocess.Popen([sys.executable, "-c", _MOTO], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        port = server.stdout.readline().strip()
        assert port, "moto did not start"
        yield {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "penstock",
            "AWS_SECRET_ACCESS_KEY": "canary-secret",
            "AWS_REGION": "us-east-1",
        }
    finally:
        server.stdin.close()
        server.wait(30)
        server.stdout.close()


def make_bucket(name: str) -> str:
    """A new bucket at the service of the environment; gives its URL."""
    address = f"{os.environ['AWS_ENDPOINT_URL']}/{name}"
    with urllib.request.urlopen(urllib.request.Request(address, method="PUT"), timeout=30):
        return f"s3://{name}"


def new_place() -> Location:
    """A place in a bucket of its own."""
    bucket = f"bucket-{secrets.token_hex(6)}"
    make_bucket(bucket)
    return Location("s3", f"{bucket}/some dir")
