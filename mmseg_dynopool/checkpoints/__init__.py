"""Checkpoints: read once, verified, loaded."""
