"""The tokenizer: one token a word and a number, the same from disk, an honest error for what it cannot read."""

import pytest
from transformers import AutoTokenizer

from dlmlab.task.layout import encode_prompt
from dlmlab.task.tasks import load_split, make_problem
from dlmlab.task.tokenizer import ANSWER, BOS, EOS, MASK, UNKNOWN, build_tokenizer, save_tokenizer

QUESTION = "ann buys 12 apples . then ann takes 5 more . how many apples does ann have now ?"


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


@pytest.fixture(scope="module")
def from_disk(tmp_path_factory, tokenizer):
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder, tokenizer, max_length=96)
    return AutoTokenizer.from_pretrained(folder)


def encode(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def test_at_most_1024_entries_with_distinct_ids(tokenizer):
    vocabulary = tokenizer.get_vocab()
    assert len(vocabulary) <= 1024
    assert sorted(vocabulary.values()) == list(range(len(vocabulary)))  # the model's embedding has no idle row


def test_every_number_is_one_token(tokenizer):
    assert all(len(encode(tokenizer, str(n))) == 1 for n in range(100))
    assert len({encode(tokenizer, str(n))[0] for n in range(100)}) == 100
    assert encode(tokenizer, "100") == [tokenizer.unk_token_id]


def test_every_problem_survives_the_round_trip(tokenizer):
    problems = [make_problem(seed) for seed in range(500)] + load_split("test")
    for problem in problems:
        for text in (problem.question, problem.solution):
            ids = encode(tokenizer, text)
            assert tokenizer.unk_token_id not in ids
            assert tokenizer.decode(ids) == text
            assert len(ids) == len(text.split())


def test_special_tokens_are_five_different_ones_except_padding(tokenizer):
    t = tokenizer
    assert (t.bos_token, t.eos_token, t.mask_token, t.unk_token) == (BOS, EOS, MASK, UNKNOWN)
    assert t.pad_token_id == t.eos_token_id  # the model learns the length of an answer from the padding
    ids = [t.bos_token_id, t.eos_token_id, t.mask_token_id, t.unk_token_id, t.convert_tokens_to_ids(ANSWER)]
    assert len(set(ids)) == 5


def test_auto_tokenizer_gives_the_same_ids(tokenizer, from_disk):
    for problem in load_split("validation")[:100]:
        assert encode_prompt(from_disk, problem.question) == encode_prompt(tokenizer, problem.question)
        assert encode(from_disk, problem.solution) == encode(tokenizer, problem.solution)
    for name in ("bos", "eos", "pad", "mask", "unk"):
        assert getattr(from_disk, f"{name}_token_id") == getattr(tokenizer, f"{name}_token_id")
    assert from_disk.padding_side == "left" and from_disk.chat_template == tokenizer.chat_template


def test_free_spacing_and_capitals_read_the_same(tokenizer):
    assert encode(tokenizer, "Ann buys 12 apples. 12+5=17;####17") == encode(
        tokenizer, "ann buys 12 apples . 12 + 5 = 17 ; #### 17"
    )


def test_the_chat_template_lays_out_a_whole_example(from_disk):
    turns = [{"role": "user", "content": f" {QUESTION}\n"}, {"role": "assistant", "content": "12 + 5 = 17 ; #### 17"}]
    assert from_disk.apply_chat_template(turns, tokenize=False) == f"{BOS}{QUESTION}{ANSWER}12 + 5 = 17 ; #### 17{EOS}"
