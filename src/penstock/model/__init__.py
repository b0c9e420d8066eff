"""Frozen values with their rules: event, filter, options, manifest. No I/O, no clock, no driver lives here."""
