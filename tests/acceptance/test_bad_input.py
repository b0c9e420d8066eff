"""Bad input ends in one clear line, a hint and the right exit code; never in a traceback, never in a half export."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import as_nobody
import foreign_sqlite
import sample_events
from penstock import SqliteAnalyticsStorage, export
from penstock.errors import AccessDenied, ExportError, UsageError
from penstock_command import PENSTOCK, Run

Command = Callable[..., Run]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a store, and things that are no store and no destination."""
    with SqliteAnalyticsStorage(tmp_path / "events.db") as store:
        store.append(sample_events.varied(30))
    (tmp_path / "text.db").write_text("no database, but long enough to hold a header\n" * 9)
    (tmp_path / "empty.db").touch()
    foreign_sqlite.execute(tmp_path / "other.db", "CREATE TABLE visits (a)")
    shutil.copy(tmp_path / "events.db", tmp_path / "newer.db")
    foreign_sqlite.execute(tmp_path / "newer.db", "PRAGMA user_version = 9")
    shutil.copy(tmp_path / "events.db", tmp_path / "damaged.db")
    with (tmp_path / "damaged.db").open("r+b") as file:
        file.seek(2 * 4096)
        file.write(os.urandom(4096 * 6))
    (tmp_path / "made").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "link.csv").symlink_to("nowhere.csv")
    return tmp_path


def _names(place: Path) -> set[str]:
    return {str(path.relative_to(place)) for path in place.rglob("*") if not path.name.endswith(("-wal", "-shm"))}


