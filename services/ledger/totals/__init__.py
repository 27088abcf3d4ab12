"""The kept totals held against the book, and corrected from it; an operator's command, not a part of the API."""
