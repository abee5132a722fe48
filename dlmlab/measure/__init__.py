"""Judging models: accuracy with intervals, and tables of results on disk."""
