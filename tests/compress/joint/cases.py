"""A tiny model, its statistics and its parts, which the tests of this folder share."""

from functools import cache

from dlmlab.compress import activations
from dlmlab.compress.joint.assembly import Assembly
from dlmlab.compress.joint.options import Option
from tests.compress.cases import even_heads, reader, states, tiny_calibration

GROUP = 8
OPTIONS = (
    Option(),
    Option(8),
    Option(4, GROUP),
    Option(2, GROUP),
    Option(4, GROUP, 0.5),
    Option(4, GROUP, 0.5, "2:4"),
    Option(4, GROUP, units="neurons", share=0.5),
    Option(4, GROUP, units="heads", share=0.5),
    Option(units="layer"),
)


@cache
def assembly() -> Assembly:
    """Parts of a tiny model of random ids."""
    model = even_heads()
    return Assembly(model, activations.collect(model, tiny_calibration(), gram=True))


@cache
def reading_assembly() -> Assembly:
    """Parts of a tiny model that reads problems."""
    model = reader()
    return Assembly(model, activations.collect(model, states("uniform"), gram=True))
