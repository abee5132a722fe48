"""No number outside the range where it means something gets into a decoder."""

import argparse
import math

import numpy as np
import pytest

from dlmlab import cli, limits
from dlmlab.decode import autoregressive
from dlmlab.decode.cache import DelayedCache, DualCache, PrefixCache
from dlmlab.decode.commit import EntropyBound, Factor, Fixed, Threshold
from dlmlab.decode.drift import drift
from dlmlab.decode.focus import Focus
from dlmlab.decode.sampling import Sampler, sample
from tests.mocks import UniformDenoiser
from tests.tiny import tiny_model

NUMBERS = {  # what takes a real number -> values out of its range
    lambda v: Threshold(v): [90, 2.1],
    lambda v: Factor(v): [-3, -0.1],
    lambda v: EntropyBound(v): [-1.0, -1e-9],
    lambda v: Sampler(temperature=v): [-0.5, 1e7],
    lambda v: Sampler(guidance=v): [-2.0],
    lambda v: Focus(alpha=v): [0, -1.0],
    lambda v: autoregressive.sample(tiny_model("causal", eos_token_id=0), [[5]], temperature=v): [-1.0, 1e300],
}
WHOLE = {  # what takes a whole number -> values out of its range
    lambda v: Fixed(v): [0, -1],
    lambda v: Sampler(block_length=v): [0, -4],
    lambda v: Sampler(forbid=(1, v)): [-1],
    lambda v: DualCache(refresh=v): [0],
    lambda v: PrefixCache(v): [0],
    lambda v: DelayedCache(v): [-2],
    lambda v: Focus(refresh=v): [0],
    lambda v: sample(UniformDenoiser(9), [[1]], gen_length=v, mask_id=8): [-1],
    lambda v: sample(UniformDenoiser(9), [[1]], gen_length=2, mask_id=v): [-1],
    lambda v: sample(UniformDenoiser(9), [[1]], gen_length=2, mask_id=8, eos_id=v): [-1],
    lambda v: autoregressive.sample(tiny_model("causal", eos_token_id=0), [[5]], gen_length=v): [-1],
}


def cases(table, never):
    return [(make, value) for make, values in table.items() for value in (*values, *never)]


@pytest.mark.parametrize(
    "make, value",
    cases(NUMBERS, [math.nan, math.inf, -math.inf, True, "0.9", [1]])
    + cases(WHOLE, [2.5, math.nan, math.inf, True, "8"]),
)
def test_a_value_that_means_nothing_is_refused_by_name(make, value):
    with pytest.raises(ValueError) as error:
        make(value)
    assert repr(value) in str(error.value)


def test_what_means_something_is_taken():
    for tau in (0, 0.9, 1, 1.5, 2, np.float32(0.5)):
        Sampler(commit=Threshold(tau))
    for made in (Factor(0), Factor(1e9), EntropyBound(0), Fixed(np.int64(3)), Fixed(None), Focus(alpha=0.1)):
        Sampler(commit=made) if callable(made) else Sampler(cache=made)
    Sampler("neg_entropy", Threshold(-0.5))


@pytest.mark.parametrize(
    "score, tau",
    [
        ("probability", -0.1),
        ("margin", -1),
        ("random", -0.5),
        ("neg_entropy", 0.9),
        ("left_to_right", 0.9),
        ("left_to_right", -2),
    ],
)
def test_a_threshold_that_its_score_cannot_be_compared_with_is_refused(score, tau):
    with pytest.raises(ValueError, match=f"tau={tau}.*{score}"):
        Sampler(score, Threshold(tau))


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(score=["probability"]), "score="),
        (dict(score="prob"), "score='prob'"),
        (dict(commit=Threshold), "commit="),
        (dict(commit=0.9), "commit=0.9"),
        (dict(cache="dual"), "cache='dual'"),
        (dict(cache=DualCache), "cache="),
        (dict(stop_at_eos="no"), "stop_at_eos='no'"),
        (dict(eos_last=1), "eos_last=1"),
    ],
)
def test_a_part_of_a_sampler_that_is_none_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Sampler(**options)


def test_a_decoder_takes_a_sampler_and_a_generator_and_nothing_like_them():
    with pytest.raises(ValueError, match="sampler=Threshold"):
        sample(UniformDenoiser(9), [[1]], sampler=Threshold(0.9), mask_id=8)
    with pytest.raises(ValueError, match="got 7"):
        sample(UniformDenoiser(9), [[1]], sampler=Sampler(temperature=1.0), mask_id=8, generator=7)
    with pytest.raises(ValueError, match="cache="):
        autoregressive.sample(tiny_model("causal", eos_token_id=0), [[5]], cache=DualCache())


@pytest.mark.parametrize("ages", [(0,), (1.5,), (math.nan,), (True,), ()])
def test_drift_is_measured_over_whole_ages(ages):
    model = tiny_model(mask_token_id=3, eos_token_id=0)
    with pytest.raises(ValueError, match="ages?="):
        drift(model, sample(model, [[1, 2]], gen_length=2), ages=ages)


@pytest.mark.parametrize("row", [-1, 2])
def test_a_trace_has_no_rows_that_the_batch_had_not(row):
    trace = sample(UniformDenoiser(9), [[1], [2]], gen_length=2, mask_id=8).trace
    for view in (trace.states, trace.order):
        with pytest.raises(ValueError, match=f"row={row} .*0..1"):
            view(row)


def test_the_range_is_said_in_the_message():
    for arguments, message in (((90, 0, 2), "x=90 .*>= 0 and <= 2"), ((math.nan,), "x=nan must be a finite number")):
        with pytest.raises(ValueError, match=message):
            limits.number("x", *arguments)


@pytest.mark.parametrize("open, inside", [("", [0, 0.5, 1]), ("<", [0.5, 1]), (">", [0, 0.5]), ("<>", [0.5])])
def test_an_open_end_is_left_out_and_said(open, inside):
    """The command line and the decoders ask the same function."""
    for value in (-0.1, 0, 0.5, 1, 1.1):
        wrong = limits.problem(value, 0, 1, open=open)
        assert bool(wrong) == (value not in inside)
        low, high = (">" if "<" in open else ">="), ("<" if ">" in open else "<=")
        assert wrong in ("", f"must be a finite number {low} 0 and {high} 1")
    with pytest.raises(argparse.ArgumentTypeError, match="'0' must be a finite number" if "<" in open else "'x' must"):
        cli.number(float, 0, 1, open=open)("0" if "<" in open else "x")


@pytest.mark.parametrize("options", [{"mask_id": 99}, {"eos_id": 99}, {"sampler": Sampler(forbid=(99,))}])
def test_ids_outside_the_vocabulary_are_refused_by_name(options):
    with pytest.raises(ValueError, match="_id holds the id 99|forbid holds the id 99"):
        sample(tiny_model(), [[1, 2], [1]], gen_length=2, **options)


def test_ids_that_contradict_each_other_are_refused():
    for forbid in (5, None, "5"):
        with pytest.raises(ValueError, match="forbid="):
            Sampler(forbid=forbid)
    with pytest.raises(ValueError, match="eos_id=3 is the mask"):
        sample(tiny_model(mask_token_id=3), [[1]], gen_length=2, eos_id=3)
    with pytest.raises(ValueError, match=r"prompts\[1\] holds the mask, 3"):
        autoregressive.sample(tiny_model("causal", mask_token_id=3, eos_token_id=0), [[1], [1, 3]], gen_length=2)
