"""What was published, read back with proof: verify, restore, diff, gaps. No adapter is imported here."""
