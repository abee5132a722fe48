"""Options are plain values that survive a file, and refuse what cannot be."""

import json

import pytest

from dlmlab.compress.joint import options
from dlmlab.compress.joint.options import BLOCK_OPTIONS, Option


def test_an_option_survives_a_file_and_has_a_name_of_its_own():
    for option in BLOCK_OPTIONS:
        assert Option(**json.loads(json.dumps(option.plain()))) == option
        assert options.named(str(option)) == option
    assert len({str(option) for option in BLOCK_OPTIONS}) == len(BLOCK_OPTIONS)
    with pytest.raises(ValueError, match="'5 bits' is unknown; known: float; 8 bits"):
        options.named("5 bits")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"bits": 0}, "bits=0"),
        ({"group": 64}, "group=64"),
        ({"sparsity": 1.0}, "sparsity"),
        ({"sparsity": 0.3, "pattern": "2:4"}, "2:4 removes"),
        ({"units": "rows"}, "units='rows'"),
        ({"units": "heads"}, "share=0.0"),
        ({"share": 0.5}, "share=0.5"),
        ({"units": "neurons", "share": 1.0}, "share=1.0"),
        ({"units": "layer", "bits": 4}, "takes the whole block"),
        ({"order": "Q"}, "order='Q'"),
        ({"order": "one pass", "bits": 4}, "one pass"),
        ({"order": "one pass", "sparsity": 0.5}, "one pass"),
        ({"repair": 1}, "repair=1"),
    ],
)
def test_what_cannot_be_is_refused(values, words):
    with pytest.raises(ValueError, match=words):
        Option(**values)


def test_places_are_blocks_and_matrices():
    assert options.layers(2) == ["blocks.0", "blocks.1"]
    assert len(options.matrices(2)) == 14 and options.matrices(1)[-1] == "blocks.0.ff_out"
    for wrong in ("layers.0", "blocks.x", "blocks"):
        with pytest.raises(ValueError, match=wrong):
            options.split(wrong)


def test_without_repair_the_cheap_methods_are_taken():
    assert (Option(4).plan.prune, Option(4).plan.quantize) == ("sparsegpt", "gptq")
    assert (Option(4, repair=False).plan.prune, Option(4, repair=False).plan.quantize) == ("wanda", "rtn")
