"""mini-GSM: a question has one reading and one answer, the splits never meet, the verifier judges any text."""

import hashlib
import random
import re
import time
from itertools import chain, islice

import pytest
import torch

from dlmlab.task import tasks
from dlmlab.task.frames import DISTRACTORS, NAMES, SITUATIONS
from dlmlab.task.layout import encode_prompt
from dlmlab.task.splits import split_of
from dlmlab.task.tasks import QuestionError, load_split, make_problem, solve, stream, verify
from dlmlab.task.tokenizer import ANSWER, BOS, EOS, MASK, UNKNOWN, build_tokenizer, words

APPLES = "ann buys 12 apples . then ann takes 5 more . how many apples does ann have now ?"
TWO_STEPS = (
    "ann buys 3 bags of 4 apples . ann puts 2 back . how many apples does ann have now ?"  # 3 * 4 = 12 ; 12 - 2 = 10 ;
)
HALVES = (
    "ann buys 2 bags of 3 apples . ann adds 3 packs of 2 . how many apples does ann have now ?"  # 2 * 3 ; 3 * 2 ; 6 + 6
)
PARTS = "ann bakes 12 muffins . ann makes 3 equal parts and keeps one . how many muffins remain ?"  # 12 / 3 = 4
MARBLES = "ann has 8 marbles . ben has 3 more than ann . cara has 4 fewer than ben ."  # 8 + 3 = 11 ; 11 - 4 = 7


def filled(frame, thing=""):
    """Write a frame with a person, another person and two numbers that occur nowhere else in it."""
    return frame.text.format(n="ann", m="ben", u="cara", o=thing, a=17, k=3)


def readings(sentence, frames, situation):
    return [f for f in frames if tasks._pattern(f, situation.objects).fullmatch(sentence)]


# ------------------------------------------------------------------------------------------------ the language


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


def test_the_training_stream_is_the_one_the_shipped_models_saw():
    text = "\n".join(f"{p.question} {p.solution}" for p in map(make_problem, range(300)))
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    assert digest == "bab2322493cacb10"  # of the commit that trained data/llada-mini


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
        (APPLES.replace("5", "05"), "05"),
        (APPLES.replace("12", "007"), "007"),
        (APPLES.replace("5", "+5"), "[+] 5"),
        (APPLES.replace("5", "5.0"), "sentence 2 cannot be read"),
        (APPLES.replace("5", "9" * 900), "sentence 2 cannot be read"),
        (APPLES.replace("then", "then " * 1000), "5,0.. characters are more than the 1,000"),
        (
            f"{MARBLES.replace('ben has 3 more than ann', 'ann has 3 more than ann')} how many marbles ?",
            "ann is in the",
        ),
        (MARBLES.replace("cara", "ann") + " how many marbles does ann have ?", "ann is in the story already"),
        (MARBLES.replace("fewer than ben", "fewer than ann") + " how many marbles does cara have ?", "ben, not ann"),
        (MARBLES + " how many marbles do cara and cara have together ?", "ben, not cara"),
        (MARBLES + " how many marbles do ann and cara have together ?", "ben, not ann"),
        (MARBLES + " how many marbles does ben have ?", "cara, not ben"),
        ("ann has 8 dollars . half of the money goes to ann . how much money is left ?", "ann is in the story already"),
    ],
)
def test_an_unreadable_question_says_why(question, reason):
    with pytest.raises(QuestionError, match=reason):
        solve(question)
    assert verify(question, "12 + 5 = 17 ; #### 17").problem


def test_capitals_and_white_space_do_not_matter_to_the_reader():
    assert solve(f" \n{APPLES.upper().replace(' ', '   ').replace('   .', '.')}\t") == solve(APPLES)


def without_distractors(text):
    """Sentences that matter, each a list of words."""
    sentences = [s.strip() for s in re.findall(r"[^.?]+[.?]", text)]
    return [s.split() for s in sentences if not readings(s, DISTRACTORS, SITUATIONS[0])]


