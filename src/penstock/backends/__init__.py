"""Where bytes lie under keys: one file or folder a kind of place. What wraps any of them stands beside them."""
