"""Instruction tasks: CoIN's files as Lightning data modules."""
