"""Numbers about trained networks, finished runs and data sets: what a training does not need."""
