"""Connections to a file that is not ours, all of which see one commit, and the proof that others may see it too."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from penstock.model.storage_config import StorageConfig
from penstock.pipeline.closing import Closing
from penstock.ports.source import Peers, Ticket
from penstock.sources.connection import Connection, check_alike
from penstock.sources.log import sync_log
from penstock.sources.pool import Pool
from penstock.sources.watch import Watch, check_one_file

#: The same for all connections that read one commit of one file.
_LIKENESS = """SELECT (SELECT page_count FROM pragma_page_count) AS pages,
    (SELECT freelist_count FROM pragma_freelist_count) AS free,
    (SELECT schema_version FROM pragma_schema_version) AS version"""
_ATTEMPTS = 20


class Pinned(Closing):
    """One commit of a file.

    Each of ``readers`` connections holds one read transaction. A further connection asks for ``PRAGMA data_version``
    before the first of them begins and after the last has: if it did not change, nobody committed in between, so all
    see the same rows, those of ``peers`` too. If that cannot be shown in a bounded number of tries, one connection
    serves all readers in turn, and no other process can read the same: ``agreed`` is not set.

    Where readers keep writers out, transactions end once all agree, and the pool lends in turns: what was read is of
    one commit as long as ``pool.moved`` is not set.
    """

    def __init__(self, path: Path, config: StorageConfig, *, readers: int, peers: Peers | None = None) -> None:
        self.path = path
        self.connections: list[Connection] = []
        self.pool = Pool()
        self._watch = Watch()
        try:
            self.agreed = self._begin(config, readers, peers)
        except BaseException:
            self.close()
            raise
        turns = self.connections[0].keeps_writers_out and not config.one_moment
        self.pool.fill(self.connections, turns=turns)

    def _begin(self, config: StorageConfig, readers: int, peers: Peers | None) -> bool:
        """Open the connections and begin their transactions at one and the same commit; whether all do. If not, there
        is one connection."""
        for _ in range(readers):
            self.connections.append(
                Connection(self.path, mode="ro", busy_timeout=config.busy_timeout, until=config.until)
            )
        if readers == 1 and peers is None:
            _begin(self.connections)
            return True
        self._watch.open(self.path, config)
        for attempt in range(_ATTEMPTS):
            self._watch.begin()
            tickets = list(peers()) if peers is not None else []
            _begin(self.connections)
            if self._watch.unmoved():
                mine = Ticket(upto=0, changes=None, file=self.connections[0].file)
                check_one_file(self.path, [*tickets, mine])
                check_alike(self.connections, _LIKENESS)
                return True
            for connection in self.connections:
                connection.execute("ROLLBACK")
            time.sleep(0.001 * attempt)
        while len(self.connections) > 1:
            self.connections.pop().close()
        self._watch.close()
        _begin(self.connections)
        return False

    def ticket(self, upto: int) -> Ticket | None:
        """Shows that another process sees the same; ``None`` where that cannot be proven."""
        return Ticket(upto=upto, changes=None, file=self.connections[0].file) if self.agreed else None

    def unmoved(self) -> bool:
        """Whether nothing was committed since; ``False`` where that cannot be told."""
        return self._watch.unmoved()

    def make_durable(self) -> bool:
        """Let what is seen outlive a power failure. ``False`` where that cannot be done."""
        return sync_log(self.path)

    def close(self) -> None:
        """Close every connection, once the threads that read from them gave them back, which end at once."""
        for connection in self.connections:
            connection.interrupt()
        self.pool.drain()
        while self.connections:
            self.connections.pop().close()
        self._watch.close()


def _begin(connections: Sequence[Connection]) -> None:
    """Begin a transaction in each and let it see the database: SQLite takes its snapshot at the first read."""
    for connection in connections:
        connection.execute("BEGIN")
        connection.query("SELECT count(*) AS n FROM main.sqlite_schema")
