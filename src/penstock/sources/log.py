"""SQLite's write-ahead log as a file: whether what a reader sees in it would outlive a power failure."""

from __future__ import annotations

import os
from pathlib import Path


def sync_log(database: Path) -> bool:
    """Sync the log of a database, and the directory that names it; ``False`` where that cannot be done.

    Under ``synchronous=normal`` a commit lies in the log and is not synced; what lies in the database itself was.
    SQLite keeps no lock on the log, so that a descriptor of its own may come and go while connections are open.
    """
    beside = os.path.realpath(database)
    for path, flags in ((f"{beside}-wal", os.O_NONBLOCK), (os.path.dirname(beside), os.O_DIRECTORY)):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True
