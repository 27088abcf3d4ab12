"""The numbers: money by currency, in all and by day, and the health of the queue."""
