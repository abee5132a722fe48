"""The arithmetic coder: golden bit strings, random streams, what it refuses."""

import math
import random

import pytest
import torch

from dlmlab.measure import coding

GOLDEN = {  # table (2 1 1), by hand from Witten, Neal and Cleary's scheme with a range of 32 bits
    (0,): "001",
    (0, 0, 0, 0): "000001",
    (1,): "1001",
    (2, 2): "111101",
    (0, 1, 2, 0): "01011001",
    (2, 1, 0, 0, 1, 2): "111000101101",
}
P = torch.tensor([0.5, 0.3, 0.15, 0.05, 0.0], dtype=torch.float64)
SEEN = P > 0


def written(symbols, tables) -> list[int]:
    encoder = coding.Encoder()
    for symbol, table in zip(symbols, tables, strict=True):
        encoder.push(table, symbol)
    return encoder.finish()


@pytest.mark.parametrize("symbols", GOLDEN, ids=str)
def test_a_stream_is_these_bits(symbols):
    assert "".join(map(str, written(symbols, [[2, 1, 1]] * len(symbols)))) == GOLDEN[symbols]


def test_tables_are_these_numbers():
    assert coding.frequencies(P, 4, SEEN).tolist() == [9, 4, 2, 1, 0]
    assert coding.frequencies(P, 8, SEEN).tolist() == [129, 76, 38, 13, 0]
    assert coding.frequencies(P, 16, SEEN).tolist() == [32769, 19660, 9830, 3277, 0]


def test_a_finer_table_may_write_other_bits_of_the_same_number():
    text, found = [0, 1, 0, 3, 2, 0, 1, 0], {}
    for bits in (4, 16):
        table = coding.frequencies(P, bits, SEEN).tolist()
        found[bits] = "".join(map(str, written(text, [table] * len(text))))
    assert found == {16: "0101001100001101", 4: "0110010100010001"}


@pytest.mark.parametrize("bits", (9, 12, 16, 24, 30))
def test_tables_sum_exactly_and_leave_no_allowed_symbol_out(bits):
    generator = torch.Generator().manual_seed(bits)
    logits = 20 * torch.randn(50, 333, generator=generator)
    allowed = torch.rand(333, generator=generator) < 0.9
    p = logits.masked_fill(~allowed, -math.inf).double().softmax(-1)
    f = coding.frequencies(p, bits, allowed)
    assert f.dtype == torch.int64 and bool((f.sum(-1) == 2**bits).all())
    assert bool((f[:, allowed] >= 1).all()) and not bool(f[:, ~allowed].any())


def test_of_two_largest_the_lower_id_takes_what_is_left():
    assert coding.frequencies(torch.tensor([0.2, 0.4, 0.4]), 3, torch.ones(3, dtype=torch.bool)).tolist() == [2, 3, 3]
    assert coding.frequencies(torch.tensor([0.2, 0.4, 0.4]), 4, torch.ones(3, dtype=torch.bool)).tolist() == [3, 7, 6]


def test_what_is_no_table_is_refused():
    yes = torch.ones(5, dtype=torch.bool)
    for p, bits, allowed in (
        (P, 2, yes),
        (P, 31, yes),
        (P, 8, ~yes),
        (P - 0.1, 8, yes),
        (P * math.nan, 8, yes),
        (P * 3, 8, yes),
    ):
        with pytest.raises(ValueError, match="symbols|probability"):
            coding.frequencies(p, bits, allowed)


def random_streams(count: int, most: int):
    rng = random.Random(0)
    for _ in range(count):
        n, V = rng.randint(0, 60), rng.randint(1, 12)
        tables = []
        for _ in range(n):
            table = [rng.choice((0, 0, 1, 2, rng.randint(1, most))) for _ in range(V)]
            table[rng.randrange(V)] += 1
            tables.append(table)
        yield tables, [rng.choice([v for v in range(V) if table[v]]) for table in tables]


@pytest.mark.parametrize("most", (50, 1_000_000, 50_000_000))
def test_random_streams_are_read_back_and_cost_two_bits_at_most(most):
    worst = 0.0
    for tables, symbols in random_streams(400, most):
        bits = written(symbols, tables)
        decoder = coding.Decoder(coding.to_bits(coding.to_bytes(bits)))
        assert [decoder.pop(table) for table in tables] == symbols
        ideal = sum(math.log2(sum(table) / table[v]) for table, v in zip(tables, symbols, strict=True))
        worst = max(worst, len(bits) - ideal)
    assert 0 < worst < (2.01 if most < 2**24 / 12 else 2.5)  # large tables leave the range no room to round


def test_a_symbol_of_probability_zero_is_refused():
    with pytest.raises(ValueError, match="cannot be written"):
        coding.Encoder().push([3, 0, 1], 1)
    with pytest.raises(ValueError, match="cannot be written"):
        coding.Encoder().push([2**30, 1], 0)


def test_a_sum_that_is_off_by_one_is_read_wrongly_and_no_error_says_so():
    text = [0, 1, 2, 1, 0, 2] * 20
    decoder = coding.Decoder(written(text, [[7, 5, 4]] * len(text)))
    assert [decoder.pop([7, 5, 5]) for _ in text] != text


def test_find_is_the_inverse_of_narrow_for_every_code():
    for low, high, table in ((0, 15, [2, 1, 1]), (100, 177, [0, 5, 0, 3, 1, 0]), (7, 70, [1] * 64)):
        for v, size in enumerate(table):
            first, last = coding.narrow(low, high, sum(table[:v]), size, sum(table))
            assert [coding.find(code, low, high, table) for code in range(first, last + 1)] == [v] * (last - first + 1)


def test_the_cost_is_that_of_the_whole_numbers():
    f = torch.tensor([[4, 2, 2], [1, 7, 0]])
    assert coding.cost(f, torch.tensor([1, 0])).tolist() == [2.0, 3.0]


def test_an_empty_text_takes_bits_of_its_own():
    assert coding.Encoder().finish() == [0, 1]
