"""Smaller models: what to measure on which texts, what to remove, how to refit the rest."""
