"""Object stores that tests start: each in a process of its own, with a bucket a test."""

from __future__ import annotations

import base64
import email.utils
import hmac
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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
    with _served(_MOTO) as url:
        yield {
            "AWS_ENDPOINT_URL": url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "penstock",
            "AWS_SECRET_ACCESS_KEY": "canary-secret",
            "AWS_REGION": "us-east-1",
        }


#: The XML interface of Google, as far as it is asked here, over S3 of moto: it shows our side, not how Google behaves.
_SHIM = """
import io, logging, sys, threading
logging.getLogger("werkzeug").setLevel(logging.ERROR)
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
service, turn = DomainDispatcherApplication(create_backend_app), threading.Lock()
SIGNED = "AWS4-HMAC-SHA256 Credential=t/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x"
def shim(environ, start):
    environ["HTTP_AUTHORIZATION"] = SIGNED
    expected = environ.pop("HTTP_X_GOOG_IF_GENERATION_MATCH", None)
    source = environ.pop("HTTP_X_GOOG_COPY_SOURCE", None)
    if source:
        environ["HTTP_X_AMZ_COPY_SOURCE"] = source
    def answer(status, headers, error=None):
        tags = [value for name, value in headers if name.lower() == "etag"]
        more = [("x-goog-generation", str(int(tags[0].strip(chr(34)).partition("-")[0][:15], 16)))] if tags else []
        return start(status, [*headers, *more], error)
    with turn:
        if expected is not None and environ["REQUEST_METHOD"] == "PUT":
            found = {}
            look = {k: v for k, v in environ.items() if not k.startswith("HTTP_X_AMZ") and k != "CONTENT_LENGTH"}
            look.update({"REQUEST_METHOD": "HEAD", "QUERY_STRING": "", "wsgi.input": io.BytesIO(b"")})
            list(service(look, lambda status, headers, error=None: found.update(status=status, headers=dict(headers))))
            tag = {k.lower(): v for k, v in found["headers"].items()}.get("etag", "").strip(chr(34)).partition("-")[0]
            there = str(int(tag[:15], 16)) if found["status"].startswith("200") else "0"
            if there != expected:
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                start("412 Precondition Failed", [("Content-Length", "0")])
                return [b""]
        return list(service(environ, answer))
server = make_server("127.0.0.1", 0, shim, threaded=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port, flush=True)
sys.stdin.read()
"""
#: The account that every Azurite has, and its key, which its documentation names.
_ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
AZURITE = shutil.which("azurite-blob")
NO_AZURITE = "Azurite is not installed: npm install --global azurite"


@contextmanager
def _served(code: str) -> Iterator[str]:
    """The address of a server in a process of its own."""
    server = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        port = server.stdout.readline().strip()
        assert port, "the server did not start"
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stdin.close()
        server.wait(30)
        server.stdout.close()


@contextmanager
def google() -> Iterator[dict[str, str]]:
    """The shim; gives the environment in which clients find it."""
    with _served(_SHIM) as url:
        key = {"gcs_base_url": url, "disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
        yield {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(key), "GOOGLE_ALLOW_HTTP": "true"}


@contextmanager
def azurite() -> Iterator[dict[str, str]]:
    """Microsoft's own emulator; gives the environment in which clients find it."""
    assert AZURITE is not None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    quiet = ["--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck", "--silent"]
    server = subprocess.Popen([AZURITE, *quiet, "--blobPort", str(port)], stdout=subprocess.DEVNULL)
    try:
        for _ in range(300):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.1)
        yield {
            "AZURE_STORAGE_ACCOUNT_NAME": _ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": _KEY,
            "AZURE_STORAGE_USE_EMULATOR": "true",
            "AZURITE_BLOB_STORAGE_URL": f"http://127.0.0.1:{port}",
        }
    finally:
        server.terminate()
        server.wait(30)


def azure_request(method: str, path: str, query: str = "") -> bytes:
    """A request to Azurite, signed by hand, without any client of Azure's."""
    now = email.utils.formatdate(usegmt=True)
    signed = f"{method}{chr(10) * 12}x-ms-date:{now}\nx-ms-version:2021-08-06\n/{_ACCOUNT}/{_ACCOUNT}/{path}"
    signed += "".join(f"\n{each.replace('=', ':')}" for each in sorted(filter(None, query.split("&"))))
    mark = base64.b64encode(hmac.digest(base64.b64decode(_KEY), signed.encode(), "sha256")).decode()
    given = {"x-ms-date": now, "x-ms-version": "2021-08-06", "Authorization": f"SharedKey {_ACCOUNT}:{mark}"}
    there = HTTPConnection(os.environ["AZURITE_BLOB_STORAGE_URL"].removeprefix("http://"), timeout=60)
    there.request(method, f"/{_ACCOUNT}/{path}{'?' * bool(query)}{query}", headers=given)
    answer = there.getresponse()
    text = answer.read()
    there.close()
    assert answer.status < 300, text
    return text


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


def make_bucket(name: str, scheme: str = "s3") -> None:
    """A new bucket at a service of the environment."""
    if scheme == "az":
        azure_request("PUT", name, "restype=container")
        return
    google = os.environ.get("GOOGLE_SERVICE_ACCOUNT_KEY", "{}")
    address = json.loads(google)["gcs_base_url"] if scheme == "gs" else os.environ["AWS_ENDPOINT_URL"]
    with urllib.request.urlopen(urllib.request.Request(f"{address}/{name}", method="PUT"), timeout=30):
        return


def new_bucket(scheme: str = "s3") -> str:
    """The name of a bucket of its own."""
    bucket = f"bucket{secrets.token_hex(6)}"  # one shim takes no dashes
    make_bucket(bucket, scheme)
    return bucket


def new_place(scheme: str = "s3") -> Location:
    """A place in a bucket of its own."""
    return Location(scheme, f"{new_bucket(scheme)}/some dir")
