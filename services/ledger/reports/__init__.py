"""The report on recoveries, with the lift over the holdout, and the exports."""
