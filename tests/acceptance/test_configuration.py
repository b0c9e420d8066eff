"""Settings in files: which one wins, what is refused, and that it is said where a value comes from."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from penstock.cli.export import command as export
from penstock_command import Run

Command: TypeAlias = Callable[..., Run]
DOCUMENT = (Path(__file__).parents[2] / "docs/configuration.md").read_text()


@pytest.fixture(autouse=True)
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of an application, and a home of its own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection, connection:
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT, total REAL, created_at TEXT)")
        connection.executemany(
            "INSERT INTO orders VALUES (?, ?, ?, ?)",
            [(n, ["draft", "paid", "sent"][n % 3], n / 4, f"2026-11-{n:02} 10:00:00") for n in range(1, 13)],
        )
        connection.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, created_at TEXT)")
        connection.execute("INSERT INTO customers VALUES (1, 'ada', '2026-11-01T00:00:00Z')")
    return tmp_path / "app.db"


def users_own(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "home/penstock/penstock.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_example_of_the_document_runs(tmp_path: Path, penstock: Command) -> None:
    (tmp_path / "penstock.toml").write_text(re.findall(r"```toml\n(.*?)```", DOCUMENT, re.DOTALL)[0])
    for line in re.findall(r"```bash\n(.*?)```", DOCUMENT, re.DOTALL)[0].splitlines():
        done = penstock(*line.split()[1:])
        assert done.code == 0, done
    assert b"where = \"status != 'draft'\"  # penstock.toml" in done.stdout
    assert b'memory-limit = "256MiB"  # penstock.toml' in done.stdout
    assert b'runner = "threads"  # default' in done.stdout
    manifest = json.loads((tmp_path / "orders/_penstock/runs/000001.json").read_text())
    assert manifest["rows"] == 8
    assert [column["name"] for column in manifest["schema"]] == ["id", "status", "total", "created_at"]
    assert manifest["schema"][2]["type"] == "decimal(10,2)"


def test_options_win_over_the_environment_and_that_over_the_files(
    tmp_path: Path, penstock_process: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = users_own(tmp_path, '[export]\nlimit = 5\nformat = "ndjson"\n[exports.mine]\nstore = "a"\nto = "b"')
    (tmp_path / "penstock.toml").write_text(
        '[export]\nlimit = 4\ntable = "orders"\n[exports.few]\nstore = "app.db"\nto = "few/"\n'
        "limit = 3\noverwrite = true"
    )

    def rows(*more: str) -> int:
        done = penstock_process("export", "few", *more, "--json")
        assert done.code == 0, done
        return int(done.summary["event_count"])

    def where(key: str, *more: str) -> str:
        said = penstock_process("config", "show", *more, "--origin", "--json").lines
        return next(str(line["origin"]) for line in said if line.get("key") == key)

    assert (rows(), where("limit", "few"), where("limit")) == (3, "penstock.toml", "penstock.toml")
    assert where("format", "few") == str(own)
    assert penstock_process("export", "app.db", "x.ndjson", "--json").summary["event_count"] == 4
    assert where("store", "mine") == str(own)
    monkeypatch.setenv("PENSTOCK_EXPORT_LIMIT", "2")
    assert (rows(), where("limit", "few")) == (2, "PENSTOCK_EXPORT_LIMIT")
    assert rows("--limit", "1") == 1
    monkeypatch.setenv("PENSTOCK_EXPORT_OVERWRITE", "false")
    assert penstock_process("export", "few").code == 2, "it is there already"


def test_a_file_is_named_and_its_paths_are_beside_it(
    tmp_path: Path, penstock_process: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/select.sql").write_text("SELECT id, name FROM customers")
    named = tmp_path / "conf/other.toml"
    named.write_text('[exports.q]\nstore = "../app.db"\nto = "q.ndjson"\nquery-file = "select.sql"\n')
    assert penstock_process("export", "q", "--config", named).code == 0
    assert lines(tmp_path / "conf/q.ndjson") == [{"id": 1, "name": "ada"}]
    monkeypatch.setenv("PENSTOCK_CONFIG", str(named))
    assert penstock_process("export", "q", "--overwrite").code == 0
    missing = penstock_process("export", "q", "--config", "nowhere.toml")
    assert (missing.code, "nowhere.toml" in missing.stderr) == (6, True)


def test_a_mapping_has_a_name_on_the_command_line_too(tmp_path: Path, penstock: Command) -> None:
    (tmp_path / "penstock.toml").write_text("[mappings.signups]\ntimestamp = 'created_at'\nevent_type = \"'signup'\"\n")
    assert penstock("export", "app.db", "s.ndjson", "--table", "customers", "--map", "signups").code == 0
    (event,) = lines(tmp_path / "s.ndjson")
    assert (event["event_type"], event["data"]) == ("signup", {"name": "ada"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[exports.x]\nstore = 'a'\nwehre = 'b'", ["exports.x has no key 'wehre'", "did you mean 'where'?"]),
        ("[export]\nstore = 'a'", ["export has no key 'store'"]),
        ("[exprots.x]\nstore = 'a'", ["it has no key 'exprots'", "did you mean 'export"]),
        ("[exports.x]\nlimit = 'b'", ["exports.x.limit is 'b'", "it has to be a number"]),
        ("[exports.x]\noverwrite = 1", ["exports.x.overwrite is 1", "true or false"]),
        ("[exports.x]\nwhere = ['a']", ["exports.x.where is ['a']", "a text"]),
        ("[exports.x]\ntypes = {a = 1}", ["exports.x.types is {'a': 1}", "a table of texts"]),
        ("[mappings.m]\ntimestamp = 1", ["mappings.m.timestamp is 1"]),
        ("exports = 3", ["exports is no table"]),
        ("[exports.x]\ndry-run = true", ["has no key 'dry-run'"]),
        ("[exports.x\n", ["penstock.toml is no TOML", "line 1"]),
        ("a = " + "[" * 5000, ["penstock.toml is no TOML"]),
        ("[exports.x]\nstore = 'a'", ["exports.x does not say to", "to = "]),
        ("[exports.x]\nstore = 'a'\nto = []", ["exports.x does not say to", "to = "]),
        ("[exports.x]\nstart = 2026-11-01", ["exports.x.start is 2026-11-01", 'start = "2026-11-01"']),
        (
            "[exports.x]\nstore = 'app.db'\nto = 'x.csv'\ntable = 'orders'\nmap = 'mine'\n[mappings.mime]\nid = 'id'",
            ["no mapping is called 'mine'", "did you mean 'mime'?"],
        ),
        ("[exports.xx]\nstore = 'a'", ["penstock.toml has no export 'x'", "did you mean 'xx'?"]),
        (b"\xff", ["penstock.toml is not UTF-8"]),
    ],
)
def test_what_a_file_may_not_say_is_refused_before_anything_is_read(
    tmp_path: Path, penstock: Command, text: str | bytes, said: list[str]
) -> None:
    (tmp_path / "penstock.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    done = penstock("export", "x")
    assert done.code == 2
    for words in said:
        assert words in done.stderr


def test_an_export_to_standard_output_and_its_errors_talk_as_asked(tmp_path: Path, penstock: Command) -> None:
    (tmp_path / "penstock.toml").write_text(
        '[exports.out]\nstore = "app.db"\nto = "-"\ntable = "customers"\njson = true'
    )
    done = penstock("export", "out")
    assert done.code == 0, done
    assert json.loads(done.stdout) == {"id": 1, "name": "ada", "created_at": "2026-11-01T00:00:00Z"}
    assert json.loads(done.stderr.splitlines()[-1])["event_count"] == 1
    (tmp_path / "penstock.toml").write_text("[export]\nlimt = 3")
    refused = penstock("export", "app.db", "x.ndjson", "--json")
    assert (refused.code, refused.summary["exit_code"]) == (2, 2)
    assert "did you mean 'limit'" in refused.lines[0]["hint"]


def test_without_a_file_it_is_said_what_is_missing(penstock: Command) -> None:
    done = penstock("export", "daily")
    assert done.code == 2
    assert "DEST is missing, and there is no penstock.toml" in done.stderr
    assert "penstock export daily DEST" in done.stderr


def test_the_schema_has_every_option_and_no_more(penstock: Command) -> None:
    schema = json.loads(penstock("config", "schema").stdout)
    options = {name[2:] for option in export.params for name in option.opts if name.startswith("--")}
    keys = set(schema["properties"]["exports"]["additionalProperties"]["properties"])
    assert keys == options - {"config", "dry-run"} | {"store", "to"}
    assert set(schema["properties"]["export"]["properties"]) == keys - {"store", "to"}
    assert set(schema["properties"]) == {"export", "exports", "mappings"}
