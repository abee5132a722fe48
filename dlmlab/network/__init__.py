"""The network: its shape, its tensors, its files, and what a forward costs."""
