"""How jobs are kept in SQLite: the table, and what a row of it means."""