#: Command lines, the exit code each one ends with, and a word of what it says.
LINES: list[tuple[str, int, str]] = [
    ("", 2, "Usage"),
    ("exprot events.db a.csv", 2, "Did you mean 'export'"),
    ("unheard-of", 2, "no command"),
    ("export", 2, "Missing argument"),
    ("export events.db", 2, "DEST is missing"),
    ("export events.db a.csv a.csv", 2, "named twice"),
    ("export events.db a.csv --new-columns add", 2, "add --incremental"),
    ("export events.db a.csv --frmat csv", 2, "--format"),
    ("export events.db a.csv --start 2026-11-02 --end 2026-11-01", 2, "not before end"),
    ("export events.db a.csv --start 2026-11-02 --end 2026-11-02", 2, "not before end"),
    ("export events.db a.csv --start yesterday", 2, "cannot read the time"),
    ("export events.db a.csv --start 2026-12-31T23:59:60Z", 2, "cannot read the time"),
    ("export events.db a.csv --end 999999w", 2, "outside the years"),
    ("export events.db a.csv --start ", 2, "cannot read the time"),
    ("export events.db a.csv --category nope", 2, "one of usage, performance"),
    ("export events.db a.csv --category ", 2, "unknown category"),
    ("export events.db a.csv --event-type ", 2, "event_type"),
    ("export events.db a.csv --session ", 2, "session_id is empty"),
    ("export events.db a.csv --priority urgent", 2, "low, normal, high, critical"),
    ("export events.db a.csv --limit -1", 2, "limit"),
    ("export events.db a.csv --limit many", 2, "limit"),
    ("export events.db a.csv --limit 99999999999999999999", 2, "limit"),
    ("export events.db a.xyz", 2, "known endings are"),
    ("export events.db a.parquet.gz", 2, "compresses inside"),
    ("export events.db a.gz", 2, "unknown ending"),
    ("export events.db events.db", 2, "unknown ending"),
    ("export events.db a.csv --format json", 2, "the name a.csv says csv"),
    ("export events.db a.csv.gz --compression zstd", 2, "the name says compression gzip"),
    ("export events.db a.csv --compression gzip", 2, "the name says compression none"),
    ("export events.db a.parquet --compression brotli", 2, "no compression"),
    ("export events.db out/ --format xml", 2, "one of json, ndjson"),
    ("export events.db a.csv.gz --level 10", 2, "levels"),
    ("export events.db a.csv --level 3", 2, "takes no level"),
    ("export events.db a.csv --pretty", 2, "pretty"),
    ("export events.db a.json --csv-null -", 2, "csv_null"),
    ("export events.db a.csv --csv-null a,b", 2, "csv_null"),
    ("export events.db a.csv --columns nope", 2, "columns are id"),
    ("export events.db a.csv --columns ,", 2, "at least one column"),
    ("export events.db a.csv --columns id,id", 2, "twice"),
    ("export events.db a.csv --columns session_id", 2, "empty line"),
    ("export events.db a.csv --part-size 10rows", 2, "--part-size"),
    ("export events.db out/ --part-size 0rows", 2, "part_rows"),
    ("export events.db out/ --part-size big", 2, "cannot read the size"),
    ("export events.db out/ --part-size -1", 2, "cannot read the size"),
    ("export events.db a.csv --max-bytes 0", 2, "max_bytes"),
    ("export events.db a.csv --max-bytes " + "9" * 5000, 2, "cannot read the size"),
    ("export events.db a.csv --max-duration 0", 2, "max_duration"),
    ("export events.db a.csv --max-duration nan", 2, "max_duration"),
    ("export events.db a.csv --workers 0", 2, "workers"),
    ("export events.db a.csv --workers 100000", 2, "workers"),
    ("export events.db a.csv --memory-limit 1KiB", 2, "64 MiB"),
    ("export events.db a.csv --map timestamp=created_at", 2, "--table"),
    ("export events.db - --verify-written", 2, "read back"),
    ("export events.db - --part-size 10rows", 2, "stream"),
    ("export events.db a.csv --manifest m.json", 2, "--manifest"),
    ("export events.db ", 2, "empty name"),
    ("export  a.csv", 2, "empty name"),
    ("export events.db s3://bucket/a.csv", 7, "no credentials for S3"),
    ("export https://host/events.db a.csv", 2, "https://"),
    ("export events.db " + "x" * 300 + ".csv", 2, "File name too long"),
    ("export " + "x" * 300 + " a.csv", 2, "File name too long"),
    ("export events.db file/a.csv", 6, "no directory"),
    ("export events.db file/", 2, "is a file"),
    ("export events.db no/such/a.csv", 6, "no directory"),
    ("export events.db no/such/place/", 6, "place"),
    ("export nothing.db a.csv", 6, "no store at"),
    ("export no/thing.db a.csv", 6, "no store at"),
    ("export file/x.db a.csv", 2, "file/x.db"),
    ("export made a.csv", 2, "directory, not a store"),
    ("export . a.csv", 2, "directory, not a store"),
    ("export text.db a.csv", 2, "not a SQLite database"),
    ("export empty.db a.csv", 2, "not an event store"),
    ("export other.db a.csv", 2, "--table"),
    ("export newer.db a.csv", 2, "upgrade penstock"),
    ("export damaged.db a.csv", 7, "damaged.db"),
    ("export events.db link.csv", 2, "link.csv exists"),
    ("export events.db ../no/such/../a.csv", 6, "no directory"),
    ("verify", 2, "Missing argument"),
    ("verify -", 2, "standard output"),
    ("verify nothing.csv", 6, "no export at"),
    ("verify ", 2, "empty name"),
    ("verify events.db", 4, "is missing"),
    ("verify file", 2, "Not a directory"),
    ("verify made", 4, "manifest.json is missing"),
    ("verify s3://bucket/x", 7, "no credentials for S3"),
    ("inspect nothing.db", 6, "no store at"),
    ("inspect text.db", 2, "not a SQLite database"),
    ("inspect made", 2, "directory, not a store"),
    ("inspect newer.db", 2, "upgrade penstock"),
    ("inspect damaged.db", 7, "damaged.db"),
]


def _words(line: str) -> list[str]:
    """Like a shell, but a blank at the end or two in a row stand for an empty argument."""
    return line.split(" ") if line else []


