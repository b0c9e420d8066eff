"""Whether a directory lies on a file system that several hosts mount: a lock there may be this host's alone."""

from __future__ import annotations

import os
from pathlib import Path

_SHARED = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "afs", "lustre", "glusterfs", "virtiofs"})
MOUNTS = Path("/proc/self/mountinfo")


def shared_by_hosts(path: Path) -> bool:
    """Whether another host may work below ``path`` without seeing this one's locks. A path that is missing lies where
    the nearest directory above it does."""
    try:
        above = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
        device = os.stat(above).st_dev
        mounts = MOUNTS.read_text(errors="replace")
    except OSError:
        return False
    wanted = f"{os.major(device)}:{os.minor(device)}"
    kinds = {line.partition(" - ")[2].split()[0] for line in mounts.splitlines() if line.split()[2] == wanted}
    return any(kind in _SHARED or kind.startswith("fuse.") for kind in kinds)
