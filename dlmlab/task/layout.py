"""The only way from a problem to ids and back: prompts, whole texts, and rows of questions with their answers.

Everything that reads or writes text goes through here: decoders see ids, and what they wrote is made text again here.
The window after a question has one length everywhere, `ANSWER_LENGTH`: the solution, then end marks. Prompts and rows
are made with any tokenizer that has a chat template; a solution takes more of its tokens, so the window may be longer.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dlmlab.limits import ANSWER_LENGTH
from dlmlab.task.tasks import Problem
from dlmlab.task.tokenizer import ANSWER, BOS, EOS

EXAMPLES = (
    "ann buys 12 apples . then ann takes 5 more . how many apples does ann have now ?",
    "ben has 8 marbles . cara has twice as many as ben . how many marbles does cara have ?",
)
_READABLE = "it reads whole numbers 0-99 and the words of mini-GSM, for example:\n" + "\n".join(
    f"  {example}" for example in EXAMPLES
)


def _shown(value: object) -> str:
    """Write a value so that it can be recognised, in at most about 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:40]} ... ({len(text):,} characters)"


def _listed(strange: list[str]) -> str:
    """Name the first words, each once, and how many more there are."""
    different = list(dict.fromkeys(strange))
    more = f" and {len(different) - 8} more" if len(different) > 8 else ""
    return ", ".join(map(_shown, different[:8])) + more


def encode_prompt(tokenizer: PreTrainedTokenizerBase, question: str) -> list[int]:
    """Turn a question into prompt ids, ready for an answer: the chat template for one user turn.

    A mask token in the question is kept as a mask (infilling). Raises `ValueError` for what is no text, for an empty
    one, and listing the words the model has no token for, with examples of what it can read.
    """
    if not isinstance(question, str) or not question.strip():
        raise ValueError(f"a question is a text that is not empty, got {_shown(question)}; {_READABLE}")
    if strange := re.findall(r"[\ud800-\udfff]", question):  # half a character: the tokenizer cannot take it
        raise ValueError(f"the model has no token for {_listed(strange)}; {_READABLE}")
    text = _asked(tokenizer, question)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    unknown = tokenizer.unk_token_id
    if unknown is not None and unknown in ids:
        spans = tokenizer(question, add_special_tokens=False, return_offsets_mapping=True)
        strange = [
            question[a:b] for i, (a, b) in zip(spans["input_ids"], spans["offset_mapping"], strict=True) if i == unknown
        ]
        raise ValueError(f"the model has no token for {_listed(strange)}; {_READABLE}")
    return ids


def _asked(tokenizer: PreTrainedTokenizerBase, question: str) -> str:
    turn = [{"role": "user", "content": question}]
    return tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)


def _question_at(tokenizer: PreTrainedTokenizerBase, question: str) -> tuple[int, int]:
    """Find the tokens of the question among those of its prompt: first, and one after the last. Raises `ValueError` for
    a chat template that changes the question."""
    text, question = _asked(tokenizer, question), question.strip()
    if (start := text.find(question)) < 0:
        raise ValueError(f"the chat template of this tokenizer changes the question: {_shown(text)}")
    spans = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    inside = [i for i, (a, b) in enumerate(spans) if a < start + len(question) and b > start]
    return inside[0], inside[-1] + 1


def _answer_mark(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the id of the answer mark. Raises `ValueError` for a tokenizer without the marks of the course."""
    mark = tokenizer.convert_tokens_to_ids(ANSWER)
    if tokenizer.bos_token_id is None or mark is None or mark == tokenizer.unk_token_id:
        raise ValueError(
            f"this needs the marks of the course, {BOS} and {ANSWER}, as tokens of their own; this tokenizer has other "
            "ones (encode_prompt and encode_rows use its chat template and go with any)"
        )
    return mark


def encode_solution(tokenizer: PreTrainedTokenizerBase, problem: Problem) -> list[int]:
    """Turn the solution of a problem into ids, without an end mark."""
    return tokenizer(problem.solution, add_special_tokens=False)["input_ids"]


def encode_texts(tokenizer: PreTrainedTokenizerBase, problems: Sequence[Problem]) -> list[list[int]]:
    """Turn problems into the ids of whole texts: start, question, answer mark, solution, end mark.

    Raises `ValueError` for a tokenizer without these marks.
    """
    _answer_mark(tokenizer)
    texts = [f"{BOS}{p.question}{ANSWER}{p.solution}{EOS}" for p in problems]
    return tokenizer(texts, add_special_tokens=False)["input_ids"]


def hidden_prompt(tokenizer: PreTrainedTokenizerBase, length: int) -> list[int]:
    """Make a prompt whose question is `length` masks, for a model that invents it.

    Raises `ValueError` for a tokenizer without the marks of the course.
    """
    mark = _answer_mark(tokenizer)
    return [tokenizer.bos_token_id, *[tokenizer.mask_token_id] * length, mark]


@dataclass(frozen=True)
class Rows:
    """Problems as rows: ids `x0` (B, L), which are `valid` (no padding), `question` and `answer` (B, L) bool.

    `question` leaves out what the chat template puts around it, marks that are never masked; `answer` is the whole
    window.
    """

    x0: Tensor
    valid: Tensor
    question: Tensor
    answer: Tensor


def encode_rows(
    tokenizer: PreTrainedTokenizerBase,
    problems: Sequence[Problem],
    *,
    side: str,
    answer_length: int | None = ANSWER_LENGTH,
) -> Rows:
    """Lay out problems with their solutions: prompt, solution, end marks up to `answer_length` tokens.

    `answer_length` None: as many as the longest solution and its end mark take, and `ANSWER_LENGTH` at least; other
    tokenizers than the course's need more. `side`: where padding stands, made of end marks. On the left, answers share
    their columns, as in decoding; on the right, texts begin at position 0. Raises `ValueError` for another side, for a
    solution that does not fit with its end mark, and for a chat template that changes the question.
    """
    if side not in ("left", "right"):
        raise ValueError(f"side={side!r} must be 'left' or 'right'")
    prompts = [encode_prompt(tokenizer, p.question) for p in problems]
    solutions = [encode_solution(tokenizer, p) for p in problems]
    longest = max(map(len, solutions))
    answer_length = max(longest + 1, ANSWER_LENGTH) if answer_length is None else answer_length
    if longest >= answer_length:
        raise ValueError(
            f"a solution has {longest} tokens and an end mark, answer_length={answer_length}; None takes what is needed"
        )
    L = max(map(len, prompts)) + answer_length
    x0 = torch.full((len(problems), L), tokenizer.eos_token_id)
    starts = [L - answer_length - len(prompt) if side == "left" else 0 for prompt in prompts]
    for row, start, prompt, solution in zip(x0, starts, prompts, solutions, strict=True):
        row[start : start + len(prompt) + len(solution)] = torch.tensor(prompt + solution)
    start, column = torch.tensor(starts)[:, None], torch.arange(L)
    answer_at = start + torch.tensor([*map(len, prompts)])[:, None]  # (B, 1)
    asked = (start <= column) & (column < answer_at)
    answer = (answer_at <= column) & (column < answer_at + answer_length)
    at = start[..., None] + torch.tensor([_question_at(tokenizer, p.question) for p in problems])[:, None]  # (B, 1, 2)
    return Rows(x0, asked | answer, (at[..., 0] <= column) & (column < at[..., 1]), answer)


def decode_answer(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    """Turn answer ids into text, cut at the first end mark; masks stay visible."""
    return tokenizer.decode(ids, skip_special_tokens=False).partition(tokenizer.eos_token)[0].strip()
