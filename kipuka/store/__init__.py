"""The store: rows that survive a kill -9, in SQLite or PostgreSQL."""
