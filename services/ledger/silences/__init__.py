"""Silences, and the card warnings that customers got."""
