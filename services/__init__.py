"""The four services. They meet only in PostgreSQL: none imports another."""