@pytest.mark.parametrize(("line", "code", "word"), LINES, ids=lambda value: str(value)[:60])
def test_bad_input_ends_in_a_clear_line_and_leaves_nothing(
    place: Path, penstock: Command, line: str, code: int, word: str
) -> None:
    before = _names(place)
    done = penstock(*_words(line))
    assert (done.code, done.stdout) == (code, b""), done.stderr
    assert word in done.stderr
    assert len(done.stderr) < 6500
    assert _names(place) == before
    machine = penstock(*_words(line), "--json")
    assert machine.code == code
    if line.startswith(("export", "verify", "inspect")) and line not in ("verify -", "export events.db -"):
        said = machine if b"summary" in machine.stdout else Run(machine.code, machine.stderr.encode(), "")
        lines = [each for each in said.stdout.splitlines() if each.startswith(b"{")]
        assert Run(code, b"\n".join(lines), "").summary["exit_code"] == code


def test_a_few_of_them_in_a_process_of_their_own(place: Path, penstock_process: Command) -> None:
    for line, code, word in (LINES[0], LINES[1], LINES[7], LINES[18], LINES[-6]):
        done = penstock_process(*_words(line))
        assert (done.code, done.stdout) == (code, b"")
        assert word in done.stderr


def test_names_that_are_not_utf8_are_no_bugs(place: Path, penstock_process: Command) -> None:
    refused = penstock_process("export", "events.db", b"caf\xe9.csv", "--json")
    assert (refused.code, refused.summary["exit_code"]) == (2, 2)
    assert penstock_process("export", b"caf\xe9.db", "a.csv").code == 6
    shutil.copy(place / "events.db", place / os.fsdecode(b"caf\xe9.db"))
    assert penstock_process("export", b"caf\xe9.db", b"d\xe9/", "--json").summary["event_count"] == 30
    assert penstock_process("verify", b"d\xe9").code == 0
    for option in ("--session", "--event-type", "--category", "--start", "--columns", "--csv-null"):
        assert penstock_process("export", "events.db", "a.csv", option, b"\xff").code == 2


def test_control_characters_do_not_reach_the_terminal(place: Path, penstock: Command) -> None:
    for line in (
        ["export", "events.db", "a\x1b[31m.xyz"],
        ["export", "no\x1b]0;x\x07.db", "a.csv"],
        ["verify", "\x9b2J"],
    ):
        done = penstock(*line)
        assert done.code in (2, 6)
        assert not {"\x1b", "\x07", "\x9b"} & set(done.stderr)
        assert "\\x" in done.stderr


def test_closed_streams_are_no_bugs(place: Path) -> None:
    for redirection, destination, code in (
        (">&-", "a.csv", 0),
        (">&-", "-", 2),
        ("2>&-", "b.csv", 0),
        ("2>&-", "no/b.csv", 6),
    ):
        script = f"{PENSTOCK[0]} -m penstock export events.db {destination} {redirection}"
        done = subprocess.run(["bash", "-c", script], cwd=place, capture_output=True, check=False)
        assert done.returncode == code, done.stderr
        assert b"Traceback" not in done.stderr


def test_an_output_that_takes_no_letters_beyond_ascii_is_no_bug(place: Path) -> None:
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*PENSTOCK, "inspect", "events.db"], cwd=place, env=env, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_store_is_never_the_destination(place: Path) -> None:
    os.link(place / "events.db", place / "events.csv")
    before = (place / "events.db").read_bytes()
    for name in ("events.csv", "./made/../events.csv"):
        with pytest.raises(UsageError, match="the store itself"):
            export(place / "events.db", place / name, overwrite=True)
    assert (place / "events.db").read_bytes() == before


