"""mini-GSM: a question has one reading and one answer, the splits never meet, the verifier judges any text."""

import random
from itertools import chain, islice

import pytest
import torch

from dlmlab import tasks
from dlmlab.frames import DISTRACTORS, NAMES, SITUATIONS
from dlmlab.tasks import QuestionError, load_split, make_problem, solve, split_of, stream, verify
from dlmlab.tokenizer import ANSWER, BOS, EOS, MASK, UNKNOWN, words

APPLES = "ann buys 12 apples . then ann takes 5 more . how many apples does ann have now ?"
TWO_STEPS = (
    "ann buys 3 bags of 4 apples . ann puts 2 back . how many apples does ann have now ?"  # 3 * 4 = 12 ; 12 - 2 = 10 ;
)
HALVES = (
    "ann buys 2 bags of 3 apples . ann adds 3 packs of 2 . how many apples does ann have now ?"  # 2 * 3 ; 3 * 2 ; 6 + 6
)
PARTS = "ann bakes 12 muffins . ann makes 3 equal parts and keeps one . how many muffins remain ?"  # 12 / 3 = 4


def filled(frame, thing=""):
    """Write a frame with a person, another person and two numbers that occur nowhere else in it."""
    return frame.text.format(n="ann", m="ben", u="cara", o=thing, a=17, k=3)


def readings(sentence, frames, situation):
    return [f for f in frames if tasks._pattern(f, situation.objects).fullmatch(sentence)]


# ------------------------------------------------------------------------------------------------ the language


def test_forty_frames_in_eight_situations():
    assert len(SITUATIONS) >= 8
    assert len({f.text for s in SITUATIONS for f in (*s.openings, *s.steps, *s.questions)}) >= 40


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda s: s.name)
def test_every_sentence_has_one_reading_in_its_situation(situation):
    for frame in (*situation.openings, *situation.steps, *situation.questions):
        role = next(r for r in (situation.openings, situation.steps, situation.questions) if frame in r)
        others = (*situation.steps, *DISTRACTORS) if role is situation.steps else role
        for thing in situation.objects or ("",):
            assert readings(filled(frame, thing), others, situation) == [frame]
    for distractor in DISTRACTORS:
        assert not readings(filled(distractor), situation.steps, situation)


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda s: s.name)
def test_an_opening_tells_the_situation(situation):
    for opening in situation.openings:
        for thing in situation.objects or ("",):
            sentence = filled(opening, thing)
            assert [s.name for s in SITUATIONS if readings(sentence, s.openings, s)] == [situation.name]


def test_every_question_is_solved_from_its_text_alone():
    for seed in range(1500):
        problem = make_problem(seed)
        solved = solve(problem.question)
        assert solved.text == problem.solution
        assert (solved.answer, solved.skeleton, solved.situation) == (
            problem.answer,
            problem.skeleton,
            problem.situation,
        )
        assert len(solved.equations) == problem.steps


def test_every_number_lies_between_0_and_99_and_every_equation_holds():
    for seed in range(1500):
        problem = make_problem(seed)
        numbers = [int(w) for w in f"{problem.question} {problem.solution}".split() if w.isdigit()]
        assert min(numbers) >= 0 and max(numbers) <= 99
        for left, op, right, result in solve(problem.question).equations:
            assert eval(f"{left} {op} {right}") == result  # an oracle that shares nothing with the package


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5])
def test_the_number_of_steps_is_the_number_of_equations(steps):
    assert all(make_problem(seed, steps=steps).solution.count("=") == steps for seed in range(200))


def test_every_situation_and_number_of_steps_occurs_without_being_asked_for():
    problems = [make_problem(seed) for seed in range(600)]
    assert {p.situation for p in problems} == {s.name for s in SITUATIONS}
    assert {p.steps for p in problems} == {1, 2, 3, 4, 5}


