"""The tokenizer: one token a word and a number, the same from disk, an honest error for what it cannot read."""

import re

import pytest
from transformers import AutoTokenizer

from dlmlab.task.tasks import load_split, make_problem, verify
from dlmlab.task.tokenizer import (
    ANSWER,
    BOS,
    EOS,
    EXAMPLES,
    MASK,
    UNKNOWN,
    build_tokenizer,
    decode_answer,
    encode_prompt,
    save_tokenizer,
)

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


def test_a_prompt_is_a_begin_mark_the_question_and_the_answer_mark(tokenizer):
    answer = tokenizer.convert_tokens_to_ids(ANSWER)
    assert encode_prompt(tokenizer, QUESTION) == [tokenizer.bos_token_id, *encode(tokenizer, QUESTION), answer]
    assert encode_prompt(tokenizer, f"  {QUESTION}\n") == encode_prompt(tokenizer, QUESTION)


def test_the_chat_template_lays_out_a_whole_example(from_disk):
    turns = [{"role": "user", "content": f" {QUESTION}\n"}, {"role": "assistant", "content": "12 + 5 = 17 ; #### 17"}]
    assert from_disk.apply_chat_template(turns, tokenize=False) == f"{BOS}{QUESTION}{ANSWER}12 + 5 = 17 ; #### 17{EOS}"


def test_unknown_words_are_listed_once_with_examples(tokenizer):
    with pytest.raises(ValueError) as error:
        encode_prompt(tokenizer, "Ann buys 500 quokkas . then Ann takes 500 quokkas more .")
    assert "no token for '500', 'quokkas';" in str(error.value)
    assert all(example in str(error.value) for example in EXAMPLES)


@pytest.mark.parametrize("question", ["", " \n\t", None, 5, ["ann"], b"ann", {"content": "ann"}])
def test_what_is_no_question_is_refused_by_name(tokenizer, question):
    with pytest.raises(ValueError, match=re.escape(f"got {question!r}")):
        encode_prompt(tokenizer, question)


@pytest.mark.parametrize("strange", ["\ud800", "\0", "٣", "²", "05", "007", "100", "İ", UNKNOWN])
def test_a_strange_character_is_named(tokenizer, strange):
    with pytest.raises(ValueError, match=re.escape(repr(strange))):
        encode_prompt(tokenizer, QUESTION.replace("5", strange))


def test_the_error_stays_short_whatever_the_question(tokenizer):
    for question in ("x" * 100_000, " ".join(map(str, range(100, 9999))), "\ud800" * 1000):
        with pytest.raises(ValueError) as error:
            encode_prompt(tokenizer, question)
        assert len(str(error.value)) < 700


def test_the_examples_of_the_error_are_readable(tokenizer):
    for example in EXAMPLES:
        encode_prompt(tokenizer, example)
        assert verify(example, "").problem == ""


def test_a_mask_in_the_prompt_stays_a_mask(tokenizer):
    ids = encode_prompt(tokenizer, QUESTION.replace("5", MASK))
    plain = encode_prompt(tokenizer, QUESTION)
    assert [b if a == tokenizer.mask_token_id else a for a, b in zip(ids, plain, strict=True)] == plain
    assert ids.count(tokenizer.mask_token_id) == 1


def test_an_answer_ends_at_the_first_end_mark(tokenizer):
    ids = encode(tokenizer, f"12 + 5 = 17 ; #### 17{EOS}9 9{EOS}")
    assert decode_answer(tokenizer, ids) == "12 + 5 = 17 ; #### 17"
    assert decode_answer(tokenizer, [tokenizer.eos_token_id, *ids]) == ""
    assert decode_answer(tokenizer, []) == ""


def test_masks_of_an_unfinished_answer_are_visible(tokenizer):
    assert decode_answer(tokenizer, encode(tokenizer, f"12 + {MASK} = 17")) == f"12 + {MASK} = 17"
