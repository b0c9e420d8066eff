"""The event store in one SQLite file. Everything that touches a store's file lies here and in the connection."""
