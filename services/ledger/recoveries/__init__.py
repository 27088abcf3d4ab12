"""Recoveries, their whole stories, and what happened to all of them lately."""
