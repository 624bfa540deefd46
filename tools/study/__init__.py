"""Does it pay? The runs behind docs/evidence.md, how they are trained, and the page."""
