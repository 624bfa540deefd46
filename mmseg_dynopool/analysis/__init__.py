"""Numbers about networks, runs and data sets."""
