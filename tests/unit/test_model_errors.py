"""The error tree: drawn as it is, with one exit code each, and what errors of the operating system become."""

from __future__ import annotations

import errno
import inspect
import re

import pytest

from penstock import errors


def _tree() -> dict[str, type[errors.ExportError]]:
    return {
        name: kind for name, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.ExportError)
    }


def test_the_drawing_is_the_tree() -> None:
    assert errors.__doc__ is not None
    drawn = {}
    parents: list[str] = []
    for line in errors.__doc__.splitlines():
        match = re.match(r"    ([│├└─ ]*)(\w+) +(\d+) {3}\S", line)
        if match is None:
            continue
        level = len(match[1]) // 3
        parents[level:] = [match[2]]
        drawn[match[2]] = (int(match[3]), parents[level - 1] if level else "Exception")
    real = {name: (kind.exit_code, kind.__bases__[0].__name__) for name, kind in _tree().items()}
    assert drawn == real


def test_every_error_explains_itself_and_carries_its_hint() -> None:
    for kind in _tree().values():
        assert kind.__doc__
        error = kind("what happened", hint="what to do")
        assert (error.message, error.hint, str(error)) == (
            "what happened",
            "what to do",
            "what happened (what to do)",
        )
        assert str(kind("what happened")) == "what happened"
        assert error.retryable == issubclass(kind, errors.TemporaryError)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, errors.NoSpace),
        (errno.EDQUOT, errors.NoSpace),
        (errno.EACCES, errors.AccessDenied),
        (errno.EROFS, errors.AccessDenied),
        (errno.ENOENT, errors.NotFound),
        (errno.EISDIR, errors.UsageError),
        (errno.ENOTDIR, errors.UsageError),
        (errno.ENAMETOOLONG, errors.UsageError),
        (errno.EIO, errors.IoError),
        (None, errors.IoError),
    ],
)
def test_errors_of_the_operating_system_are_translated(number: int | None, kind: type[errors.ExportError]) -> None:
    source = OSError(number, "x") if number is not None else OSError("something else")
    found = errors.from_os_error(source, "cannot write there")
    assert type(found) is kind
    assert found.message.startswith("cannot write there: ")
    assert found.hint
