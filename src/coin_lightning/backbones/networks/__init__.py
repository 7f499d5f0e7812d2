"""Models of CoIN's paper that transformers has no class for, put together from parts that it has."""
