"""Blocks of 32 weights as llama.cpp stores them: Q8_0, Q4_0 and Q4_1, written in a few lines and read back.

    Q8_0   d = max|w| / 127            q = round(w / d)                         w' = d q             34 bytes a block
    Q4_0   d = signed extreme / -8     q = clip(floor(w / d + 8.5), 0..15)      w' = d (q - 8)       18 bytes
    Q4_1   d = (max - min) / 15        q = clip(floor((w - min) / d + 0.5))     w' = d q + min       20 bytes

Decisions
* Bytes are those of the format: the scale (and the minimum) in float16 first, then the codes; in four bits the first
  half of a block lies in the low nibbles, the second half in the high ones.
* Codes are made with the scale in float32, and read with the one that was stored in float16. That is what llama.cpp
  does; our own grids (`dlmlab.grids`) round the scale first.
* Q4_0 has sixteen levels, -8 to 7, and lays them so that the entry of largest size is met exactly: d is negative where
  that entry is positive. A symmetric grid of ours has fifteen.
* A row must be made of whole blocks: `ValueError` otherwise, as nothing is padded.

Source: `ggml-quants.c` of llama.cpp (MIT) and the package `gguf`, whose bytes these are (tests).
"""

import torch
from torch import Tensor

BLOCK = 32
BYTES = {"F32": (1, 4), "F16": (1, 2), "BF16": (1, 2), "Q8_0": (32, 34), "Q4_0": (32, 18), "Q4_1": (32, 20)}
BYTES |= {"Q5_0": (32, 22), "Q5_1": (32, 24), "Q2_K": (256, 84), "Q3_K": (256, 110), "Q4_K": (256, 144)}
BYTES |= {"Q5_K": (256, 176), "Q6_K": (256, 210)}  # of a kind: weights in a block, bytes of a block


def bits(kind: str) -> float:
    """Bits a weight of a kind, scales counted. Raises `ValueError` for an unknown kind.

    >>> [bits(kind) for kind in ("Q8_0", "Q4_0", "Q4_K", "Q2_K")]
    [8.5, 4.5, 4.5, 2.625]
    """
    if kind not in BYTES:
        raise ValueError(f"kind={kind!r} is unknown; known: {', '.join(BYTES)}")
    weights, size = BYTES[kind]
    return 8 * size / weights


def fits(kind: str, columns: int) -> bool:
    """Say whether rows of so many weights are made of whole blocks of a kind.

    >>> fits("Q4_0", 192), fits("Q4_K", 192), fits("Q4_K", 512)
    (True, False, True)
    """
    bits(kind)
    return columns % BYTES[kind][0] == 0


def blocks(W: Tensor) -> Tensor:
    """View a tensor (..., C) as blocks (n, 32) in float32. Raises `ValueError` when 32 does not divide C."""
    if W.shape[-1] % BLOCK:
        raise ValueError(f"{W.shape[-1]} columns are not made of blocks of {BLOCK}")
    return W.detach().float().reshape(-1, BLOCK)


def _bytes(x: Tensor) -> Tensor:
    return x.contiguous().view(torch.uint8).reshape(len(x), -1)


def _inverse(d: Tensor) -> Tensor:
    return torch.where(d == 0, 0.0, 1 / d)


def _nibbles(codes: Tensor) -> Tensor:
    """Pack codes 0..15 of blocks (n, 32): entry i low, entry i + 16 high."""
    codes = codes.to(torch.uint8)
    return codes[:, :16] | codes[:, 16:] << 4


def q4_0(w: Tensor) -> tuple[Tensor, Tensor]:
    """Put blocks w (n, 32) on the grid of Q4_0: scales d (n, 1) float16, codes (n, 32) int32 from 0 to 15.

    d is the entry of largest size, with its sign, over -8 (of equal sizes the first). A code is floor(w / d + 8.5),
    made with d in float32, and at most 15. A block of zeros has d = 0 and codes 8. What comes back is d (code - 8).
    Source: notebook 18, exercise 18.3.

    >>> d, codes = q4_0(torch.tensor([[4.0, -2.0, 0.5] + 29 * [0.0]]))
    >>> d.item(), codes[0, :4].tolist()
    (-0.5, [0, 12, 7, 8])
    """
    d = w.gather(1, w.abs().argmax(1, keepdim=True)) / -8
    codes = (w * _inverse(d) + 8.5).floor().clamp(0, 15)
    return d.half(), codes.int()


def q8_0(w: Tensor) -> tuple[Tensor, Tensor]:
    """Put blocks w (n, 32) on the grid of Q8_0: scales (n, 1) float16, codes (n, 32) int8, half away from zero."""
    d = w.abs().amax(1, keepdim=True) / 127
    y = w * _inverse(d)
    return d.half(), (y.sign() * (y.abs() + 0.5).floor()).to(torch.int8)


def q4_1(w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Put blocks w (n, 32) on the grid of Q4_1: scales and minima (n, 1) float16, codes (n, 32) int32 from 0 to 15."""
    low, high = w.amin(1, keepdim=True), w.amax(1, keepdim=True)
    d = (high - low) / 15
    codes = ((w - low) * _inverse(d) + 0.5).floor().clamp(0, 15)
    return d.half(), low.half(), codes.int()


def encode(W: Tensor, kind: str) -> Tensor:
    """Write W (..., C) as bytes of a kind, (..., bytes of a row), uint8: F32, F16, BF16, Q8_0, Q4_0 or Q4_1.

    Raises `ValueError` for another kind, and for rows that are not made of whole blocks.
    """
    if kind in ("F32", "F16", "BF16"):
        kinds = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
        return W.detach().to(kinds[kind]).contiguous().view(torch.uint8).reshape(*W.shape[:-1], -1)
    w = blocks(W)
    if kind == "Q8_0":
        parts = [_bytes(part) for part in q8_0(w)]
    elif kind == "Q4_0":
        d, codes = q4_0(w)
        parts = [_bytes(d), _nibbles(codes)]
    elif kind == "Q4_1":
        d, low, codes = q4_1(w)
        parts = [_bytes(d), _bytes(low), _nibbles(codes)]
    else:
        raise ValueError(f"kind={kind!r} is not written here; written: F32, F16, BF16, Q8_0, Q4_0, Q4_1")
    return torch.cat(parts, 1).reshape(*W.shape[:-1], -1)


def decode(data: Tensor, kind: str) -> Tensor:
    """Read bytes (..., bytes of a row), uint8, of a kind that `encode` writes: the weights (..., C), float32."""
    if kind in ("F32", "F16", "BF16"):
        kinds = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
        return data.contiguous().view(kinds[kind]).float()
    weights, size = BYTES[kind]
    if kind not in ("Q8_0", "Q4_0", "Q4_1") or data.shape[-1] % size:
        raise ValueError(f"kind={kind!r}: rows of {data.shape[-1]} bytes are not read here")
    rows = data.reshape(-1, size)
    d = rows[:, :2].contiguous().view(torch.float16).float()
    if kind == "Q8_0":
        w = d * rows[:, 2:].contiguous().view(torch.int8)
    else:
        rest = rows[:, size - 16 :]
        codes = torch.cat([rest & 15, rest >> 4], 1).float()
        w = d * (codes - 8) if kind == "Q4_0" else d * codes + rows[:, 2:4].contiguous().view(torch.float16).float()
    return w.reshape(*data.shape[:-1], -1)
