"""Sentence frames of mini-GSM: the only place where the words of the task live.

A frame is a sentence with slots and the arithmetic it stands for. `{n}` is the person the story is about, `{m}`
another person, `{u}` the person
before `{n}` in a chain of comparisons, `{o}` a kind of thing, and `{a}`, `{k}` are numbers in the text. An operation
is written `left op right`:

* `v` the running value, `u` the value before it, `t` the result of the operation just done,
* `a`, `k` the numbers of the sentence, a digit for a word such as "twice".

A situation is a set of frames that may follow each other: one opening, some steps, one question.
"""

from dataclasses import dataclass

NAMES = (
    "ann ben cara dan eva finn gina hugo ivy jack kate leo mia noah olga paul quin rosa sam tina uma vic wes zoe"
).split()


@dataclass(frozen=True)
class Frame:
    """A sentence with slots; `ops` is its arithmetic; `new_person` says that `{m}` becomes the person of the story."""

    text: str
    ops: tuple[str, ...] = ()
    new_person: bool = False


@dataclass(frozen=True)
class Situation:
    """Frames that may follow each other. `objects` fill `{o}`; a situation without `{o}` has none."""

    name: str
    objects: tuple[str, ...]
    openings: tuple[Frame, ...]
    steps: tuple[Frame, ...]
    questions: tuple[Frame, ...]


def _frames(table: str, new_person: bool = False) -> tuple[Frame, ...]:
    """Read `sentence | op, op` lines."""
    rows = [line.strip().partition("|") for line in table.strip().splitlines()]
    return tuple(
        Frame(text.strip(), tuple(op.strip() for op in ops.split(",") if op.strip()), new_person)
        for text, _, ops in rows
    )


def _situation(name: str, objects: str, openings: str, steps: str, questions: str, chain: bool = False) -> Situation:
    return Situation(name, tuple(objects.split()), _frames(openings), _frames(steps, chain), _frames(questions))


