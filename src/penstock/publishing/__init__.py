"""Publishing, written once, above any backend: which keys an export has, and how it comes to be there whole or not at
all."""
