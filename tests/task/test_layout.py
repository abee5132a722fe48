"""From a problem to ids and back: prompts, rows with padding on either side, and errors for what cannot be read."""

import copy
import re

import pytest
import torch

from dlmlab.limits import ANSWER_LENGTH
from dlmlab.task.layout import (
    EXAMPLES,
    decode_answer,
    encode_prompt,
    encode_rows,
    encode_solution,
    encode_texts,
    hidden_prompt,
)
from dlmlab.task.tasks import load_split, verify
from dlmlab.task.tokenizer import ANSWER, EOS, MASK, UNKNOWN, build_tokenizer
from tests.tiny import foreign_tokenizer

QUESTION = "ann buys 12 apples . then ann takes 5 more . how many apples does ann have now ?"
PROBLEMS = load_split("calibration")[:5]  # of different lengths


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


def encode(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


# ------------------------------------------------------------------------------------------------------------- prompts


def test_a_prompt_is_a_begin_mark_the_question_and_the_answer_mark(tokenizer):
    answer = tokenizer.convert_tokens_to_ids(ANSWER)
    assert encode_prompt(tokenizer, QUESTION) == [tokenizer.bos_token_id, *encode(tokenizer, QUESTION), answer]
    assert encode_prompt(tokenizer, f"  {QUESTION}\n") == encode_prompt(tokenizer, QUESTION)


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


def test_a_hidden_prompt_has_the_marks_of_a_prompt_and_masks_between(tokenizer):
    prompt = encode_prompt(tokenizer, QUESTION)
    hidden = hidden_prompt(tokenizer, len(prompt) - 2)
    assert len(hidden) == len(prompt) and (hidden[0], hidden[-1]) == (prompt[0], prompt[-1])
    assert set(hidden[1:-1]) == {tokenizer.mask_token_id}


def test_whole_texts_are_prompt_solution_and_one_end_mark(tokenizer):
    for ids, p in zip(encode_texts(tokenizer, PROBLEMS), PROBLEMS, strict=True):
        assert ids == [*encode_prompt(tokenizer, p.question), *encode_solution(tokenizer, p), tokenizer.eos_token_id]


# ---------------------------------------------------------------------------------------------------------------- rows


@pytest.mark.parametrize("side", ["left", "right"])
def test_rows_hold_question_answer_and_padding_apart(tokenizer, side):
    rows, end = encode_rows(tokenizer, PROBLEMS, side=side), tokenizer.eos_token_id
    L = rows.x0.shape[1]
    for x, valid, question, answer, p in zip(rows.x0, rows.valid, rows.question, rows.answer, PROBLEMS, strict=True):
        n = len(encode_prompt(tokenizer, p.question)) + ANSWER_LENGTH
        real = torch.arange(L) >= L - n if side == "left" else torch.arange(L) < n
        assert torch.equal(valid, real) and set(x[~valid].tolist()) <= {end}
        assert tokenizer.decode(x[question]) == p.question
        written = x[answer].tolist()
        assert len(written) == ANSWER_LENGTH and decode_answer(tokenizer, written) == p.solution
        assert set(written[written.index(end) :]) == {end}
        marks = valid & ~question & ~answer
        assert x[marks].tolist() == [tokenizer.bos_token_id, tokenizer.convert_tokens_to_ids(ANSWER)]


def test_answers_share_their_columns_on_the_left_and_texts_their_first_column_on_the_right(tokenizer):
    left, right = (encode_rows(tokenizer, PROBLEMS, side=side) for side in ("left", "right"))
    assert bool(left.answer[:, -ANSWER_LENGTH:].all()) and not left.answer[:, :-ANSWER_LENGTH].any()
    assert right.x0[:, 0].tolist() == [tokenizer.bos_token_id] * len(PROBLEMS)


def test_what_does_not_fit_is_refused(tokenizer):
    longest = max(len(encode_solution(tokenizer, p)) for p in PROBLEMS)
    with pytest.raises(ValueError, match=f"answer_length={longest}"):
        encode_rows(tokenizer, PROBLEMS, side="left", answer_length=longest)
    assert encode_rows(tokenizer, PROBLEMS, side="left", answer_length=longest + 1).answer.sum(1).max() == longest + 1
    with pytest.raises(ValueError, match="side='top'"):
        encode_rows(tokenizer, PROBLEMS, side="top")


# ---------------------------------------------------------------------------------------------------- other tokenizers


@pytest.fixture(scope="module")
def foreign():
    return foreign_tokenizer()


@pytest.mark.parametrize("side", ["left", "right"])
def test_rows_of_another_tokenizer_hold_the_same_parts(foreign, side):
    rows = encode_rows(foreign, PROBLEMS, side=side, answer_length=None)
    longest = max(len(encode_solution(foreign, p)) for p in PROBLEMS)
    assert longest > ANSWER_LENGTH  # more tokens than the course's tokenizer makes of it
    for x, valid, question, answer, p in zip(rows.x0, rows.valid, rows.question, rows.answer, PROBLEMS, strict=True):
        assert foreign.decode(x[question]) == p.question
        assert int(answer.sum()) == longest + 1 and decode_answer(foreign, x[answer].tolist()) == p.solution
        around = foreign.decode(x[valid & ~question & ~answer])
        assert around == "<role>HUMAN</role><|end|><role>ASSISTANT</role>"


def test_a_window_that_is_too_short_for_another_tokenizer_says_what_helps(foreign):
    with pytest.raises(ValueError, match="answer_length=40; None takes what is needed"):
        encode_rows(foreign, PROBLEMS, side="left")


def test_the_course_gives_its_own_tokenizer_no_longer_window(tokenizer):
    given, found = (encode_rows(tokenizer, PROBLEMS, side="left", answer_length=n) for n in (ANSWER_LENGTH, None))
    assert torch.equal(given.x0, found.x0)


def test_what_needs_the_marks_of_the_course_says_so(foreign):
    for make in (lambda: hidden_prompt(foreign, 3), lambda: encode_texts(foreign, PROBLEMS)):
        with pytest.raises(ValueError, match="this tokenizer has other ones"):
            make()


def test_a_chat_template_that_changes_the_question_is_refused(foreign):
    shouting = copy.deepcopy(foreign)
    shouting.chat_template = "{% for m in messages %}{{ m['content'] | upper }}{% endfor %}"
    with pytest.raises(ValueError, match="changes the question"):
        encode_rows(shouting, PROBLEMS, side="left", answer_length=None)
