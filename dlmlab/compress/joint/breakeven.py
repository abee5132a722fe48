"""How much must be pruned before pruned-and-quantized is smaller than quantized alone.

A pruned matrix stores what was kept and *where* it stands. With values of b bits, an index of i bits for each kept
value and f bits for every weight, kept or not (a bit mask: 1; the scales of groups: 16/g), at sparsity s:

    bits a weight = (1 - s) (b + i) + f

Half of the weights at 8 bits with a bit mask are (1 - 0.5) 8 + 1 = 5 bits: more than 4 bits in groups of 128, 4.16.

Source: own derivation; notebook 06, exercise 6.3.
"""


def sparse_bits(bits: float, sparsity: float, *, fixed: float = 1.0, index: float = 0.0) -> float:
    """Bits a weight of a pruned matrix in storage: kept values, their places, and what every weight costs.

    >>> sparse_bits(8, 0.5)
    5.0
    """
    return (1 - sparsity) * (bits + index) + fixed


def break_even_sparsity(bits: float, other: float, *, fixed: float = 1.0, index: float = 0.0) -> float:
    """Find the least sparsity at which a pruned matrix takes no more than `other` bits a weight.

    `bits` of a kept value; `fixed` bits of every weight (1: a bit mask); `index` bits of each kept value (16: CSR, then
    fixed=0). 0 when the pruned format is no larger even with nothing removed. Raises `ValueError` when no sparsity
    suffices, because `fixed` alone is more than `other`.

    >>> break_even_sparsity(8, 4)
    0.625
    """
    if fixed > other:
        raise ValueError(f"{fixed:g} bits stand for every weight, kept or not: never {other:g} or fewer")
    return max(0.0, 1 - (other - fixed) / (bits + index))
