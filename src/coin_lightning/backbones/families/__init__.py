"""One file per model family; see `family.Family`."""
