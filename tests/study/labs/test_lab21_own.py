"""What fell here is told from the tables, with the question that did it."""

from dlmlab.study.labs import lab21_own as own
from dlmlab.study.labs.lab21_claims import QUESTIONS


def test_what_fell_here_is_told_from_the_tables_with_the_question_that_did_it():
    assert len(own.lines()) == len(own.FALLEN) >= 5
    assert {f.question for f in own.FALLEN} <= set(QUESTIONS)
    assert all(all(line.values()) for line in own.lines())
