"""Refuse a number outside the range where it means something: the message names the value and the range.

NaN fails every comparison and infinity passes them, True is 1 and "0.9" is a text: none of them is taken for a number.
"""

import math
from numbers import Integral, Real

ANSWER_LENGTH = 40  # tokens after a question that are written unless something else is asked for


def number(name: str, value, least: float = -math.inf, most: float = math.inf, *, above: bool = False) -> None:
    """Raise `ValueError` unless `value` is a finite number from `least` to `most` (`above`: more than `least`).

    >>> number("tau", 90, most=2)
    Traceback (most recent call last):
    ValueError: tau=90 must be a finite number <= 2
    """
    good = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not (good and least <= value <= most) or (above and value == least):
        sides = [f"{'>' if above else '>='} {least:g}"] * (least > -math.inf) + [f"<= {most:g}"] * (most < math.inf)
        raise ValueError(f"{name}={value!r} must be a finite number{' ' * bool(sides)}{' and '.join(sides)}")


def whole(name: str, value, least: int, *, optional: bool = False) -> None:
    """Raise `ValueError` unless `value` is a whole number from `least` on (`optional`: or None)."""
    if value is None and optional:
        return
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name}={value!r} must be a whole number >= {least}{' or None' * optional}")


def switch(name: str, value) -> None:
    """Raise `ValueError` unless `value` is True or False: the text "no" would count as yes."""
    if not isinstance(value, bool):
        raise ValueError(f"{name}={value!r} must be True or False")
