"""Builders and readers of benchmark suites on disk."""
