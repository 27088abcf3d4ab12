"""What was learned of merchants' customers, and who is in the pool."""
