"""The README's examples run as they stand, in a directory of their own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import object_services
from sftp_server import SftpServer

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```(bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [(kind, text) for kind, text in _FENCE.findall((ROOT / "README.md").read_text())]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, s3: None) -> Path:
    """An empty directory with the example data where the README expects it, and its bucket."""
    object_services.make_bucket("my-bucket")
    directory = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "examples", directory / "examples")
    return directory


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, sshd: SftpServer) -> Path:
    """The home of a user whose SSH configuration knows the README's server."""
    directory = tmp_path_factory.mktemp("home")
    (directory / ".ssh").mkdir()
    (directory / ".ssh" / "config").write_text(sshd.configuration("files.example"))
    shutil.copy(sshd.folder / "known_hosts", directory / ".ssh" / "known_hosts")
    return directory


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_example_runs(number: int, place: Path, request: pytest.FixtureRequest) -> None:
    kind, text = BLOCKS[number]
    home = {"HOME": str(request.getfixturevalue("home"))} if "sftp://" in text else {}
    command = ["bash", "-euo", "pipefail", "-c", text] if kind == "bash" else [sys.executable, "-c", text]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **home, "PATH": path}
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_readme_has_examples_of_both_kinds() -> None:
    assert {"bash", "python"} == {kind for kind, _ in BLOCKS}


def test_every_named_document_exists() -> None:
    named = set(re.findall(r"`((?:docs|examples)/[\w./-]+)`", (ROOT / "README.md").read_text()))

    assert named
    assert not [name for name in named if not (ROOT / name).exists()]
