"""The product's verbs, written against the ports: extract, export, verify. No adapter is imported here."""
