"""Foreign files to events: recognising, splitting, mapping, checking, and setting aside what is not an event."""
