"""What the answers of an object store become, and that nothing of their text is passed on."""

from __future__ import annotations

import os

import pytest

import object_services
from penstock.backends.objects.backend import ObjectBackend
from penstock.errors import (
    AccessDenied,
    ExportError,
    IoError,
    NoSpace,
    NotFound,
    StorageError,
    Unknown,
    UsageError,
)
from penstock.model.location import Location
from penstock.ports.backend import Expect, Move
from penstock.testing.backend_place import read, staged


@pytest.mark.parametrize(
    ("status", "changing", "looking"),
    [
        (0, Unknown, IoError),
        (301, UsageError, UsageError),
        (400, StorageError, StorageError),
        (401, AccessDenied, AccessDenied),
        (403, AccessDenied, AccessDenied),
        (429, IoError, IoError),
        (500, Unknown, IoError),
        (501, StorageError, StorageError),
        (503, Unknown, IoError),
        (507, NoSpace, NoSpace),
    ],
)
def test_only_an_answer_that_says_so_proves_that_nothing_changed(
    s3: None, status: int, changing: type[ExportError], looking: type[ExportError]
) -> None:
    place = object_services.new_place()
    with (
        object_services.Proxy(os.environ["AWS_ENDPOINT_URL"], lambda *_: ("before", status)) as proxy,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("AWS_ENDPOINT_URL", proxy.url)
        backend = ObjectBackend(place)
        with pytest.raises(ExportError) as changed:
            backend.put("a", b"1", expect=Expect.ABSENT, attempt="try")
        with pytest.raises(ExportError) as looked:
            backend.stat("a")
    assert (type(changed.value), type(looked.value)) == (changing, looking)
    assert len([line for line in proxy.log if line.startswith("PUT")]) == 1, "a request that creates was sent again"
    for error in (changed.value, looked.value):
        assert "canary" not in str(error)
        assert "Credential" not in str(error)
        assert "a at s3://" in error.message
        assert error.hint


def test_a_bucket_that_lacks_is_said_to(s3: None) -> None:
    backend = ObjectBackend(Location("s3", "no-such-bucket/x"))
    with pytest.raises(NotFound, match="there is no bucket no-such-bucket"):
        list(backend.list(""))
    with pytest.raises(NotFound, match="there is no bucket no-such-bucket"):
        backend.put("a", b"1", expect=Expect.ABSENT, attempt="try")


def test_a_service_that_is_not_there_is_said_to_and_nothing_was_sent(s3: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(IoError, match="S3 cannot be reached"):
        ObjectBackend(Location("s3", "bucket/x")).put("a", b"1", expect=Expect.ABSENT, attempt="try")


@pytest.mark.parametrize("copies", [1 << 30, 0])
def test_large_and_small_things_are_placed_alike(s3: None, copies: int) -> None:
    backend = ObjectBackend(object_services.new_place(), small=10, copies=copies)
    for size in (0, 10, 11, 20 << 20):
        data = os.urandom(size)
        item = staged(backend, f"{size}", data)
        (stat,) = backend.place([Move(staged=item, key=f"data/{size}")])
        assert (stat, read(backend, stat.key) == data) == (backend.stat(stat.key), True)
    assert not list(backend.attempts())


def test_an_upload_that_is_given_up_leaves_no_pieces(s3: None) -> None:
    import boto3

    place = object_services.new_place()
    backend = ObjectBackend(place)
    upload = backend.stage("try", "a")
    upload.write(bytes(30 << 20))
    upload.abort()
    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    bucket = place.path.partition("/")[0]
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)
    assert "Contents" not in client.list_objects_v2(Bucket=bucket)
