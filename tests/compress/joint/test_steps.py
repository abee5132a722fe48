"""Decodings are plain values with a name of their own."""

import json

import pytest

from dlmlab.compress.joint.steps import FEWER, Decoding


def test_a_decoding_survives_a_file():
    for decoding in FEWER:
        assert Decoding(**json.loads(json.dumps(decoding.plain()))) == decoding
    assert len({str(decoding) for decoding in FEWER}) == len(FEWER)


def test_its_sampler_commits_as_it_says():
    assert Decoding(0.7).sampler.commit.tau == 0.7
    assert Decoding(steps=5, block_length=8).sampler.commit.steps == 5
    assert Decoding(steps=5, block_length=8).sampler.block_length == 8


@pytest.mark.parametrize(
    ("values", "words"),
    [({}, "threshold or"), ({"threshold": 0.9, "steps": 5}, "threshold or"), ({"threshold": 3}, "tau=3"),
     ({"steps": 0}, "steps=0"), ({"steps": 5, "block_length": 0}, "block_length=0")],
)  # fmt: skip
def test_what_cannot_be_is_refused(values, words):
    with pytest.raises(ValueError, match=words):
        Decoding(**values)
