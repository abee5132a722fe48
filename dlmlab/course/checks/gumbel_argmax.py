"""Exercise 1.3. Looked at: temperature 0, the generator, float64, and the distribution at two temperatures."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import Cases, expect_seeded, expect_tensor, require, seeded, show, untouched
from dlmlab.course.exercises import Exercise


def check_gumbel_argmax(fn: Callable) -> None:
    """Judge an answer to 1.3."""

    def run(logits: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
        with untouched(logits=logits):
            tokens = fn(logits, temperature, generator)
        require(
            not (isinstance(tokens, Tensor) and tokens.is_floating_point()), "return token ids (argmax), not values"
        )
        expect_tensor(tokens, logits.shape[:-1], torch.long)
        return tokens

    logits = torch.randn(3, 4, 6, generator=seeded(0))  # (B, L, V)
    logits[0, 0] = torch.tensor([1.0, 3.0, 3.0, 0.0, -2.0, 3.0])
    logits[0, 1] = torch.tensor([-5.0, -3.0, -4.0, -9.0, -8.0, -7.0])
    best = run(logits, 0.0, seeded(0))
    require(
        torch.equal(logits.gather(-1, best[..., None])[..., 0], logits.amax(-1)),
        "temperature 0 must give the largest logit: no noise, and no division by the temperature",
    )
    require(best[0, 0] == 1, "temperature 0: of several largest logits take the lowest index, as argmax does")
    used = seeded(0)
    run(logits, 0.0, used)
    require(
        torch.equal(used.get_state(), seeded(0).get_state()),
        "temperature 0 drew from the generator: it needs no noise, and the next draw should not depend on it",
    )
    draw = Cases(9)
    for shape in ((1, 1, 2), (2, 3, 7), (5, 1, 4), (1, 8, 30)):
        logits = 9 * draw.normal(*shape) - 20
        right = torch.tensor([[row.index(max(row)) for row in text] for text in logits.tolist()])
        require(
            torch.equal(run(logits, 0.0, seeded(0)), right),
            f"temperature 0 must give the largest logit, for every shape; wrong for {shape}",
        )
        run(logits, 0.8, seeded(0))

    flat = torch.zeros(2, 500, 4)
    require(
        any(run(flat, 1.0, seeded(seed)).any() for seed in range(3, 13)),
        "of equal logits token 0 always wins: there is no noise, or one number for all tokens of a position",
    )
    expect_seeded(lambda generator: run(flat, 1.0, generator))
    tokens = run(flat, 1.0, seeded(3))
    require(not torch.equal(tokens[0], tokens[1]), "two rows share their noise: draw one number for each of (B, L, V)")
    changes = (tokens[:, 1:] != tokens[:, :-1]).float().mean()
    require(changes > 0.5, "all positions share their noise: draw one number for each of (B, L, V)")
    _expect_float64(run)
    for temperature in (0.5, 2.0):
        _expect_softmax(run, temperature)
    for V, temperature in ((2, 1.0), (3, 0.6), (12, 1.0), (12, 1.7)):
        _expect_softmax_exactly(run, temperature, 1.5 * draw.normal(V))


def _expect_float64(run: Callable) -> None:
    """Look where the generator stands after the draw, and at what adding a constant to all logits changes."""
    hint = "draw u with dtype=torch.float64 and add the noise to logits.double()"
    logits = torch.zeros(2, 64, 5)
    used, single, double = seeded(4), seeded(4), seeded(4)
    run(logits, 1.0, used)
    torch.rand(logits.shape, generator=single)
    torch.rand(logits.shape, generator=double, dtype=torch.float64)
    state = used.get_state()
    drew_single = torch.equal(state, single.get_state()) and not torch.equal(state, double.get_state())
    require(not drew_single, f"the noise is drawn in float32, which cuts its tail: {hint}")
    logits = torch.zeros(2, 4000, 4)
    tokens, shifted = (run(logits + constant, 2**-10, seeded(5)) for constant in (0.0, 512.0))
    require(
        (tokens != shifted).float().mean() < 0.002,
        f"adding 512 to all logits changed tokens, because float32 rounds the sum of logits and noise: {hint}",
    )


def _expect_softmax(run: Callable, T: float) -> None:
    """Compare the frequencies of tokens with softmax(logits / T), and with what known mistakes would give."""
    logits = torch.tensor([2.0, 0.0, float("-inf"), 1.0, -1.0])
    tokens = run(logits.repeat(2, 3000, 1), T, seeded(6))
    got = torch.bincount(tokens.flatten(), minlength=5) / tokens.numel()  # (V,)
    right, p = (logits / T).softmax(-1), logits.softmax(-1)
    on_probabilities = "the noise is added to probabilities: add it to the logits, without a softmax"
    mistakes = (
        ((logits * T).softmax(-1), "the temperature is inverted: a high one must make the draw more even, not less"),
        (p, "the temperature does nothing: it scales the noise, logits - T log(-log u)"),
        (p.softmax(-1), on_probabilities),
        ((p / T).softmax(-1), on_probabilities),
        (right.softmax(-1), on_probabilities),
        ((right / T).softmax(-1), on_probabilities),
    )
    numbers = f"at temperature {T:g} the frequencies are {show(got)}, softmax(logits / T) is {show(right)}"
    for wrong, message in mistakes:
        require((got - wrong).abs().max() > 0.03, f"{message}; {numbers}")
    require(got[2] == 0, f"a token whose logit is -inf was drawn; {numbers}")
    require((got - right).abs().max() < 0.04, f"{numbers}; is the noise -log(-log u), with both minus signs?")


def _expect_softmax_exactly(run: Callable, T: float, logits: Tensor) -> None:
    """Compare sixty thousand draws with the softmax: noise of another shape comes close, and not this close."""
    tokens = run(logits.repeat(3, 20_000, 1), T, seeded(7))
    got = torch.bincount(tokens.flatten(), minlength=len(logits)) / tokens.numel()  # (V,)
    off = float((got - (logits.double() / T).softmax(-1)).abs().max())
    require(
        off < 0.009,
        f"at temperature {T:g} a frequency is off by {off:.3f} for random logits of {len(logits)} tokens: only Gumbel "
        "noise, -log(-log u), makes the argmax a draw of the softmax",
    )


EXERCISE = Exercise(
    id="1.3",
    title="Sample with Gumbel noise",
    minutes=15,
    difficulty=3,
    objective="Draw tokens at a temperature, reproducibly and without losing the tail.",
    path="dlmlab.sampling.gumbel_argmax",
    stub='''\
def gumbel_argmax(logits: Tensor, temperature: float, generator: torch.Generator | None) -> Tensor:
    """Draw a token of softmax(logits / temperature) at every position; temperature 0 takes the largest logit.

    argmax over v of logits[v] - temperature * log(-log u[v]), with u uniform in [0, 1), drawn and added in float64.
    Shapes: logits (B, L, V) float32 -> (B, L) int64. `logits` is not changed.
    """
    raise NotImplementedError
''',
    hints=(
        "Two cases: temperature 0 needs no noise. Otherwise every logit of every position gets noise of its own.",
        "Noise with a double logarithm of uniform numbers, in double precision from the first draw to the argmax.",
        "u = torch.rand(logits.shape, generator=generator, dtype=torch.float64); then the formula of the docstring.",
    ),
    check=check_gumbel_argmax,
)