def mutant(question, rng):
    """Change one word: a name into a name, a number into a number or nearly one, and any other into any word."""
    text = question.split()
    at = rng.choice([i for i, w in enumerate(text) if rng.random() < 0.1 or w.isdigit() or w in NAMES] or [0])
    numbers = [*map(str, range(100)), "05", "007", "100", "+5", "5.0", "²"]
    text[at] = rng.choice(NAMES if text[at] in NAMES else numbers if text[at].isdigit() else words())
    return " ".join(text)


def assert_one_meaning(text, solved):
    sentences = without_distractors(text)
    people = [[word for word in sentence if word in NAMES] for sentence in sentences]
    if solved.situation in ("comparison", "ages"):  # each sentence: a new person, measured by the one before
        told = [p[0] for p in people[:-1]]
        assert len(set(told)) == len(told) and people[1:-1] == [list(p) for p in zip(told[1:], told[:-1], strict=True)]
        assert people[-1] in (told[-1:], told[-2:])
    else:
        assert all(len(set(p)) == len(p) for p in people)
    used = [str(n) for left, _, right, _ in solved.equations for n in (left, right)]
    assert {word for sentence in sentences for word in sentence if word.isdigit()} <= set(used)
    for left, op, right, result in solved.equations:
        assert eval(f"{left} {op} {right}") == result and 0 <= result <= 99


def test_a_text_with_one_word_changed_keeps_one_meaning_or_is_refused():
    rng, tokenizer, read = random.Random(2), build_tokenizer(), 0
    for problem in chain(*map(load_split, tasks.SPLIT_SIZES)):
        text = mutant(problem.question, rng)
        try:
            solved = solve(text)
        except QuestionError:
            continue
        assert_one_meaning(text, solved)
        assert tokenizer.decode(encode_prompt(tokenizer, text)[1:-1]) == text  # the model can read it, too
        read += 1
    assert 300 < read < 1200  # both happen often


def soups(rng, n):
    """Texts of any characters at all, of pieces of the language, and of both."""
    pieces = [
        *words(),
        *map(str, range(100)),
        *APPLES.split(),
        "05",
        "####",
        ";",
        "=",
        "\n",
        "²",
        "٣",
        "İ",
        "\ud800",
        "\0",
    ]
    for _ in range(n):
        soup = rng.choices(pieces, k=rng.randint(0, 30))
        soup += [chr(rng.randrange(0x110000)) for _ in range(rng.choice((0, 0, 10)))]
        rng.shuffle(soup)
        yield rng.choice(("", " ")).join(soup)


def test_any_text_at_all_is_refused_with_a_question_error_and_judged_without_one():
    for soup in soups(random.Random(3), 1000):
        for question in (soup, APPLES + soup, soup + APPLES):
            if soup.strip():
                with pytest.raises(QuestionError):
                    solve(question)
            assert isinstance(verify(question, soup).clean, bool)
        verify(APPLES, soup), verify(APPLES, f"12 + 5 = 17 ; #### {soup}")


