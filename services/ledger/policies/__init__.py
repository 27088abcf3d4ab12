"""The versions of policies: write, check, compare, put in force, roll back."""
