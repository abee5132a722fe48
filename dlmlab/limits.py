"""Refuse a number outside the range where it means something: the message names the value and the range.

NaN fails every comparison and infinity passes them, True is 1 and "0.9" is a text: none of them is taken for a number.
"""

import math
from numbers import Integral, Real

ANSWER_LENGTH = 40  # tokens after a question that are written unless something else is asked for


def problem(value, least: float, most: float, *, kind: type = Real, open: str = "") -> str:
    """Say what is wrong with a value that should be a number from `least` to `most`, "" when nothing is.

    `kind`: Real or Integral. `open` names the ends that are left out, `<` the lower and `>` the upper one.

    >>> problem(1.0, 0, 1, open=">")
    'must be a finite number >= 0 and < 1'
    """
    good = isinstance(value, kind) and not isinstance(value, bool) and math.isfinite(value)
    if good and least <= value <= most and not ("<" in open and value == least or ">" in open and value == most):
        return ""
    sides = [f"{'>' if '<' in open else '>='} {least:.10g}"] * (least > -math.inf)
    sides += [f"{'<' if '>' in open else '<='} {most:.10g}"] * (most < math.inf)
    what = "a whole number" if kind is Integral else "a finite number"
    return f"must be {what}{' ' * bool(sides)}{' and '.join(sides)}"


def number(name: str, value, least: float = -math.inf, most: float = math.inf, *, open: str = "") -> None:
    """Raise `ValueError` unless `value` is a finite number from `least` to `most` (`open`: as in `problem`).

    >>> number("tau", 90, most=2)
    Traceback (most recent call last):
    ValueError: tau=90 must be a finite number <= 2
    """
    if wrong := problem(value, least, most, open=open):
        raise ValueError(f"{name}={value!r} {wrong}")


def whole(name: str, value, least: int, *, optional: bool = False) -> None:
    """Raise `ValueError` unless `value` is a whole number from `least` on (`optional`: or None)."""
    if not (value is None and optional) and (wrong := problem(value, least, math.inf, kind=Integral)):
        raise ValueError(f"{name}={value!r} {wrong}{' or None' * optional}")


def switch(name: str, value) -> None:
    """Raise `ValueError` unless `value` is True or False: the text "no" would count as yes."""
    if not isinstance(value, bool):
        raise ValueError(f"{name}={value!r} must be True or False")