SITUATIONS = (
    _situation(
        "shopping",
        "apples oranges pears plums lemons eggs rolls candles",
        """{n} buys {a} {o} .
           {n} has {a} {o} in a basket .
           {n} buys {k} bags of {a} {o} . | k * a""",
        """then {n} takes {a} more . | v + a
           {n} puts {a} back . | v - a
           {n} adds {k} packs of {a} . | k * a, v + t
           {n} eats {a} of them . | v - a
           a sale doubles the basket . | v * 2""",
        """how many {o} does {n} have now ?
           how many {o} are in the basket ?""",
    ),
    _situation(
        "collecting",
        "stamps coins shells stones cards stickers buttons badges",
        """{n} collects {a} {o} .
           {n} finds {a} {o} on monday .
           {n} fills {k} pages with {a} {o} each . | k * a""",
        """{n} finds {a} more . | v + a
           {n} loses {a} . | v - a
           {m} gives {n} {a} . | v + a
           {n} trades {a} away . | v - a
           soon there are {k} times as many . | v * k""",
        """how many {o} are in the collection ?
           how many {o} does {n} keep ?""",
    ),
    _situation(
        "sharing",
        "cookies sweets grapes nuts crackers muffins",
        """{n} bakes {a} {o} .
           {n} brings {k} plates of {a} {o} . | k * a
           {n} wants to share {a} {o} .""",
        """{m} eats {a} . | v - a
           {n} bakes {a} more . | v + a
           {n} makes {k} equal parts and keeps one . | v / k
           {n} keeps half of them . | v / 2
           {n} gives {a} to {m} . | v - a""",
        """how many {o} does {n} have left ?
           how many {o} remain ?""",
    ),
    _situation(
        "comparison",
        "marbles books balls toys pencils kites",
        """{n} has {a} {o} .
           {n} owns {a} {o} .
           {n} counts {a} {o} .""",
        """{m} has {a} more than {n} . | v + a
           {m} has {a} fewer than {n} . | v - a
           {m} has {k} times as many as {n} . | v * k
           {m} has twice as many as {n} . | v * 2
           {m} has half as many as {n} . | v / 2""",
        """how many {o} does {n} have ?
           how many {o} do {u} and {n} have together ? | u + v""",
        chain=True,
    ),
    _situation(
        "ages",
        "",
        """{n} is {a} years old .
           {n} turned {a} today .
           this year {n} is {a} .""",
        """{m} is {a} years older than {n} . | v + a
           {m} is {a} years younger than {n} . | v - a
           {m} is {k} times as old as {n} . | v * k
           {m} is twice as old as {n} . | v * 2
           {m} is half as old as {n} . | v / 2""",
        """how old is {n} ?
           how old will {n} be in {a} years ? | v + a
           how old are {u} and {n} together ? | u + v""",
        chain=True,
    ),
    _situation(
        "time",
        "",
        """{n} walks for {a} minutes .
           the way to school takes {a} minutes .
           {n} swims {k} laps of {a} minutes . | k * a""",
        """a break adds {a} minutes . | v + a
           {n} hurries and saves {a} minutes . | v - a
           the way back takes {a} more minutes . | v + a
           on a bike it takes half the time . | v / 2
           in the rain it takes twice as long . | v * 2
           then come {k} songs of {a} minutes . | k * a, v + t""",
        """how many minutes does it take ?
           how many minutes is {n} busy ?""",
    ),
    _situation(
        "money",
        "",
        """{n} has {a} dollars .
           {n} earns {a} dollars .
           {n} works {k} hours for {a} dollars each . | k * a""",
        """{n} spends {a} dollars . | v - a
           {n} earns {a} dollars more . | v + a
           {n} pays {k} tickets at {a} dollars . | k * a, v - t
           {n} sells {k} maps at {a} dollars . | k * a, v + t
           the bank doubles the money . | v * 2
           half of the money goes to {m} . | v / 2""",
        """how many dollars does {n} have ?
           how much money is left ?""",
    ),
    _situation(
        "rates",
        "boxes bottles bricks chairs lamps shirts",
        """{n} makes {a} {o} a day for {k} days . | a * k
           a machine makes {a} {o} an hour for {k} hours . | a * k
           {n} made {a} {o} last week .""",
        """on the next day {n} makes {a} more . | v + a
           {a} of them break . | v - a
           then come {k} days with {a} each . | k * a, v + t
           {n} throws {a} away . | v - a
           a new machine doubles the number . | v * 2""",
        """how many {o} are there in all ?
           what is the number of {o} ?""",
    ),
    _situation(
        "bus",
        "",
        """a bus starts with {a} people .
           {n} drives a bus with {a} people .
           a bus starts with {k} groups of {a} people . | k * a""",
        """at the stop {a} people get on . | v + a
           {a} people get off . | v - a
           half of the people get off . | v / 2
           a class of {a} gets on . | v + a
           {k} groups of {a} get on . | k * a, v + t""",
        """how many people are on the bus ?
           how many people ride home ?""",
    ),
    _situation(
        "garden",
        "roses tulips trees bushes melons beans",
        """{n} plants {k} rows of {a} {o} . | k * a
           a garden has {a} {o} .
           {n} grows {a} {o} .""",
        """a storm breaks {a} . | v - a
           {a} more grow . | v + a
           {n} picks {a} for {m} . | v - a
           next year there are {k} times as many . | v * k
           {n} plants {k} more rows of {a} . | k * a, v + t""",
        """how many {o} are in the garden ?
           how many {o} does {n} see ?""",
    ),
)

DISTRACTORS = _frames(
    """the room has {a} chairs .
       it is {a} degrees outside .
       the house number is {a} .
       {m} lives {a} km away .
       {m} wears a hat with {a} dots .
       the shop opens in {a} minutes ."""
)