LONG = 100_000
LONG_TEXTS = {
    "no full stop": "a" * LONG,
    "full stops": ". " * (LONG // 2),
    "digits": "9" * LONG,
    "other digits": "٣²" * (LONG // 2),
    "NUL": "\0" * LONG,
    "half a character": "\ud800" * LONG,
    "capital of two": "İ" * LONG,
    "blanks": " " * LONG + "x",
    "steps": "then ann takes 0 more . " * (LONG // 24),
    "equations": "1 + 1 = 2 ; " * (LONG // 12),
    "equations asked for": "12 + 5 = 17 ; " * (LONG // 14),
    "marks": "#### " * (LONG // 5),
    "answer of digits": "#### " + "9" * LONG,
    "blanks behind the answer": "#### 17" + " " * LONG + "x",
    "blanks in an equation": "12" + " " * LONG + "+",
}


@pytest.mark.parametrize("text", LONG_TEXTS.values(), ids=LONG_TEXTS)
def test_a_very_long_text_takes_no_time(text):
    start = time.process_time()  # quadratic: minutes; linear: tenths of a second, whatever else the machine does
    with pytest.raises(QuestionError, match="characters") as error:
        solve(text)
    assert len(str(error.value)) < 200
    assert not verify(APPLES, text).clean and not verify(text, text).correct
    assert time.process_time() - start < 2


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
        pytest.param(TWO_STEPS, "3 * 4 = 12 ; #### 10", [(True, True)], True, False, id="missing equation"),
        pytest.param(TWO_STEPS, "12 - 2 = 10 ; #### 10", [(True, False)], True, False, id="nobody knows the 12"),
        pytest.param(
            TWO_STEPS,
            "12 - 2 = 10 ; 3 * 4 = 12 ; #### 10",
            [(True, False), (True, True)],
            True,
            False,
            id="the result before what it is made of",
        ),
        pytest.param(
            "ann buys 3 bags of 4 apples . ann adds 5 packs of 6 . how many apples does ann have now ?",
            "5 * 6 = 30 ; 3 * 4 = 12 ; 12 + 30 = 42 ; #### 42",
            [(True, True)] * 3,
            True,
            True,
            id="two calculations that need nothing of each other, in the other order",
        ),
        pytest.param(APPLES, "12  +\t5 =\n17;####17 ", [(True, True)], True, True, id="white space"),
        pytest.param(APPLES, "12+5=17 ; #### 17", [(True, True)], True, True, id="no white space"),
        pytest.param(APPLES, "1 2 + 5 = 17 ; #### 17", [(False, False)], True, False, id="a blank in a number"),
        pytest.param(APPLES, "012 + 05 = 17 ; #### 17", [(False, False)], True, False, id="leading zeros"),
        pytest.param(APPLES, "12 + 5 = 17 ; #### 17 18", [(True, True)], False, False, id="two answers"),
        pytest.param(APPLES, "12 + 5 = 17 ; #### 17 17", [(True, True)], False, False, id="the answer twice"),
        pytest.param(APPLES, "12 + 5 = 17 ; #### 17 #### 17", [(True, True)], False, False, id="two marks"),
        pytest.param(APPLES, "12 + 5 = 17 ; #### 17 ;", [(True, True)], False, False, id="more after the answer"),
        pytest.param(APPLES, "12 + 5 = 17 ; #### 017", [(True, True)], False, False, id="answer with a zero"),
        pytest.param(APPLES, "12 + 5 = 17 ; #### +17", [(True, True)], False, False, id="answer with a sign"),
        pytest.param(APPLES, "12 + 5 = 17 ; #### 17.0", [(True, True)], False, False, id="answer with a point"),
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


def test_every_order_is_clean_in_which_each_equation_finds_what_it_uses():
    for seed in range(300):
        problem = make_problem(seed)
        solved = solve(problem.question)
        order = random.Random(seed).sample(range(problem.steps), problem.steps)
        parts = [f"{a} {op} {b} = {c}" for a, op, b, c in solved.equations]
        verdict = verify(problem.question, " ; ".join(parts[i] for i in order) + f" ; #### {problem.answer}")
        in_order = all(set(solved.uses[i]) <= set(order[:k]) for k, i in enumerate(order))
        if len(set(parts)) == len(parts):  # an equation that is asked for twice may stand for either
            assert verdict.correct and verdict.clean == in_order


def test_what_an_equation_uses_is_the_result_of_an_earlier_one():
    for seed in range(300):
        solved = solve(make_problem(seed).question)
        for i, (uses, (left, _, right, _)) in enumerate(zip(solved.uses, solved.equations, strict=True)):
            assert all(j < i and solved.equations[j][3] in (left, right) for j in uses)
        assert set().union(*solved.uses) == set(range(len(solved.equations) - 1))  # nothing is calculated in vain


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
