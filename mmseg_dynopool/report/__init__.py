"""Pictures and the HTML page, from analysis' numbers."""
