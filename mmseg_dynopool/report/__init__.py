"""Draws: pictures and self-contained HTML pages, of numbers that `analysis` and the logs give."""
