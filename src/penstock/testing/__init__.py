"""The test kit that is shipped: faults to put under a destination, and ways to prove that they did no harm."""
