"""Data sets of our own, and checks of any."""