def test_a_distractor_changes_nothing_in_the_answer():
    for seed in range(300):
        problem = make_problem(seed, distractor=1.0)
        sentences = [s for s in problem.question.replace("?", "? .").split(" .") if s.strip()]
        kept = [s for s in sentences if not any(readings(f"{s.strip()} .", (d,), SITUATIONS[0]) for d in DISTRACTORS)]
        assert len(sentences) - len(kept) == 1 and problem.distractor
        without = solve(" .".join(kept).strip())
        assert without.text == problem.solution and not without.distractor


def test_no_distractor_unless_wanted():
    assert not any(make_problem(seed, distractor=0.0).distractor for seed in range(200))


def test_a_seed_fixes_the_problem():
    assert [make_problem(s) for s in range(50)] == [make_problem(s) for s in range(50)]
    assert len({make_problem(s).question for s in range(500)}) > 490  # one-step problems may meet by chance
    first, again = (list(islice(stream(torch.Generator().manual_seed(1)), 5)) for _ in range(2))
    assert first == again


def test_there_are_more_than_a_billion_problems():
    # A lower bound from one corner of the language: comparisons with three people and two equations,
    #   X has {a} {o} . Y has {b} more than X . Z has {c} fewer than Y . how many {o} does Z have ?
    # The generator draws a in 2..60, b in 1..min(99 - a, 50), c in 1..a + b - 1 (`tasks._numbers`), three different
    # names and any thing. Different choices give different texts, and every text is readable: the product counts
    # distinct problems.
    numbers = [(a, b, c) for a in range(2, 61) for b in range(1, min(99 - a, 50) + 1) for c in range(1, a + b)]
    comparison = next(s for s in SITUATIONS if s.name == "comparison")
    names = len(NAMES) * (len(NAMES) - 1) * (len(NAMES) - 2)
    assert len(set(NAMES)) == len(NAMES) and len(set(comparison.objects)) == len(comparison.objects)
    assert names * len(comparison.objects) * len(numbers) >= 10**9

    rng = random.Random(0)
    for a, b, c in [numbers[0], numbers[-1], *rng.sample(numbers, 100)]:
        one, two, three = rng.sample(NAMES, 3)
        story = f"{one} has {a} balls . {two} has {b} more than {one} . {three} has {c} fewer than {two} ."
        assert (
            solve(f"{story} how many balls does {three} have ?").text
            == f"{a} + {b} = {a + b} ; {a + b} - {c} = {a + b - c} ; #### {a + b - c}"
        )


# ------------------------------------------------------------------------------------------------ splits


@pytest.mark.parametrize("split, size", [("calibration", 512), ("validation", 500), ("test", 500)])
def test_a_committed_split_holds_its_own_problems_once(split, size):
    problems = load_split(split)
    assert len(problems) == len({p.skeleton for p in problems}) == size
    for problem in problems:
        solved = solve(problem.question)
        assert split_of(solved.skeleton) == split and solved.skeleton == problem.skeleton
        assert (solved.text, solved.answer) == (problem.solution, problem.answer)


@pytest.mark.parametrize("split", tasks.SPLIT_SIZES)
def test_a_committed_split_is_what_the_generator_makes(split):
    problems, seed = {}, 0  # the start of `build_split`: all three take ten seconds
    while len(problems) < 5:
        problem = make_problem(seed, split=split)
        problems.setdefault(problem.skeleton, problem)
        seed += 1
    assert load_split(split)[:5] == list(problems.values())


def test_splits_do_not_meet():
    held_out = {split: {p.skeleton for p in load_split(split)} for split in tasks.SPLIT_SIZES}
    assert len(set(chain(*held_out.values()))) == sum(tasks.SPLIT_SIZES.values())
    streamed = islice(stream(torch.Generator().manual_seed(0)), 2000)
    assert not {p.skeleton for p in streamed} & set(chain(*held_out.values()))


def test_names_and_things_do_not_move_a_problem_to_another_split():
    other = APPLES.replace("ann", "ben").replace("apples", "pears")
    assert solve(other).skeleton == solve(APPLES).skeleton
    assert solve(APPLES.replace("12", "13")).skeleton != solve(APPLES).skeleton


