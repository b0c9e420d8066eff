"""Where rows are read from, one room a kind of source; the connection to SQLite that they share lies beside them."""
