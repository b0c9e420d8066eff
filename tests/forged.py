"""Manifests of a lineage's runs as plain JSON, and changed ones that are signed anew, as only a forger would."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def run_path(runs: Path, number: int) -> Path:
    return runs / f"_penstock/runs/{number:06d}.json"


def manifest(runs: Path, number: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run_path(runs, number).read_bytes())
    return found


def part(runs: Path, number: int) -> Path:
    return runs / str(manifest(runs, number)["parts"][0]["name"])


def signed(raw: dict[str, Any]) -> bytes:
    """A manifest's text with the digest that belongs to it."""
    head = json.dumps({name: raw[name] for name in raw if name != "manifest_sha256"}, indent=2, ensure_ascii=False)
    digest = hashlib.sha256(head.encode()[:-2]).hexdigest()
    return head.encode()[:-2] + f',\n  "manifest_sha256": "{digest}"\n}}\n'.encode()


def forge(runs: Path, number: int, edit: Callable[[dict[str, Any]], object]) -> None:
    """Edit a run's manifest and sign it and every later one anew."""
    while run_path(runs, number).exists():
        raw = manifest(runs, number)
        edit(raw)
        run_path(runs, number).write_bytes(signed(raw))
        digest = manifest(runs, number)["manifest_sha256"]
        number += 1

        def edit(raw: dict[str, Any], digest: str = digest) -> None:
            raw["lineage"]["previous"] = digest
