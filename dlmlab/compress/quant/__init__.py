"""Fewer bits: grids, methods that choose the codes, what is folded before, packed storage, precision over a run."""
