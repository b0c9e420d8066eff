"""Object stores that tests start: each in a process of its own, with a bucket a test."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

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


class Proxy(ThreadingHTTPServer):
    """Stands between clients and a service. ``spoil`` sees each request, may change its headers, and says what becomes
    of it: ``None`` for nothing, a status that is answered instead of sending it on (``before``) or of what was answered
    (``after``); 0 is no answer at all. ``log`` has method and path of each."""

    daemon_threads = True

    def __init__(self, upstream: str, spoil: Callable[[str, str, dict[str, str]], tuple[str, int] | None]) -> None:
        super().__init__(("127.0.0.1", 0), _Forward)
        self.upstream, self.spoil = upstream.removeprefix("http://"), spoil
        self.log: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Forward(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def log_message(self, *_: object) -> None:
        return

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.log.append(f"{self.command} {self.path}")
        what = self.server.spoil(self.command, self.path, headers)
        answer: tuple[int, list[tuple[str, str]], bytes] = (what[1] if what else 0, [], b"")
        if what is None or what[0] == "after":
            upstream = HTTPConnection(self.server.upstream, timeout=60)
            upstream.request(self.command, self.path, body, headers)
            response = upstream.getresponse()
            if what is None:
                answer = (response.status, response.getheaders(), response.read())
            upstream.close()
        status, given, text = answer
        if status == 0:
            self.close_connection = True
            return
        self.send_response_only(status)
        for name, value in given:
            if name.lower() not in ("content-length", "transfer-encoding", "connection") or self.command == "HEAD":
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _forward  # noqa: N815  # names of http.server


def make_bucket(name: str) -> str:
    """A new bucket at the service of the environment; gives its URL."""
    address = f"{os.environ['AWS_ENDPOINT_URL']}/{name}"
    with urllib.request.urlopen(urllib.request.Request(address, method="PUT"), timeout=30):
        return f"s3://{name}"


def new_bucket() -> str:
    """The name of a bucket of its own."""
    bucket = f"bucket-{secrets.token_hex(6)}"
    make_bucket(bucket)
    return bucket


def new_place() -> Location:
    """A place in a bucket of its own."""
    return Location("s3", f"{new_bucket()}/some dir")
