"""Runners: one file a kind of worker, each against the port in ``ports/runner.py``."""
