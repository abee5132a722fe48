"""How unsure a difference is when both methods answered the same problems, and when this is ignored.

What both find hard drops out of a difference taken problem by problem. Two accuracies with an interval each, as papers
print them, leave it in. `dlmlab.difference` gives the interval itself; here is only the ratio of the two widths, as a
formula: var(a - b) = var a + var b - 2 cov(a, b).
"""

import math
from collections.abc import Sequence


def standard_errors(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    """Give the standard error of mean(a) - mean(b), with the problems paired and as if they were others.

    `a`, `b`: one value a problem (a verdict 0 or 1, or nats), the same problem at the same place. Variances are those
    of a sample (n - 1). Raises `ValueError` for fewer than two problems, or lists that are not equally long.

    >>> standard_errors([1, 1, 0, 0], [1, 1, 0, 0])[0]
    0.0
    """
    if len(a) != len(b) or len(a) < 2:
        raise ValueError(f"need two equally long lists of at least two problems, got {len(a)} and {len(b)}")
    paired = _variance([x - y for x, y in zip(a, b, strict=True)])
    return math.sqrt(paired / len(a)), math.sqrt((_variance(a) + _variance(b)) / len(a))


def _variance(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return sum((x - mean) ** 2 for x in values) / (len(values) - 1)
