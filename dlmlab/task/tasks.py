"""mini-GSM: grade-school word problems whose worked solution is a function of the question.

Decisions
* One integer seed makes one problem, so a training stream is `make_problem(seed)` for fresh seeds and resuming needs
  no state.
* `solve` reads the *question text* and knows nothing of how it was made: the generator and the verifier share one
  source of truth.
* Every number is an integer 0-99, written without sign, point or leading zero, and one token; all arithmetic is exact;
  a perfect answer has entropy 0 nats.
* Whatever cannot be read to one consistent meaning is refused: `solve` raises `QuestionError` and nothing else,
  `verify` never raises, and both take time in proportion to the text.
* Splits are disjoint by a hash of the question, names and things blanked (`dlmlab.task.splits`).

Form of the solution: GSM8K (Cobbe et al., arXiv 2110.14168), one equation a step and the answer after `####`.
"""

import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import torch

from dlmlab.paths import to_write
from dlmlab.task.frames import DISTRACTORS, NAMES, SITUATIONS, Frame, Situation
from dlmlab.task.splits import HELD_OUT, SPLITS, SplitRecipe, hashed, split_of

MAX_NUMBER = 99
NUMBER = "0|[1-9][0-9]?"  # what the tokenizer has a token for: not 05, 007, 100 or the digits of other scripts
HOLE = "_"  # stands for a number that is not told, in a question for `read`
MAX_CHARACTERS = 1_000  # about three times the longest question of the generator
STEP_WEIGHTS = (0.22, 0.26, 0.24, 0.16, 0.12)  # share of problems with 1, 2, 3, 4, 5 equations
MAX_QUESTION_TOKENS = 54  # with BOS, the answer mark and 40 answer tokens this stays within 96


class QuestionError(ValueError):
    """The text is not a mini-GSM question; the message names the sentence that could not be read."""


@dataclass(frozen=True)
class Problem:
    """A question, its worked solution and the answer; `steps` counts equations."""

    question: str
    solution: str
    answer: int
    steps: int
    situation: str
    distractor: bool
    skeleton: str


@dataclass(frozen=True)
class Solved:
    """What `solve` reads out of a question: equations as `(left, op, right, result)`, the answer and the blanked
    skeleton. `uses[i]` holds the indices of the equations whose results equation `i` calculates with."""

    equations: tuple[tuple[int, str, int, int], ...]
    uses: tuple[frozenset[int], ...]
    answer: int
    situation: str
    distractor: bool
    skeleton: str

    @property
    def text(self) -> str:
        return " ".join(f"{a} {op} {b} = {c} ;" for a, op, b, c in self.equations) + f" #### {self.answer}"


# ------------------------------------------------------------------------------------------------ reading a question


@cache
def _pattern(frame: Frame, objects: tuple[str, ...]) -> re.Pattern:
    slots = {
        "n": f"(?P<n>{'|'.join(NAMES)})",
        "m": f"(?P<m>{'|'.join(NAMES)})",
        "u": f"(?P<u>{'|'.join(NAMES)})",
        "o": f"(?P<o>{'|'.join(objects)})",
        "a": f"(?P<a>{NUMBER}|{HOLE})",
        "k": f"(?P<k>{NUMBER}|{HOLE})",
    }
    parts = re.split(r"\{(\w)\}", frame.text)
    return re.compile("".join(slots[p] if i % 2 else re.escape(p) for i, p in enumerate(parts)))


def _find(sentence: str, frames: tuple[Frame, ...], objects: tuple[str, ...]):
    for frame in frames:
        if match := _pattern(frame, objects).fullmatch(sentence):
            return frame, match.groupdict()
    return None


