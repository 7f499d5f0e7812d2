"""Answers of a model, the rules that score them, and what is evaluated after each experience."""
