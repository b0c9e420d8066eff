"""Properties that hold for any events and any history."""
