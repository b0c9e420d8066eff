"""The way out, written against the ports: run, extract, export, resume. No adapter is imported here."""