@pytest.mark.parametrize(
    "call, word",
    [
        (lambda: make_problem(0, split="dev"), "dev"),
        (lambda: make_problem(0, steps=6), "1..5"),
        (lambda: make_problem(0, steps=0), "1..5"),
        (lambda: load_split("train"), "streamed"),
    ],
)
def test_a_wrong_argument_is_named(call, word):
    with pytest.raises(ValueError, match=word):
        call()


# ------------------------------------------------------------------------------------------------ reading a question


@pytest.mark.parametrize(
    "question, reason",
    [
        ("", "whole sentences"),
        ("what is love ?", "sentence 1 cannot be read"),
        (APPLES.replace("5 more", "five more"), "sentence 2 cannot be read"),
        (APPLES.replace("now ?", "now ? and why ?"), "cannot be read"),
        (APPLES.removesuffix(" ?"), "whole sentences"),
        ("ann buys 12 apples .", "cannot be read"),
        ("ann buys 12 apples . how many apples does ann have now ?", "nothing to calculate"),
        (APPLES.replace("ann have", "ben have"), "about ann, not ben"),
        (APPLES.replace("many apples", "many pears"), "about apples, not pears"),
        (APPLES.replace("12", "95"), r"95 \+ 5 = 100 is outside 0..99"),
        (PARTS.replace("3", "5"), "not a whole number"),
        (PARTS.replace("3", "0"), "not a whole number"),
        (APPLES.replace("5", MASK), "sentence 2 cannot be read"),
        (TWO_STEPS.replace("3 bags of 4", "100"), "sentence 1 cannot be read"),
    ],
)
def test_an_unreadable_question_says_why(question, reason):
    with pytest.raises(QuestionError, match=reason):
        solve(question)
    assert verify(question, "12 + 5 = 17 ; #### 17").problem


# ------------------------------------------------------------------------------------------------ judging an answer


def judged(question, text):
    """Return (right, follows) for each equation, then whether the answer is correct and the whole is clean."""
    verdict = verify(question, text)
    return [(e.right, e.follows) for e in verdict.equations], verdict.correct, verdict.clean


def test_every_gold_solution_is_clean():
    for problem in load_split("test"):
        verdict = verify(problem.question, problem.solution)
        assert verdict.clean and verdict.correct and verdict.answer == problem.answer and verdict.problem == ""


