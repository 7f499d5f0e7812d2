"""Results of other programs as run folders of this project."""
