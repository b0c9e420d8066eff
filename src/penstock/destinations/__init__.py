"""Where exports go: one file a kind of place, all with one protocol. What cuts across them wraps them."""