@pytest.mark.parametrize(
    "question, text, equations, correct, clean",
    [
        pytest.param(APPLES, "12 + 5 = 17 ; #### 17", [(True, True)], True, True, id="right"),
        pytest.param(APPLES, "12 + 5 = 18 ; #### 18", [(False, True)], False, False, id="wrong arithmetic"),
        pytest.param(
            APPLES, "12 + 5 = 18 ; #### 17", [(False, True)], True, False, id="wrong arithmetic, lucky answer"
        ),
        pytest.param(
            APPLES, "12 + 6 = 18 ; #### 18", [(True, False)], False, False, id="right arithmetic that does not follow"
        ),
        pytest.param(
            APPLES, "12 + 5 = 17 ; 1 + 1 = 2 ; #### 17", [(True, True), (True, False)], True, False, id="nobody asked"
        ),
        pytest.param(APPLES, "5 + 12 = 17 ; #### 17", [(True, True)], True, True, id="swapped sum"),
        pytest.param(
            TWO_STEPS, "4 * 3 = 12 ; 12 - 2 = 10 ; #### 10", [(True, True)] * 2, True, True, id="swapped product"
        ),
        pytest.param(
            TWO_STEPS,
            "3 * 4 = 12 ; 2 - 12 = 10 ; #### 10",
            [(True, True), (False, False)],
            True,
            False,
            id="swapped difference",
        ),
        pytest.param(PARTS, "12 / 3 = 4 ; #### 4", [(True, True)], True, True, id="quotient"),
        pytest.param(PARTS, "3 / 12 = 4 ; #### 4", [(False, False)], True, False, id="swapped quotient"),
        pytest.param(PARTS, "12 / 0 = 4 ; #### 4", [(False, False)], True, False, id="division by zero"),
        pytest.param(TWO_STEPS, "12 - 2 = 10 ; #### 10", [(True, True)], True, False, id="missing equation"),
        pytest.param(TWO_STEPS, "#### 10", [], True, False, id="answer alone"),
        pytest.param(
            TWO_STEPS,
            "3 * 4 = 12 ; 3 * 4 = 12 ; #### 10",
            [(True, True), (True, False)],
            True,
            False,
            id="an equation twice counts once",
        ),
        pytest.param(
            HALVES,
            "2 * 3 = 6 ; 2 * 3 = 6 ; 6 + 6 = 12 ; #### 12",
            [(True, True)] * 3,
            True,
            True,
            id="twice where the question asks twice",
        ),
        pytest.param(APPLES, "12 + 5 = 17 ; 17", [(True, True), (False, False)], False, False, id="missing mark"),
        pytest.param(APPLES, "12 + 5 = 17 ; ####", [(True, True)], False, False, id="nothing after the mark"),
        pytest.param(APPLES, "12 + 5 = 17 ; #### 117", [(True, True)], False, False, id="three digits"),
        pytest.param(APPLES, "12 + 5 = 117 ; #### 17", [(False, False)], True, False, id="number above 99"),
        pytest.param(
            APPLES, "12 + 5 = 17 ; 12 + = ; #### 17", [(True, True), (False, False)], True, False, id="half an equation"
        ),
        pytest.param(APPLES, f"12 + {MASK} = 17 ; #### 17", [(False, False)], True, False, id="mask in an equation"),
        pytest.param(APPLES, f"12 + 5 = 17 ; #### {MASK}", [(True, True)], False, False, id="mask as answer"),
        pytest.param(APPLES, "", [], False, False, id="empty"),
        pytest.param(APPLES, "    ;; ;", [], False, False, id="separators"),
        pytest.param(APPLES, "the bus , 世界 ∑ \x00", [(False, False)], False, False, id="garbage"),
    ],
)
def test_verdict(question, text, equations, correct, clean):
    assert judged(question, text) == (equations, correct, clean)


def test_no_answer_is_right_for_an_unreadable_question():
    verdict = verify("how long is a rope ?", "12 + 5 = 17 ; #### 17")
    assert "cannot be read" in verdict.problem and not verdict.correct and not verdict.clean
    assert verdict.equations[0].right and not verdict.equations[0].follows


def test_verify_never_raises_on_a_soup_of_tokens():
    rng = random.Random(0)
    vocabulary = [*words(), *map(str, range(100)), BOS, ANSWER, EOS, MASK, UNKNOWN, "?", ".", "²", "٣", "100"]
    for _ in range(500):
        soup = " ".join(rng.choices(vocabulary, k=rng.randint(0, 40)))
        assert not verify(soup, soup).correct
        verify(APPLES, soup)
        verify(soup, "12 + 5 = 17 ; #### 17")


def test_verify_never_raises_on_a_question_with_strange_words():
    rng = random.Random(1)  # almost readable text reaches deeper into the reader than soup does
    for seed in range(500):
        problem = make_problem(seed)
        question, answer = problem.question.split(), problem.solution.split()
        for text in (question, answer):
            text[rng.randrange(len(text))] = rng.choice(
                [".", "?", "0", "99", "²", "٣", "ann", "half", MASK, "/", "=", "####", ";", "", "\n"]
            )
        assert isinstance(verify(" ".join(question), " ".join(answer)).clean, bool)


@pytest.mark.parametrize("digit", ["²", "½", "Ⅷ", "٣", "３"])
def test_only_the_digits_0_to_9_make_a_number(digit):
    verdict = verify(APPLES.replace("5", digit), f"12 + {digit} = 17 ; #### {digit}")
    assert verdict.problem and verdict.answer is None and not verdict.equations[0].right
    assert verify(APPLES, f"12 + {digit} = 15 ; #### 17{digit}").answer is None
