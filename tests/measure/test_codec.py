"""A model as a codec: what is written is read back, here and in another process, and what is not is noticed."""

import math

import pytest
import torch

from dlmlab.measure import codec, coding
from dlmlab.measure.codec import Order
from tests.tiny import tiny_model

END, MASK, START = 0, 3, 1


def causal():
    return tiny_model(attention="causal", mask_token_id=MASK, eos_token_id=END)


def some_texts(V: int, count: int = 5) -> list[list[int]]:
    g = torch.Generator().manual_seed(0)
    return [[START, *(4 + torch.randint(V - 4, (2 + i,), generator=g)).tolist(), END] for i in range(count)]


@pytest.mark.parametrize("bits", (10, 16, 24))
def test_a_file_gives_back_its_texts(bits):
    model = causal()
    texts = some_texts(model.config.vocab_size)
    data = codec.pack(model, texts, bits=bits)
    assert codec.unpack(model, data, start=START) == texts


def test_a_changed_file_is_noticed():
    model = causal()
    texts = some_texts(model.config.vocab_size)
    data = bytearray(codec.pack(model, texts))
    data[codec.HEAD + 2] ^= 16
    with pytest.raises(ValueError, match="not the texts|no end mark"):
        codec.unpack(model, bytes(data), start=START)


def test_a_text_without_its_marks_is_refused():
    model = causal()
    for wrong in ([[START, 5, 6]], [[START, 5, END, 6, END]], [[START, 5, END], [5, END]]):
        with pytest.raises(ValueError, match="every text"):
            codec.pack(model, wrong)


def test_writer_and_meter_agree_up_to_the_end_of_the_stream():
    model = causal()
    texts = some_texts(model.config.vocab_size)
    codec.in_turn(model, len(texts), meter := codec.Meter(texts), start=START)
    codec.in_turn(model, len(texts), writer := codec.Writer(texts), start=START)
    ideal = sum(sum(row.values()) for row in meter.bits.values())
    assert 0 <= len(writer.finish()[0]) - ideal < 2.1
    codec.at_once(model, texts, whole := codec.Meter(texts))
    assert sum(sum(row.values()) for row in whole.bits.values()) == pytest.approx(ideal, abs=0.05)


def test_the_mask_is_never_in_a_table():
    found = codec.tables(torch.randn(4, 20), 12, MASK)
    assert bool((found.sum(-1) == 2**12).all()) and not bool(found[:, MASK].any()) and int((found > 0).sum()) == 4 * 19


ORDERS = (
    Order("left"),
    Order("right", 2),
    Order("confidence"),
    Order("confidence", sure=0.05),
    Order("entropy", digits=3),
    Order("chance", 3, seed=1),
)


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_any_order_gives_back_every_masked_place(order):
    model = tiny_model(mask_token_id=MASK)
    V, g = model.config.vocab_size, torch.Generator().manual_seed(2)
    x0 = 4 + torch.randint(V - 4, (3, 9), generator=g)
    coded, valid = torch.rand(x0.shape, generator=g) < 0.6, torch.ones_like(x0, dtype=torch.bool)
    x = torch.where(coded, MASK, x0)
    _, forwards = codec.any_order(model, x, valid, writer := codec.Writer(x0.tolist()), order)
    back, again = codec.any_order(model, x, valid, codec.Reader(writer.finish()), order)
    assert torch.equal(back, x0) and forwards == again
    assert all(1 <= f <= n for f, n in zip(forwards, coded.sum(1).tolist(), strict=True))


def test_an_order_chooses_what_its_name_says():
    p = torch.tensor([[[0.5, 0.5], [0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]], dtype=torch.float64)
    masked, keys = torch.tensor([[True, False, True, True]]), torch.tensor([[0.1, 0.9, 0.2, 0.7]])

    def chosen(order):
        return order.choose(p, masked, keys)[0].nonzero()[:, 0].tolist()

    assert chosen(Order("left")) == [0] and chosen(Order("right")) == [3] and chosen(Order("left", 2)) == [0, 2]
    assert chosen(Order("confidence")) == [2] and chosen(Order("entropy")) == [2] and chosen(Order("chance")) == [3]
    assert chosen(Order("confidence", sure=0.55)) == [2, 3] and chosen(Order("confidence", sure=0.99)) == [2]
    with pytest.raises(ValueError, match="none of"):
        chosen(Order("up"))


def test_all_orders_of_two_places_cost_the_bound_on_average():
    from dlmlab.objective.noise import bound_by_enumeration

    model = tiny_model(mask_token_id=MASK)
    x0, coded = torch.tensor([[5, 6, 7]]), torch.tensor([[True, False, True]])
    valid, x, total = torch.ones_like(coded), torch.where(coded, MASK, x0), 0.0
    for by in ("left", "right"):
        codec.any_order(model, x, valid, meter := codec.Meter(x0.tolist()), Order(by), bits=28)
        total += sum(meter.bits[0].values()) / 2
    nats = float(bound_by_enumeration(model, x0, coded, mask_id=MASK)[0])
    assert total == pytest.approx(nats / math.log(2), rel=1e-4)


def test_bytes_and_bits_of_a_stream():
    assert coding.to_bits(coding.to_bytes([1, 1, 0, 1]))[:4] == [1, 1, 0, 1]
