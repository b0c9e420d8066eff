"""A proxy between a client and a server that cuts the connection on order: before a request is passed on, or after it,
before the answer is; or that falls silent."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Self


class CuttingProxy:
    """Passes on what comes, a piece at a time. Armed, it counts those of one direction, and cuts at the ``nth``."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._guard = threading.Lock()
        self._left: int | None = None
        self._answers = False
        self._open: list[socket.socket] = []
        self.silent = False
        self.fired = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def arm(self, nth: int, *, answers: bool) -> None:
        """Cut at the ``nth`` piece from now on: of the answers, or of the requests."""
        with self._guard:
            self._left, self._answers = nth, answers

    def disarm(self) -> None:
        with self._guard:
            self._left = None

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open += [client, server]
            for source, target, answers in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pass_on, args=(source, target, answers), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if self.silent:
                    continue
                if self._cuts(answers):
                    break
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _cuts(self, answers: bool) -> bool:
        with self._guard:
            if self._left is None or answers is not self._answers:
                return False
            self._left -= 1
            if self._left > 0:
                return False
            self._left = None
            self.fired += 1
            return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()
        for one in self._open:
            one.close()
