"""Keys and values of every layer: appended by a causal model, replaced in the middle by one that reads both sides."""

import torch
from torch import Tensor


class KV:
    """Keys and values of every layer, (B, H_kv, K, D/H) each, with the key mask of the cached positions."""

    def __init__(self) -> None:
        self.layers: list[tuple[Tensor, Tensor]] = []
        self.valid: Tensor | None = None  # (B, K) bool

    def __len__(self) -> int:
        return self.layers[0][0].shape[2] if self.layers else 0

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Add new positions to a layer and return all keys and values."""
        if layer == len(self.layers):
            self.layers.append((k, v))
        else:
            past_k, past_v = self.layers[layer]
            self.layers[layer] = (torch.cat([past_k, k], 2), torch.cat([past_v, v], 2))
        return self.layers[layer]

    def write(self, layer: int, k: Tensor, v: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Replace what a layer holds at `positions` (1 or B, q), in place, and return all keys and values."""
        for stored, new in zip(self.layers[layer], (k, v), strict=True):
            write_at(stored, new, positions)
        return self.layers[layer]

    def truncate(self, n: int) -> "KV":
        """Forget everything after the first `n` positions."""
        self.layers = [(k[:, :, :n], v[:, :, :n]) for k, v in self.layers]
        self.valid = None if self.valid is None else self.valid[:, :n]
        return self

    def select(self, rows: Tensor) -> "KV":
        """Keep some rows of the batch."""
        self.layers = [(k[rows], v[rows]) for k, v in self.layers]
        self.valid = None if self.valid is None else self.valid[rows]
        return self

    def copy(self) -> "KV":
        """Return a second cache of the same tensors; `truncate` and `select` of one leave the other alone."""
        twin = KV()
        twin.layers, twin.valid = list(self.layers), self.valid
        return twin

    @property
    def nbytes(self) -> int:
        return sum(x.numel() * x.element_size() for pair in self.layers for x in pair)


def write_at(stored: Tensor, new: Tensor, positions: Tensor) -> None:
    """Replace keys (or values) of some positions in place: stored[b, :, positions[b, i]] becomes new[b, :, i].

    Shapes: stored (B, H, K, D/H), new (B, H, q, D/H), positions (B, q), or (1, q) for all rows.
    """
    stored.scatter_(2, positions[:, None, :, None].expand_as(new), new)
