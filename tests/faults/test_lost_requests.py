"""The commit protocol over a server that speaks S3, while each request that changes something is lost or refused below
the client of the service, before or after it did its work."""

from __future__ import annotations

import itertools
import os

import pytest
from test_apart_sweep import OF_S3, Stage, connect, export, note
from test_commit_sweep import SCENARIOS

import object_services
from penstock.backends.retrying import Patience, RetryingBackend
from penstock.errors import ExportError, Unconfirmed
from proof_ledger import Ledger
from proof_size import share

_NAMES = itertools.count()
#: What becomes of one request: it is lost, or refused, before it reached the service, or after it did its work.
_SPOILT = {"lost": ("before", 0), "503": ("before", 503), "done, lost": ("after", 0), "done, 503": ("after", 503)}


@pytest.mark.parametrize("spoilt", _SPOILT)
@pytest.mark.parametrize("name", ["file", "file-overwrite", "directory", "directory-overwrite", "run"])
def test_any_request_that_goes_wrong_is_told_or_made_good(
    name: str, spoilt: str, s3: None, request: pytest.FixtureRequest, ledger: Ledger
) -> None:
    """The same below the client of the service: an answer to each of its requests that change something is lost."""
    scenario = SCENARIOS[name]
    whole = _requests(Stage(connect("s3", request), scenario), None, "")[0]
    step = share(OF_S3)
    faults = range(1, whole + 1)[next(_NAMES) % step :: step]
    for number in faults:
        stage = Stage(connect("s3", request), scenario)
        _, fired, raised = _requests(stage, number, spoilt)
        assert fired
        state = stage.judge()
        assert (raised is None) <= (state == "new"), "no error was raised"
        assert state != "new" or raised is None or isinstance(raised, Unconfirmed), raised
        stage.settle(state)
    note(ledger, f"apart, requests, {name}: {spoilt}", "operation faults", len(faults), "s3")


def _requests(stage: Stage, number: int | None, spoilt: str) -> tuple[int, bool, ExportError | None]:
    """How many requests of an export change something, whether one of them was spoilt, and what was raised."""
    count = itertools.count(1)
    seen: list[int] = []

    def spoil(method: str, path: str, headers: dict[str, str]) -> tuple[str, int] | None:
        if method not in ("PUT", "POST", "DELETE"):
            return None
        seen.append(next(count))
        return _SPOILT[spoilt] if seen[-1] == number else None

    raised = None
    with object_services.Proxy(os.environ["AWS_ENDPOINT_URL"], spoil) as proxy:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", proxy.url)
            client = RetryingBackend(stage.connect(), Patience(first=0.01, total=1))
        try:
            export(client, stage.scenario, stage.scenario.new, overwrite=stage.scenario.overwrite, at=2)
        except ExportError as error:
            raised = error
    return len(seen), number in seen, raised
