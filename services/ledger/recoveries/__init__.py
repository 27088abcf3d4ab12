"""Recoveries, one with its whole timeline, and the latest entries of all timelines."""
