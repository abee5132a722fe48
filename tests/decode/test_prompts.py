"""Prompts in every form give the tokens of plain lists, or are refused by their value, in both loops and `decode`."""

import random

import numpy as np
import pytest
import torch
from transformers import BatchEncoding

from dlmlab.decode import autoregressive, literal, run
from dlmlab.decode.prompts import read_prompts
from dlmlab.decode.sampling import sample
from dlmlab.task.tokenizer import build_tokenizer
from tests.mocks import RandomDenoiser
from tests.tiny import one_thread as one_thread
from tests.tiny import tiny_model

pytestmark = pytest.mark.usefixtures("one_thread")

MASK, EOS, V = 3, 0, 50
PROMPTS = [[5, 7, 9], [8], [4, 4, 6, 1]]
LOOPS = {
    "full": sample,
    "causal": autoregressive.sample,
    "full, decode": run.decode,
    "causal, decode": run.decode,
}
every_loop = pytest.mark.parametrize("loop", LOOPS)


@pytest.fixture(scope="module")
def models():
    ids = {"mask_token_id": MASK, "eos_token_id": EOS, "pad_token_id": EOS}
    return {attention: tiny_model(attention, **ids) for attention in ("full", "causal")}


def padded(side: str, rows=PROMPTS, pad: int = EOS) -> tuple[list, list]:
    """Pad rows as a tokenizer does: ids and attention mask."""
    P = max(map(len, rows))
    fill = [[pad] * (P - len(row)) for row in rows]
    ids = [f + row if side == "left" else row + f for f, row in zip(fill, rows, strict=True)]
    mask = [
        [0] * len(f) + [1] * len(row) if side == "left" else [1] * len(row) + [0] * len(f)
        for f, row in zip(fill, rows, strict=True)
    ]
    return ids, mask


@every_loop
@pytest.mark.parametrize("side", ["left", "right"])
def test_every_form_of_a_batch_gives_the_tokens_of_plain_lists(models, loop, side):
    model, decode = models[loop.partition(",")[0]], LOOPS[loop]
    expected = decode(model, PROMPTS, gen_length=4).ids
    ids, mask = padded(side)
    tensor, marks = torch.tensor(ids), torch.tensor(mask)
    for prompts, attention_mask in (
        (ids, mask),
        (tensor, marks),
        (tensor, marks.bool()),
        (tensor.int(), mask),
        (tensor.numpy(), marks.numpy()),
        ({"input_ids": ids, "attention_mask": mask}, None),
        (BatchEncoding({"input_ids": tensor, "attention_mask": marks}), None),
        ({"input_ids": tensor}, marks),
        ([torch.tensor(p) for p in PROMPTS], None),
        (tuple(map(tuple, PROMPTS)), None),
        ([np.array(p) for p in PROMPTS], None),
        ([[*map(np.int64, p)] for p in PROMPTS], None),
    ):
        out = decode(model, prompts, attention_mask=attention_mask, gen_length=4)
        assert torch.equal(out.ids, expected)


@pytest.mark.parametrize("side", ["left", "right"])
def test_what_a_tokenizer_returns_is_a_batch_of_prompts(side):
    tokenizer = build_tokenizer()
    texts = ["Ben has 8 marbles .", "Cara has 3 more marbles than Ben ."]
    rows = [tokenizer(text)["input_ids"] for text in texts]
    tokenizer.padding_side = side
    for options in (
        {},
        {"return_tensors": "pt"},
        {"return_tensors": "np"},
        {"padding": "max_length", "max_length": 40},
    ):
        assert read_prompts(tokenizer(texts, **{"padding": True} | options)) == rows


def test_a_random_padding_is_undone():
    rng = random.Random(0)
    for _ in range(50):
        rows = [[rng.randrange(V) for _ in range(rng.randint(1, 6))] for _ in range(rng.randint(1, 4))]
        ids, mask = padded(rng.choice(["left", "right"]), rows, pad=rng.choice([EOS, -100]))
        assert read_prompts(ids, mask, vocab_size=V, padding=[EOS]) == rows