def test_a_directory_where_a_file_is_meant_stays_one(place: Path, penstock: Command) -> None:
    """An existing directory is a directory of parts, whatever its name; a file beside it is never made."""
    (place / "out.csv").mkdir()
    assert penstock("export", "events.db", "out.csv").code == 0
    assert {path.suffix for path in (place / "out.csv").rglob("*")} == {".parquet", ".json", ""}
    (place / "a.csv.manifest.json").mkdir()
    done = penstock("export", "events.db", "a.csv")
    assert done.code in (2, 4)
    assert not (place / "a.csv").exists()
    (place / ".b.csv.penstock").write_text("in the way")
    assert penstock("export", "events.db", "b.csv").code == 2
    assert (place / ".b.csv.penstock").read_text() == "in the way"


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A directory that everybody may enter, with a store that everybody may read."""
    place = Path(tempfile.mkdtemp())
    place.chmod(0o755)
    with SqliteAnalyticsStorage(place / "events.db") as store:
        store.append(sample_events.varied(30))
    (place / "closed").mkdir(mode=0o700)
    (place / "writable").mkdir()
    (place / "writable").chmod(0o777)
    export(place / "events.db", place / "mine.csv")
    (place / "mine.csv").chmod(0o600)
    shutil.copy(place / "events.db", place / "secret.db")
    (place / "secret.db").chmod(0o600)
    yield place
    shutil.rmtree(place)


@as_nobody.needs_root
@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("export events.db writable/a.csv", 0),
        ("export events.db a.csv", 7),
        ("export events.db out/", 7),
        ("export events.db closed/a.csv", 7),
        ("export events.db closed/out/", 7),
        ("export events.db closed", 7),
        ("export events.db mine.csv --overwrite", 7),
        ("export secret.db writable/a.csv", 7),
        ("export closed/x.db writable/a.csv", 7),
        ("inspect secret.db", 7),
        ("verify mine.csv", 7),
        ("verify closed/a.csv", 7),
        ("verify closed", 7),
    ],
)
def test_without_permission_nothing_is_done_and_that_is_said(open_place: Path, line: str, code: int) -> None:
    before = _names(open_place)
    done = as_nobody.run(f"sys.exit(run({line.split()!r}))", cwd=open_place)
    assert done.returncode == code, done.stderr
    if code:
        assert "Permission denied" in done.stderr or "permission" in done.stderr
        assert _names(open_place) == before


@as_nobody.needs_root
def test_the_library_refuses_as_the_command_does(open_place: Path) -> None:
    code = (
        "for act in (lambda: export('events.db', 'closed/x/a.csv'), lambda: verify('closed/x/a.csv'),"
        " lambda: export('events.db', 'closed/' + 'x' * 300)):\n"
        "    try: act()\n"
        "    except ExportError as error: print(type(error).__name__)"
    )
    said = as_nobody.run(code, cwd=open_place).stdout.split()
    assert set(said) <= {AccessDenied.__name__, "UsageError"}
    assert len(said) == 3


def test_an_output_that_is_no_file_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (io.StringIO(), None):
        monkeypatch.setattr("sys.stdout", stream)
        with pytest.raises(UsageError, match="standard output"):
            export(place / "events.db", "-")


def test_what_is_no_regular_file_is_no_store_and_nobody_waits_for_it(place: Path, penstock: Command) -> None:
    os.mkfifo(place / "pipe.db")
    for name in ("pipe.db", "/dev/null", "/dev/zero"):
        for line in (["export", name, "a.csv"], ["inspect", name]):
            done = penstock(*line)
            assert (done.code, done.stdout) == (2, b"")
            assert "not a regular file" in done.stderr


def test_every_refusal_is_an_error_of_ours(place: Path) -> None:
    names = (
        "x" * 300 + ".csv",
        "x" * 300,
        "x" * 300 + "/",
        "a\x00.csv",
        "",
        "file/x/a.csv",
        "no/a.csv",
        "http://x/a.csv",
    )
    for destination in names:
        with pytest.raises(ExportError):
            export(place / "events.db", destination and str(place / destination))
