"""Sources that give their bytes once, and results that are gone as soon as they are written."""
