"""Numbers computed from a score matrix: pure functions, no model and no files."""
