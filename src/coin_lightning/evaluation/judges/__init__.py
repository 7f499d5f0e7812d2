"""Judges: models that grade answers from 0 to 10 (CoIN's "reasoning capability"), and the keeping of their replies."""
