"""Keys as files below one directory of an SFTP server. What it rests on is installed only where it is asked for."""

from penstock.errors import UsageError

try:
    import asyncssh  # noqa: F401  # everything here uses it
except ImportError:
    raise UsageError(
        "sftp:// needs a library that is not installed", hint="run: pip install 'penstock[sftp]'"
    ) from None
