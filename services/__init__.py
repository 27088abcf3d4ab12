"""The four services, the command `citadel`, and what starts them on one machine."""
