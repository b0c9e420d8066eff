"""Tables of SQLite files that are no event stores, read as events through a mapping and never written."""
