"""Event stores, one driver each. Everything that touches an event store's file lives here and nowhere else."""
