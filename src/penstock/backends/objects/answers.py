"""What an answer of an object store means in the error tree. Nothing of its text is passed on but codes: it may hold
what nobody should see, such as signed URLs."""

from __future__ import annotations

import re

from penstock.backends.objects.services import Service
from penstock.errors import (
    AccessDenied,
    Changed,
    Exists,
    ExportError,
    IoError,
    NoSpace,
    NotFound,
    StorageError,
    Unknown,
    UsageError,
)

_STATUS = re.compile(r"\bstatus(?: code)?: (\d{3})\b")
_CODE = re.compile(r"<Code>([A-Za-z0-9]{1,60})</Code>")
_METADATA = re.compile(r"//(?:169\.254\.\d+\.\d+|metadata\.google\.internal)/")
#: Codes that say that there is no bucket, or container.
_NO_BUCKET = {"NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted"}
_FULL = {"QuotaExceeded", "XMinioStorageFull", "InsufficientCapacity", "AccountQuotaExceeded"}
#: Answers that promise that nothing happened, and that may be other ones later.
_BUSY = {408, 425, 429}
_LOOK = "look what stands there, then run it again"
_AGAIN = "run the command again when the cause is gone"


def answered(error: Exception, what: str, service: Service, bucket: str, *, changes: bool = False) -> ExportError:
    """The error of ours for one of obstore's; ``what`` says what was being done. Of a request that ``changes``
    something only an answer that says so proves that it did not."""
    text = str(error)
    status, code = _found(_STATUS, text), _found(_CODE, text)
    kind = type(error).__name__
    if _METADATA.search(text):  # where machines of the vendor are asked, when the environment says nothing
        return AccessDenied(f"{what}: there are no credentials for {service.name}", hint=service.credentials)
    if kind == "AlreadyExistsError":
        return Exists(f"{what}: it exists", hint="choose another name")
    if kind in ("PreconditionError", "NotModifiedError") or status == "412":
        return Changed(f"{what}: it is not what it was", hint="look what stands there now")
    if code in _NO_BUCKET:
        return NotFound(f"{what}: there is no {service.bucket} {bucket}", hint="create it, or check its name")
    if isinstance(error, FileNotFoundError):
        return NotFound(f"{what}: it is not there", hint="check the name")
    said = " ".join(part for part in (status, code) if part)
    if kind in ("PermissionDeniedError", "UnauthenticatedError") or status in ("401", "403"):
        return AccessDenied(f"{what}: {service.name} refuses ({said or 'no permission'})", hint=service.credentials)
    if isinstance(error, ValueError) or kind == "InvalidPathError":
        return UsageError(f"{what}: {service.name} takes no such name", hint="choose another name")
    if code in _FULL or status == "507":
        return NoSpace(f"{what}: no space is left ({said})", hint="free some space, or choose another destination")
    if "BadScheme" in text:
        return UsageError(f"{what}: the endpoint is not https", hint=f"set {service.plain}=true if that is meant")
    if "kind: Connect" in text:  # it was never sent
        return IoError(f"{what}: {service.name} cannot be reached", hint="check the endpoint and the network")
    if "inner: BareRedirect" in text or (status is not None and 300 <= int(status) < 400):
        return UsageError(f"{what}: the {service.bucket} {bucket} lies elsewhere", hint="set its region")
    if status == "501" or (status is not None and 400 <= int(status) < 500 and int(status) not in _BUSY):
        return StorageError(f"{what}: {service.name} refuses it ({said})", hint=service.credentials)
    if changes and (status is None or int(status) not in _BUSY):
        return Unknown(f"{what}: the answer was lost" + (f" ({said})" if said else ""), hint=_LOOK)
    return IoError(f"{what}: {service.name} does not answer" + (f" ({said})" if said else ""), hint=_AGAIN)


def _found(pattern: re.Pattern[str], text: str) -> str | None:
    match = pattern.search(text)
    return None if match is None else match[1]
