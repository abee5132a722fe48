"""Opponents of lab 15: counts, primed compressors, and the bytes of what is compared."""

import math

import pytest

from dlmlab.network.checkpoint import load
from dlmlab.objective.batches import Batches, TrainConfig
from dlmlab.paths import DATA
from dlmlab.study.labs import lab15_codecs as lab
from dlmlab.task import layout, tasks
from dlmlab.task.splits import split_of


def test_counts_begin_by_expecting_everything_alike_and_learn():
    counts = lab.Counts(2, 8)
    first, second = counts.bits([0, 1, 2, 1]), counts.bits([0, 1, 2, 1])
    assert first > second > 0 and lab.Counts(2, 8).bits([0, 5]) == 3.0


def test_counts_are_a_code():
    """Over all tokens that may follow, 2^-bits sums to 1."""
    import copy

    counts = lab.Counts(2, 4)
    for text in ([0, 1, 2, 3, 1, 2], [0, 1, 2, 2]):
        counts.bits(text)
    prices = [copy.deepcopy(counts).bits([1, 2, v]) - copy.deepcopy(counts).bits([1, 2]) for v in range(4)]
    assert sum(2**-price for price in prices) == pytest.approx(1)


def test_a_primed_codec_pays_only_for_what_is_new():
    data = lab.raw(lab.others()[:20])
    assert lab.PLAIN["bz2, primed"](data) < len(data) / 10 < lab.PLAIN["zlib"](data)


def test_texts_of_the_training_are_those_of_its_recipe():
    """As many as the card of the twin says, in the order of its steps, and none of a held-out split."""
    batches = Batches(TrainConfig.read(DATA / "llama-mini" / "training.toml"))
    few = lab.training(600)
    assert few[:128] == [p for problems in batches.problems(0)[:2] for p in problems] and few[:600] == lab.training(600)
    assert all(split_of(p.skeleton) == "train" for p in few)
    assert f"{lab.READ[-1]:,}" in (DATA / "llama-mini" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("order", (0, 2, 6))
def test_reading_only_what_is_asked_for_costs_the_same(order):
    """Counts that read all, and counts that keep the contexts of the split; and again, when they have forgotten it."""
    texts, before = lab.texts_of("test")[:5], lab.training(80)
    size = len(load("llama-mini").tokenizer) - 1
    all_of_it, few = lab.Counts(order, size), lab.Counts(order, size)
    ids = layout.encode_texts(load("llama-mini").tokenizer, before)
    for text in ids:
        all_of_it.bits(text)
    few.read(ids[:30], texts)
    few.read(ids[30:], texts)
    cost = sum(all_of_it.bits(text) for text in texts)
    for _ in range(2):
        assert sum(few.bits(text) for text in texts) == pytest.approx(cost, abs=1e-9)
        few.forget()
    assert cost > 0 and not few.new


def test_who_has_read_more_takes_fewer_bytes():
    rows = lab.TABLE.rows()
    for order in lab.ORDERS:
        sizes = [size for _, size in lab.curve(rows, f"counts of order {order}")]
        assert sizes == sorted(sizes, reverse=True) and len(sizes) == len(lab.READ)
    assert (
        lab.best_reader(rows) in lab.AFTER.values() and lab.less(rows, lab.PAID, lab.best_reader(rows)).word == "lower"
    )


def test_raw_text_and_size_of_the_twin():
    problems = tasks.load_split("test")
    assert len(lab.raw(problems)) == 85_642 and sum(len(t) - 1 for t in lab.texts_of("test")) == 24_982
    assert lab.model_bytes(32) == 4 * sum(p.numel() for p in load("llama-mini").model.parameters())


def test_a_question_costs_and_its_answer_does_not():
    texts = lab.texts_of("test")[:3]
    costs = lab.twin_bits(lab.BEST, texts)
    mark = load("llama-mini").tokenizer.convert_tokens_to_ids("<|answer|>")
    for text, cost in zip(texts, costs, strict=True):
        at = text.index(mark)
        assert sum(cost[at:]) < 1 < sum(cost[:at]) and len(cost) == len(text) - 1
    assert sum(map(sum, lab.twin_bits(lab.CONTROLS[0], texts))) > 2 * math.log2(332) * 100
