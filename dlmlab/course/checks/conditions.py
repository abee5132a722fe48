"""Exercise 20.1. Numbers, and symbols that behave as those of a solver: `/` cuts the rest off, a division by zero is
any number, and nothing is true before it is solved."""

from collections.abc import Callable
from numbers import Real

from dlmlab.course.checks.expect import NOTHING, Cases, require
from dlmlab.course.exercises import Exercise

WILD = object()  # what a division by zero gives: equal to whatever is wanted


class Symbol:
    """An expression over names; `value` works it out for numbers in their place."""

    def __init__(self, value: Callable[[dict], object]):
        self.value = value

    def __bool__(self) -> bool:
        raise AssertionError(
            "a condition on symbols is neither true nor false yet: `and`, `if`, `all` and a chain such as 0 <= c <= 99 "
            "ask which; put one condition after the other into the list"
        )

    def __floordiv__(self, other):
        raise AssertionError("symbols of z3 have no //: say it with a product")

    __rfloordiv__ = __floordiv__
    __hash__ = None


def _value(x: object, given: dict) -> object:
    return x.value(given) if isinstance(x, Symbol) else x


def _cut(x: int, y: int) -> object:
    return WILD if y == 0 else x // y


def _rest(x: int, y: int) -> object:
    return WILD if y == 0 else x % y


def _method(function: Callable, truth: bool, swapped: bool = False) -> Callable:
    def method(self, other):
        def value(given):
            x, y = _value(self, given), _value(other, given)
            if x is WILD or y is WILD:
                return True if truth else WILD
            return function(y, x) if swapped else function(x, y)

        return Symbol(value)

    return method


_ARITHMETIC = {"add": lambda x, y: x + y, "sub": lambda x, y: x - y, "mul": lambda x, y: x * y, "mod": _rest}
_TRUTH = {
    "eq": lambda x, y: x == y,
    "ne": lambda x, y: x != y,
    "lt": lambda x, y: x < y,
    "le": lambda x, y: x <= y,
    "gt": lambda x, y: x > y,
    "ge": lambda x, y: x >= y,
    "and": lambda x, y: x & y,
    "or": lambda x, y: x | y,
}
for _name, _function in _ARITHMETIC.items():
    setattr(Symbol, f"__{_name}__", _method(_function, False))
    setattr(Symbol, f"__r{_name}__", _method(_function, False, True))
Symbol.__truediv__, Symbol.__rtruediv__ = _method(_cut, False), _method(_cut, False, True)
for _name, _function in _TRUTH.items():
    setattr(Symbol, f"__{_name}__", _method(_function, True))


def _all(verdicts: list) -> bool:
    strange = [v for v in verdicts if not isinstance(v, bool)]
    require(not strange, f"{strange[:1]} in the list is no condition: worked out for numbers, each is True or False")
    return all(verdicts)


def check_conditions(fn: Callable) -> None:
    """Judge an answer to 20.1."""

    def run(a, op, b, c) -> list:
        found = fn(a, op, b, c)
        require(found is not None, NOTHING)
        require(isinstance(found, list | tuple), f"the result is a {type(found).__name__}, it should be a list")
        return list(found)

    a, b, c = (Symbol(lambda given, name=name: given[name]) for name in "abc")
    stated = {op: run(a, op, b, c) for op in "+-*/"}
    for op, found in stated.items():
        wrong = [x for x in found if not isinstance(x, Symbol | Real)]
        require(not wrong, f"{op}: the list holds a {type(wrong[0]).__name__ if wrong else ''}, no condition")

    def holds(x: int, op: str, y: int, z: int) -> bool:
        given = {"a": x, "b": y, "c": z}
        return _all([_value(condition, given) for condition in stated[op]])

    for x, op, y, z, right, message in (
        (7, "/", 2, 3, False, "7 / 2 = 3 can hold: a solver's / on whole numbers cuts the rest off"),
        (7, "/", 0, 99, False, "7 / 0 = 99 can hold: a solver's division by zero is any number it likes"),
        (0, "/", 0, 5, False, "0 / 0 = 5 can hold, as 5 * 0 = 0 does: no division by zero has a result"),
        (0, "/", 4, 0, True, "0 / 4 = 0 is a division like others, and cannot hold here"),
        (8, "/", 2, 4, True, "8 / 2 = 4 cannot hold"),
        (60, "+", 40, 100, False, "60 + 40 = 100 can hold: results go up to 99, the largest number there is"),
        (60, "+", 39, 99, True, "60 + 39 = 99 cannot hold: 99 is a number like others"),
        (3, "-", 5, -2, False, "3 - 5 = -2 can hold: there are no numbers below 0"),
        (5, "-", 5, 0, True, "5 - 5 = 0 cannot hold: 0 is a number like others"),
        (3, "-", 5, 2, False, "3 - 5 = 2 can hold: the sides of the minus are exchanged"),
        (14, "+", 60, 75, False, "14 + 60 = 75 can hold"),
    ):
        require(holds(x, op, y, z) == right, message)
    draw = Cases(201)
    for _ in range(300):
        op = "+-*/"[draw.int(0, 3)]
        x, y = draw.int(0, 40), draw.int(0, 9)
        exact = {"+": x + y, "-": x - y, "*": x * y, "/": x // y if y else 0}[op]
        for z in {exact, exact + draw.int(-1, 1), draw.int(0, 99)}:
            right = 0 <= z <= 99 and (x == z * y and y != 0 if op == "/" else z == exact)
            require(holds(x, op, y, z) == right, f"{x} {op} {y} = {z} {'cannot' if right else 'can'} hold")
            numbers = _all(run(x, op, y, z))
            require(numbers == right, f"with numbers for symbols, {x} {op} {y} = {z} {'fails' if right else 'passes'}")


EXERCISE = Exercise(
    id="20.1",
    title="What a solver has to be told",
    minutes=15,
    difficulty=3,
    objective="State an equation and its world as constraints, without asking a symbol whether it is true.",
    path="dlmlab.constraints.conditions",
    stub='''\
def conditions(a, op: str, b, c) -> list:
    """List what has to hold for `a op b = c` in the world of mini-GSM; op is one of + - * /.

    A result is a whole number, 0 to 99; a division leaves no rest, and nothing is divided by 0. a, b and c are symbols
    of z3, or numbers: for symbols the list holds constraints, for numbers what Python makes of them. (z3's own / cuts
    the rest off, and its x / 0 is any number; what it does not offer is //.)
    """
    raise NotImplementedError
''',
    hints=(
        "Which product says that a / b is c? And what does that product allow when b is 0?",
        "A chain of two comparisons is joined by a hidden `and`, which asks whether the first is true. Two entries of "
        "the list ask nothing.",
        "for /: [b * c == a, b != 0]; for the others [a + b == c] and so on; and always c >= 0, c <= 99",
    ),
    check=check_conditions,
)