LEFT, MARKS = padded("left")
WRONG = {
    "a flat list": ([5, 7, 9], None, r"\[5, 7, 9\]"),
    "a flat tensor": (torch.tensor([5, 7]), None, r"\(2,\)"),
    "a number": (torch.tensor(5), None, r"\(\)"),
    "three dimensions": (torch.ones(1, 2, 3, dtype=torch.long), None, r"\(1, 2, 3\)"),
    "a text": ("Ben has 8", None, "'Ben has 8'"),
    "a list of texts": (["Ben has 8"], None, r"prompts\[0\]='Ben has 8'"),
    "tokens as texts": ([["Ben", "has"]], None, r"prompts\[0\]\[0\]='Ben'"),
    "nothing": ([], None, r"\[\]"),
    "no rows": (torch.empty(0, 3, dtype=torch.long), None, "at least one prompt"),
    "None": (None, None, "None"),
    "no number": (7, None, "7"),
    "None inside": ([[1, None]], None, r"prompts\[0\]\[1\]=None"),
    "a negative id": ([[5, -1]], None, "-1"),
    "an id past the vocabulary": ([[5], [V, 7]], None, "50.*0..49"),
    "real ids": ([[5, 1.5]], None, r"prompts\[0\]\[1\]=1.5"),
    "a tensor of real ids": (torch.tensor([[5.0, 7.0]]), None, "5.0"),
    "bools": ([[True, False]], None, r"prompts\[0\]\[0\]=True"),
    "a tensor of bools": (torch.tensor([[True]]), None, "True"),
    "an array of bools": (np.array([[True]]), None, "True"),
    "a padded tensor": (torch.tensor(LEFT), None, "padding"),
    "a tensor padded on the right": (torch.tensor(padded("right")[0]), None, "padding"),
    "padded lists": (LEFT, None, "padding"),
    "a padded batch without its mask": ({"input_ids": torch.tensor(LEFT)}, None, "padding"),
    "a dictionary of something else": ({"ids": LEFT}, None, "input_ids"),
    "two masks": ({"input_ids": LEFT, "attention_mask": MARKS}, MARKS, "twice"),
    "a mask with a hole": ([[5, 7, 9]], [[1, 0, 1]], "hole at 1"),
    "a mask of nothing": ([[5], [7]], [[1], [0]], r"attention_mask\[1\]"),
    "a mask of another shape": (LEFT, [[1]], r"\[1\]"),
    "a mask of other numbers": ([[5]], [[2]], "holds 2"),
    "a mask of shares": ([[5]], [[0.5]], "0.5"),
    "a flat mask": ([[5]], [1], r"\[1\]"),
}


@pytest.mark.parametrize("loop", ["full", "causal"])
@pytest.mark.parametrize("prompts, mask, message", WRONG.values(), ids=WRONG)
def test_what_is_no_batch_of_prompts_is_refused_with_the_value(models, loop, prompts, mask, message):
    with pytest.raises(ValueError, match=message):
        LOOPS[loop](models[loop], prompts, attention_mask=mask, gen_length=2)


def test_end_marks_in_a_rectangle_are_taken_as_meant_with_a_mask_of_ones(models):
    meant = torch.tensor([[EOS, 5], [7, 8]])
    out = sample(models["full"], meant, attention_mask=torch.ones_like(meant), gen_length=2)
    assert out.trace.start[:, :2].tolist() == meant.tolist()


def test_an_empty_prompt_is_a_text_from_nothing_for_diffusion_and_no_start_for_the_twin(models):
    assert len(sample(models["full"], [[]], gen_length=2).ids[0]) == 2
    with pytest.raises(ValueError, match=r"prompts\[1\]=\[\]"):
        autoregressive.sample(models["causal"], [[5], []], gen_length=2)


def test_a_function_has_a_vocabulary_nobody_knows_but_no_negative_ids():
    assert sample(RandomDenoiser(V), [[70, 2]], gen_length=1, mask_id=MASK).ids[0, 0] == 70
    with pytest.raises(ValueError, match="-1"):
        sample(RandomDenoiser(V), [[-1, 2]], gen_length=1, mask_id=MASK)


@pytest.mark.parametrize("loop", ["full", "causal"])
def test_prompt_and_answer_must_fit_before_anything_is_computed(models, loop):
    most = models[loop].config.max_sequence_length
    fits = most - 4 + (loop == "causal")  # the last token of the twin is written and not read
    assert LOOPS[loop](models[loop], [[5] * fits, [7]], gen_length=4).ids.shape[1] == fits + 4
    with pytest.raises(ValueError, match=f"length {most + 1} .*{fits + 1} tokens"):
        LOOPS[loop](models[loop], [[5] * (fits + 1), [7]], gen_length=4)


def test_the_published_sampler_reads_prompts_the_same_way(models):
    assert torch.equal(
        literal.generate(models["full"], PROMPTS, gen_length=4), sample(models["full"], PROMPTS, gen_length=4).ids
    )
    for prompts, message in (([[5, 1.5]], "1.5"), ([[V]], "50"), ([5], r"\[5\]")):
        with pytest.raises(ValueError, match=message):
            literal.generate(models["full"], prompts, gen_length=4)
