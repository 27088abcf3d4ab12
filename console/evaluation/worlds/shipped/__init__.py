"""The worlds that are shipped, as JSON files; `as_made` says all that the others leave out."""
