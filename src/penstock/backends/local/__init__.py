"""Bytes as files in a directory of the local file system: made durable, named without overwriting, locked."""
