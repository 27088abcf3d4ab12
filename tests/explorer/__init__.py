"""`make explore`: random worlds of months, on virtual time, whose end is compared with the bank's own book."""
