"""Tables, views and queries of SQLite files that are no event stores, read as they are or as events, never written."""
