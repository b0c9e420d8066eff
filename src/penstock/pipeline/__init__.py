"""Batch to batch and bytes to bytes: canonical lines, digests, compression, ordered parallel work. No files."""
