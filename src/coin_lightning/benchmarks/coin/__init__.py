"""CoIN's instruction files built from the ten data sets' own annotations."""