def calculate(left: int, op: str, right: int) -> int:
    """Work out one equation. Raises `QuestionError` where the result is a fraction or leaves 0..99."""
    if op == "/" and (right == 0 or left % right):
        raise QuestionError(f"{left} / {right} is not a whole number")
    result = {"+": left + right, "-": left - right, "*": left * right, "/": left // right if right else 0}[op]
    if not 0 <= result <= MAX_NUMBER:
        raise QuestionError(f"{left} {op} {right} = {result} is outside 0..{MAX_NUMBER}")
    return result


def _number(text: str) -> int:
    if text == HOLE:
        raise QuestionError(f"a number is hidden, {HOLE}: what follows from it is not one answer")
    return int(text)


class _Story:
    """Running value, persons and equations while sentences are read one by one; `number` makes one of its text,
    `calculate` one of two others."""

    def __init__(self, number: Callable, calculate: Callable) -> None:
        self.number, self.calculate = number, calculate
        self.value = self.before = None
        self.made = self.made_before = None  # indices of the equations that made `value` and `before`
        self.person = self.person_before = None
        self.people: set[str] = set()  # who has a value
        self.equations: list[tuple[int, str, int, int]] = []
        self.uses: list[frozenset[int]] = []

    def add(self, frame: Frame, slots: dict[str, str], opening: bool = False) -> None:
        self._meet(frame, slots)
        known = {"v": self.value, "u": self.before} | {s: self.number(slots[s]) for s in "ak" if slots.get(s)}
        made = {"v": self.made, "u": self.made_before}
        result = known.get("a") if opening else self.value
        for op in frame.ops:
            left, sign, right = op.split()
            self.uses.append(frozenset(made[side] for side in (left, right) if made.get(side) is not None))
            left, right = (known[side] if side in known else int(side) for side in (left, right))
            if left is None or right is None:
                raise QuestionError(f"'{frame.text}' compares with a value that is not there yet")
            result = known["t"] = self.calculate(left, sign, right)
            made["t"] = len(self.equations)
            self.equations.append((left, sign, right, result))
        if frame.new_person:
            self.before, self.made_before = self.value, self.made
            self.person_before, self.person = self.person, slots["m"]
        elif slots.get("n"):
            self.person = slots["n"]
        self.value, self.made = result, made.get("t", self.made)

    def _meet(self, frame: Frame, slots: dict[str, str]) -> None:
        """Refuse a sentence about the wrong person, or one that takes a person of the story for somebody else."""
        for slot, person in (("n", self.person), ("u", self.person_before)):
            if slots.get(slot) and person and slots[slot] != person:
                raise QuestionError(f"the story is about {person}, not {slots[slot]}")
        self.people |= {slots["n"]} if slots.get("n") else set()
        if slots.get("m") in self.people:
            raise QuestionError(f"{slots['m']} is in the story already: '{frame.text}' needs another person")
        self.people |= {slots["m"]} if frame.new_person else set()


def _sentences(question: str) -> list[str]:
    """Cut a text into sentences with the spacing of the frames."""
    if len(question) > MAX_CHARACTERS:
        raise QuestionError(f"{len(question):,} characters are more than the {MAX_CHARACTERS:,} of a question")
    text = " ".join(re.findall(r"[0-9]+|[a-z]+|[^\s]", question.lower()))
    *sentences, rest = (part.strip() for part in re.split(r"(?<=[.?])", text))
    if rest or not sentences:
        raise QuestionError(f"not a text of whole sentences: {question!r}")
    return sentences


def solve(question: str) -> Solved:
    """Read a question and work it out.

    Capitals and white space do not matter. Raises `QuestionError`, and nothing else, naming the sentence: when the
    text is no mini-GSM question, is longer than `MAX_CHARACTERS`, a number leaves 0..99 or is written in another way
    (05, +5, 5.0), or the persons contradict each other ("ann has 5 more than ann", or a second value for a person who
    has one).

    >>> solve("ann buys 12 apples . then ann takes 5 more . how many apples does ann have now ?").text
    '12 + 5 = 17 ; #### 17'
    """
    return read(question)


def read(question: str, number: Callable = _number, calculate: Callable = calculate) -> Solved:
    """Read a question as `solve` does, with other numbers: `number(text)` makes one of "12" or of `HOLE`, and
    `calculate(left, op, right)` a result, so that the equations may hold unknowns (`dlmlab.constraints`).

    Raises `QuestionError` as `solve` does.
    """
    sentences = _sentences(question)
    story, skeleton, thing, distractor = _Story(number, calculate), [], None, False
    situation: Situation | None = None
    for i, sentence in enumerate(sentences):
        if i == 0:
            found = next(((s, f) for s in SITUATIONS if (f := _find(sentence, s.openings, s.objects))), None)
            situation, hit = found if found else (None, None)
        elif sentence.endswith("?"):
            hit = _find(sentence, situation.questions, situation.objects) if i == len(sentences) - 1 else None
        else:
            hit = _find(sentence, situation.steps, situation.objects)
            if hit is None and (hit := _find(sentence, DISTRACTORS, ())):
                distractor = True
                story.number(hit[1]["a"])
                skeleton.append(f"{hit[0].text}/{hit[1]['a']}")
                continue
        if hit is None or (i == len(sentences) - 1) != sentence.endswith("?"):
            raise QuestionError(f"sentence {i + 1} cannot be read: {sentence!r}")
        frame, slots = hit
        if thing and slots.get("o") and slots["o"] != thing:
            raise QuestionError(f"the story is about {thing}, not {slots['o']}")
        thing = thing or slots.get("o")
        story.add(frame, slots, opening=i == 0)
        skeleton.append("/".join([frame.text] + [slots[s] for s in "ak" if slots.get(s)]))
    if not story.equations:
        raise QuestionError("nothing to calculate")
    equations, uses = tuple(story.equations), tuple(story.uses)
    return Solved(equations, uses, story.value, situation.name, distractor, " ".join(skeleton))


# ------------------------------------------------------------------------------------------------ making a question


def _numbers(frame: Frame, value: int | None, rng: random.Random) -> dict[str, int] | None:
    """Draw numbers for the slots of a frame so that every result stays in 1..99; None when impossible."""
    ops = [op.split() for op in frame.ops]
    signs = [sign for _, sign, _ in ops]
    if not ops:
        return {"a": rng.randint(2, 60)}
    if signs[0] == "*" and "v" not in ops[0]:  # k bags of a, then perhaps v + t or v - t
        room = {None: MAX_NUMBER, "+": MAX_NUMBER - (value or 0), "-": (value or 0) - 1}[
            signs[1] if len(signs) > 1 else None
        ]
        k = rng.randint(2, 9)
        return {"k": k, "a": rng.randint(1 if len(signs) > 1 else 2, room // k)} if room // k >= 2 else None
    right = ops[0][2]
    if signs[0] == "+" and right == "a":
        return {"a": rng.randint(1, min(MAX_NUMBER - value, 50))} if value < MAX_NUMBER else None
    if signs[0] == "-":
        return {"a": rng.randint(1, value - 1)} if value > 1 else None
    if signs[0] == "+":  # u + v is checked by `solve`
        return {}
    ks = [int(right)] if right.isdigit() else range(2, 10)
    ks = [k for k in ks if (value * k <= MAX_NUMBER if signs[0] == "*" else value % k == 0 and value > 0)]
    return {"k": rng.choice(ks)} if ks else None


def _tell(rng: random.Random, steps: int, distractor: bool) -> str | None:
    """Tell one story with `steps` equations; None when the numbers lead into a dead end."""
    situation = rng.choice(SITUATIONS)
    names = rng.sample(NAMES, steps + 3)
    thing = rng.choice(situation.objects) if situation.objects else ""
    ask = rng.choice(situation.questions)
    story, sentences = _Story(_number, calculate), []

    def tell(frame: Frame, opening: bool = False) -> bool:
        numbers = _numbers(frame, story.value, rng)
        if numbers is None:
            return False
        n = story.person or names[0]
        slots = {"n": n, "m": names[len(sentences) + 1], "u": story.person_before or "", "o": thing}
        slots |= {key: str(number) for key, number in numbers.items()}
        sentences.append(frame.text.format(**slots))
        story.add(frame, {key: slots[key] for key in slots if f"{{{key}}}" in frame.text}, opening)
        return True

    opening = rng.choice([f for f in situation.openings if len(f.ops) + len(ask.ops) <= steps])
    tell(opening, opening=True)
    story.person = story.person or names[0]
    while (left := steps - len(ask.ops) - len(story.equations)) > 0:
        if not tell(rng.choice([f for f in situation.steps if len(f.ops) <= left])):
            return None
    if "u" in " ".join(ask.ops) and story.before is None:
        return None
    if not tell(ask):
        return None
    if distractor:
        frame = rng.choice(DISTRACTORS)
        slots = {"m": names[-1], "a": str(rng.randint(2, MAX_NUMBER))}
        sentences.insert(rng.randint(1, len(sentences) - 1), frame.text.format(**slots))
    return " ".join(sentences)


def make_problem(
    seed: int,
    *,
    split: str = "train",
    steps: int | None = None,
    distractor: float = 0.25,
    rule: str | None = None,
) -> Problem:
    """Make the problem of a seed.

    `steps` fixes the number of equations (1..5, default: drawn from `STEP_WEIGHTS`); `distractor` is the probability
    of a sentence that does not matter. `rule` tells the splits apart, None: that of the splits in `data/mini-gsm`,
    since a problem to train on must lie outside the split that will judge. Raises `ValueError` for an unknown split or
    rule, or a number of steps outside 1..5.

    >>> make_problem(3, steps=1, distractor=0.0) == make_problem(3, steps=1, distractor=0.0)
    True
    """
    if split != "train" and split not in HELD_OUT:
        raise ValueError(f"split {split!r} is unknown; known: train, {', '.join(HELD_OUT)}")
    if steps is not None and not 1 <= steps <= len(STEP_WEIGHTS):
        raise ValueError(f"steps={steps} is outside 1..{len(STEP_WEIGHTS)}")
    rng = random.Random(seed)
    wanted = steps or rng.choices(range(1, 6), STEP_WEIGHTS)[0]
    with_distractor = rng.random() < distractor
    for _ in range(10_000):  # a story that ends badly, or belongs to another split, is told anew
        try:
            question = _tell(rng, wanted, with_distractor)
            solved = solve(question) if question else None
        except (QuestionError, IndexError):
            continue
        if solved and len(question.split()) <= MAX_QUESTION_TOKENS and split_of(solved.skeleton, rule) == split:
            parts = (solved.situation, solved.distractor, solved.skeleton)
            return Problem(question, solved.text, solved.answer, len(solved.equations), *parts)
    raise RuntimeError(f"no problem with steps={wanted} in split {split!r} after 10,000 stories (seed {seed})")


def stream(generator: torch.Generator, **options) -> Iterator[Problem]:
    """Yield problems without end, one seed drawn from `generator` each; options as in `make_problem`."""
    while True:
        yield make_problem(int(torch.randint(2**62, (), generator=generator)), **options)


# ------------------------------------------------------------------------------------------------ judging an answer


@dataclass(frozen=True)
class Equation:
    """One equation of an answer. `right`: the arithmetic holds. `follows`: the question asks for this calculation,
    and the calculations it builds on stand before it."""

    text: str
    right: bool
    follows: bool


@dataclass(frozen=True)
class Verdict:
    """What `verify` found. `correct` is exact match of the final answer; `clean` means every equation is right,
    follows, and none is missing."""

    equations: tuple[Equation, ...]
    answer: int | None
    correct: bool
    clean: bool
    problem: str = ""


_EQUATION = re.compile(rf"({NUMBER})\s*([-+*/])\s*({NUMBER})\s*=\s*({NUMBER})")


def _judge(text: str, missing: dict[int, tuple[tuple[int, str, int], frozenset[int]]]) -> Equation:
    """Judge one equation, and strike it off what is `missing`: calculations, and which others each builds on."""
    match = _EQUATION.fullmatch(text)
    if not match:
        return Equation(text, False, False)
    a, op, b, c = int(match[1]), match[2], int(match[3]), int(match[4])
    right = (
        (a - b == c)
        if op == "-"
        else (a + b == c)
        if op == "+"
        else (a * b == c)
        if op == "*"
        else (b > 0 and a == b * c)
    )
    same = {(a, op, b), (b, op, a)} if op in "+*" else {(a, op, b)}
    ready = (i for i, (key, uses) in missing.items() if key in same and missing.keys().isdisjoint(uses))
    hit = next(ready, None)
    missing.pop(hit, None)  # each calculation counts once
    return Equation(text, right, hit is not None)


def verify(question: str, text: str) -> Verdict:
    """Judge an answer, equation by equation. Never raises, whatever the model wrote.

    White space does not matter. Equations may come in any order in which each finds the results it uses; sums and
    products may be swapped. After `####` exactly one number must stand and nothing else: an answer of "47 48" is none.
    (Graders of GSM8K read the first number and ignore the rest; a model that writes two has not decided.)

    >>> q = "ann buys 12 apples . then ann takes 5 more . how many apples does ann have now ?"
    >>> verify(q, "12 + 5 = 18 ; #### 18").equations
    (Equation(text='12 + 5 = 18', right=False, follows=True),)
    >>> verify(q, "12 + 5 = 17 ; #### 17 18").answer is None
    True
    """
    try:
        solved, problem = solve(question), ""
    except QuestionError as error:
        solved, problem = None, str(error)
    body, _, tail = text.partition("####")
    answer = int(tail) if re.fullmatch(NUMBER, tail := tail.strip()) else None
    calculations = zip((e[:3] for e in solved.equations), solved.uses, strict=True) if solved else ()
    missing = dict(enumerate(calculations))
    equations = tuple(_judge(part.strip(), missing) for part in body.split(";") if part.strip())
    correct = solved is not None and answer == solved.answer
    clean = correct and not missing and all(e.right and e.follows for e in equations)
    return Verdict(equations, answer, correct, clean, problem)


# ------------------------------------------------------------------------------------------------ splits on disk

SPLIT_SIZES = {"calibration": 512, "validation": 500, "test": 500}


def build_split(split: str, recipe: SplitRecipe) -> list[Problem]:
    """Make a held-out split, the same for the same recipe; no two problems have the same `hashed` skeleton."""
    problems: dict[str, Problem] = {}
    i = 0
    while len(problems) < SPLIT_SIZES[split]:
        problem = make_problem(recipe.seed * 1_000_003 + i, split=split, rule=recipe.rule)
        problems.setdefault(hashed(problem.skeleton, recipe.rule), problem)
        i += 1
    return list(problems.values())


def write_splits(folder: Path = SPLITS, recipe: SplitRecipe | None = None) -> None:
    """Write the three held-out splits as JSON lines, and the recipe beside them. None: by the recipe that is there."""
    to_write(folder).mkdir(parents=True, exist_ok=True)
    if recipe:
        (folder / "splits.toml").write_text(recipe.text, encoding="utf-8", newline="\n")
    for split in SPLIT_SIZES:
        lines = [json.dumps(asdict(p)) for p in build_split(split, recipe or SplitRecipe.read(folder))]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def load_split(split: str, folder: Path = SPLITS) -> list[Problem]:
    """Load a committed split. Raises `ValueError` for a name that is none of calibration, validation, test."""
    if split not in SPLIT_SIZES:
        raise ValueError(
            f"split {split!r} is not on disk; known: {', '.join(SPLIT_SIZES)} (train is streamed: tasks.stream)"
        )
    with open(folder / f"{split}.jsonl", encoding="utf-8") as lines:
        return [Problem(**json.loads(line)) for line in lines]
