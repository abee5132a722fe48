"""Joint optimization: which compression each part of a model gets, under a budget of bytes, time and forwards."""
