"""From a model to tokens: which tokens are committed when, with which cache, and what happened on the way."""
