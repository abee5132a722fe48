"""The sentences of mini-GSM: enough of them, of known words, with arithmetic that uses what the sentence says."""

import re
from string import Formatter

import pytest

from dlmlab.task.frames import DISTRACTORS, NAMES, SITUATIONS, _frames
from dlmlab.task.tokenizer import UNKNOWN, build_tokenizer

ALL = [(s, f) for s in SITUATIONS for f in (*s.openings, *s.steps, *s.questions)]
IDS = [f.text for _, f in ALL]


def slots(frame) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(frame.text) if name}


def test_forty_frames_in_eight_situations():
    assert len(SITUATIONS) >= 8
    assert len({f.text for s in SITUATIONS for f in (*s.openings, *s.steps, *s.questions)}) >= 40


def test_a_line_of_a_table_is_a_sentence_and_its_operations():
    plain, two = _frames("{n} has {a} {o} .\n  then {k} of {a} . | k * a, v + t", new_person=True)
    assert (plain.text, plain.ops, plain.new_person) == ("{n} has {a} {o} .", (), True)
    assert (two.text, two.ops) == ("then {k} of {a} .", ("k * a", "v + t"))


@pytest.mark.parametrize("situation, frame", ALL, ids=IDS)
def test_an_operation_reads_what_there_is(situation, frame):
    """Numbers of the sentence, digits for words, and v, u, t only where something stands behind them."""
    opening = frame in situation.openings
    for i, op in enumerate(frame.ops):
        left, sign, right = op.split()
        assert sign in "+-*/"
        for term in (left, right):
            assert term.isdigit() or term in slots(frame) | ({"t"} if i else set()) | (set() if opening else {"v", "u"})
    used = {term for op in frame.ops for term in re.findall(r"[ak]", op)}
    numbers = slots(frame) & {"a", "k"}
    assert used == numbers or (opening and not frame.ops and numbers == {"a"})  # an opening may state its number


def test_a_sentence_knows_only_its_slots_and_a_situation_its_things():
    for situation, frame in ALL:
        assert slots(frame) <= {"n", "m", "u", "o", "a", "k"}
        assert frame.text[-1] in ".?" and (frame.text[-1] == "?") == (frame in situation.questions)
        assert "o" not in slots(frame) or situation.objects
    for frame in DISTRACTORS:
        assert not frame.ops and slots(frame) <= {"n", "m", "a"}


def test_the_tokenizer_knows_every_word_of_every_sentence():
    tokenizer = build_tokenizer()
    for situation, frame in [*ALL, *((s, f) for s in SITUATIONS for f in DISTRACTORS)]:
        for thing in situation.objects or ("",):
            text = frame.text.format(n="ann", m="ben", u="cara", o=thing, a=17, k=3)
            assert UNKNOWN not in tokenizer.tokenize(text), text
    assert UNKNOWN not in tokenizer.tokenize(" ".join(NAMES)) and len(set(NAMES)) == len(NAMES)
