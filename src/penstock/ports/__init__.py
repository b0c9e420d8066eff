"""The ports: what an adapter promises, and the values that flow between adapters. The verbs know ports, no adapter."""
