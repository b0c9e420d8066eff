"""The services that keep objects: by the scheme of a URL, what its first part is called and how a client is made.

Credentials, regions and endpoints come from the environment, as each vendor's tools read them, and are kept nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from penstock.errors import UsageError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

#: A request that may be sent again is, within this; what must not be is sent once.
_RETRIES = {"max_retries": 3, "retry_timeout": timedelta(seconds=30)}
_ONCE = {"max_retries": 0}


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """A kind of object store: ``bucket`` is what it calls the place that a name stands for, ``store`` the class of its
    client in obstore, made with ``config``. ``copies`` is how many bytes it copies in one request, and has copied when
    that ends. ``plain`` is what allows requests without TLS. ``generations``: it compares numbers, and no ETags."""

    name: str
    bucket: str
    store: str
    copies: int
    credentials: str
    plain: str
    generations: bool = False
    config: dict[str, str] = field(default_factory=dict)

    def connect(self, bucket: str, prefix: str) -> tuple[ObjectStore, ObjectStore]:
        """Two clients of a prefix: one that sends a request again that failed, and one that never does. Raises
        :class:`~penstock.errors.UsageError` without obstore, or if the environment does not say enough."""
        try:
            from obstore import store
        except ImportError:
            raise UsageError(f"{self.name} needs the package obstore", hint="pip install 'penstock[objects]'") from None
        kind: Any = getattr(store, self.store)

        def client(retries: dict[str, Any]) -> ObjectStore:
            made: ObjectStore = kind(bucket, prefix=prefix or None, retry_config=retries, **self.config)
            return made

        try:
            return client(_RETRIES), client(_ONCE)
        except Exception as error:
            first = str(error).splitlines()[0][:200]
            raise UsageError(f"{self.name} cannot be asked: {first}", hint=self.credentials) from None


SERVICES: dict[str, Service] = {
    "s3": Service(
        name="S3",
        bucket="bucket",
        store="S3Store",
        copies=5 << 30,
        credentials="set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION",
        plain="AWS_ALLOW_HTTP",
        config={"copy_if_not_exists": "multipart"},
    ),
    "gs": Service(
        name="Google Cloud Storage",
        bucket="bucket",
        store="GCSStore",
        copies=5 << 30,
        credentials="set GOOGLE_APPLICATION_CREDENTIALS to the file of a service account's key",
        plain="GOOGLE_ALLOW_HTTP",
        generations=True,
    ),
    "az": Service(
        name="Azure Blob Storage",
        bucket="container",
        store="AzureStore",
        copies=0,  # its copies may go on when the request has ended
        credentials="set AZURE_STORAGE_ACCOUNT_NAME, and AZURE_STORAGE_ACCOUNT_KEY or another credential",
        plain="AZURE_ALLOW_HTTP",
    ),
}
