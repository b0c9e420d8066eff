"""Tables of databases as destinations, one file a kind of database; the SQL of them all stands beside them."""
