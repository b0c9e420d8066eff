"""A pytest plug-in that plants the defect named by ``PENSTOCK_DEFECT``: here, and in processes that run commands."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from crash_defects import planted
from hypothesis import Phase, settings

import penstock_command
import watched_command

_PLANTING = """
import sys
sys.path[:0] = {places!r}
from crash_defects import planted
planting = planted({defect!r})
planting.__enter__()
"""


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    defect = os.environ["PENSTOCK_DEFECT"]
    here = Path(__file__).parent
    planting = planted(defect)
    planting.__enter__()
    config.add_cleanup(lambda: planting.__exit__(None, None, None))
    source = _PLANTING.format(places=[str(here), str(here.parent)], defect=defect)
    penstock_command._SERVER = source + penstock_command._SERVER
    watched_command._COMMAND = source + watched_command._COMMAND
    # That a check fails is enough: nobody needs the smallest example.
    settings.register_profile("planted", settings.get_profile("penstock"), phases=[Phase.generate], database=None)
    settings.load_profile("planted")
