"""The exercises of notebook 01 and their checks.

Inputs are chosen so that look-alike bugs separate: rows with different times and mask counts, rows at t = 0 and t = 1,
token id 0 in the data, shapes that are not square, scores below zero, guidance weights other than 0 and 1.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.exercises import Exercise, expect_seeded, expect_tensor, seeded, untouched

INF = float("inf")


def check_forward_process(fn: Callable) -> None:
    """Check 1.1: the share of masked tokens in each row, where masks may go, and what else must not change."""
    mask_id, L = 9, 3000
    t = torch.tensor([0.0, 1.0, 0.1, 0.2, 0.2, 0.3, 0.6])  # the mean is far from 0.5, and 0.2 comes twice
    x0 = torch.randint(0, mask_id, (len(t), L), generator=seeded(0))  # (7, L), token id 0 is in it
    maskable = torch.rand(x0.shape, generator=seeded(1)) < 0.5  # (7, L)

    def run(seed: int | torch.Generator, x0: Tensor = x0, t: Tensor = t, mask_id: int = mask_id, **options):
        generator = seeded(seed) if isinstance(seed, int) else seed
        with untouched(x0=x0, t=t, **options):
            out = fn(x0, t, mask_id, generator=generator, **options)
        assert out is not None, "the result is None: the function returns nothing; is there a return statement?"
        assert isinstance(out, tuple) and len(out) == 2, "return two tensors: xt, masked"
        expect_tensor(out[0], x0.shape, x0.dtype, "xt")
        expect_tensor(out[1], x0.shape, torch.bool, "masked")
        return out

    run(0)
    expect_seeded(lambda generator: run(generator)[1])
    xt, masked = run(0)
    _expect_rates(x0, t, masked)
    _expect_hidden(xt, masked, x0, mask_id)

    xt, masked = run(0, maskable=maskable)
    assert not (masked & ~maskable).any(), "maskable is ignored: tokens outside it were masked"
    assert masked[1][maskable[1]].all(), "at t = 1 every maskable token of the row should be masked"
    rate = (masked & maskable).sum(1) / maskable.sum(1)  # (7,)
    assert torch.allclose(rate, t, atol=0.07), (
        f"among the maskable tokens the share of masked ones is {_show(rate)}, it should be near t = {_show(t)}"
    )
    _expect_hidden(xt, masked, x0, mask_id)

    xt, _ = run(0, x0=torch.tensor([[3, 1, 2]]), t=torch.ones(1), mask_id=0)
    assert xt.tolist() == [[0, 0, 0]], "mask_id = 0 is an id like any other"


def _expect_rates(x0: Tensor, t: Tensor, masked: Tensor) -> None:
    rate = masked.float().mean(1)  # (7,)
    inner = (t > 0) & (t < 1)
    assert not ((rate == 0) | (rate == 1))[inner].all(), (
        "one draw decides about a whole row: draw a number for every token, of shape x0.shape"
    )
    assert not torch.allclose(rate, 1 - t, atol=0.05), (
        "tokens are masked with probability 1 - t: t is the share that is hidden, 1 - t the share that is kept"
    )
    assert not torch.allclose(rate, t.mean().expand_as(t), atol=0.05), (
        f"one mask rate for the whole batch ({rate.mean():.2f} in every row): each row has its own t[b]"
    )
    assert masked[1][x0[1] == 0].any(), "token id 0 is never masked: it is an ordinary token, not an empty place"
    assert not masked[0].any(), "a row with t = 0 must stay clean"
    assert masked[1].all(), "a row with t = 1 must be masked everywhere"
    assert torch.allclose(rate, t, atol=0.05), f"the shares of masked tokens are {_show(rate)}, not near t = {_show(t)}"
    assert not torch.equal(masked[3], masked[4]), "two rows with the same t share their draws: each row needs its own"
    assert any(abs(masked[b].sum() - t[b] * x0.shape[1]) > 0.5 for b in inner.nonzero()[:, 0]), (
        "every row has exactly t * L masks: each token should be masked independently, so the count varies"
    )


def _expect_hidden(xt: Tensor, masked: Tensor, x0: Tensor, mask_id: int) -> None:
    assert bool((xt[masked] == mask_id).all()), "masked is True where xt does not hold mask_id"
    assert torch.equal(xt[~masked], x0[~masked]), "xt differs from x0 where masked is False: visible tokens must stay"


def _show(values: Tensor) -> str:
    return "[" + ", ".join(f"{v:.2f}" for v in values.tolist()) + "]"


FORWARD_PROCESS = Exercise(
    id="1.1",
    title="Hide tokens at time t",
    minutes=10,
    difficulty=2,
    objective="Write the forward process of masked diffusion.",
    path="dlmlab.noise.forward_process",
    stub='''\
def forward_process(
    x0: Tensor, t: Tensor, mask_id: int, *, maskable: Tensor | None = None, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Mask each token of row b with probability t[b], independently of the others.

    Shapes: x0 (B, L), t (B,), maskable (B, L) bool or None for everything -> xt (B, L), masked (B, L) bool.
    xt holds mask_id where masked is True, and x0 elsewhere. Only maskable tokens may be masked. No input is changed.
    """
    raise NotImplementedError
''',
    hints=(
        "An event of probability p happens when a uniform number in [0, 1) is below p. How many numbers do you need?",
        "Compare torch.rand(x0.shape, generator=generator) with t[:, None], of shape (B, 1); torch.where builds xt.",
    ),
    check=check_forward_process,
)


def check_num_transfer_tokens(fn: Callable) -> None:
    """Check 1.2: length, sum, evenness and order of the parts."""
    for masks, steps in ((10, 4), (11, 4), (3, 5), (0, 3), (7, 1), (12, 4), (29, 7), (1, 1)):
        parts = fn(masks, steps)
        assert parts is not None, "the result is None: the function returns nothing; is there a return statement?"
        assert isinstance(parts, list), f"the result is a {type(parts).__name__}, it should be a list of {steps} int"
        assert all(type(n) is int for n in parts), f"{parts} should hold whole numbers of type int"
        case = f"for {masks} masks in {steps} steps: {parts}"
        assert len(parts) == steps, f"{len(parts)} numbers {case}; a step that commits nothing stays in the list, as 0"
        assert all(n >= 0 for n in parts), f"a step cannot take tokens back {case}"
        lost = masks - sum(parts)
        assert lost <= 0, f"{lost} masks are lost {case}; rounding down forgets the remainder"
        assert lost >= 0, f"{-lost} too many {case}; rounding up spends the remainder more than once"
        assert max(parts) - min(parts) <= 1, f"uneven {case}; parts may differ by 1 at most: share out the remainder"
        assert parts == sorted(parts, reverse=True), f"the larger parts must come first {case}"


NUM_TRANSFER_TOKENS = Exercise(
    id="1.2",
    title="Share masks among steps",
    minutes=5,
    difficulty=1,
    objective="Plan how many tokens each step commits.",
    path="dlmlab.commit.num_transfer_tokens",
    stub='''\
def num_transfer_tokens(masks: int, steps: int) -> list[int]:
    """Spread `masks` commits over `steps` steps as evenly as possible, the larger parts first.

    One int a step; a step may get 0. masks >= 0, steps >= 1. Example: 10 masks in 4 steps are [3, 3, 2, 2].
    """
    raise NotImplementedError
''',
    hints=(
        "divmod(masks, steps) gives what every step gets, and how many are left over.",
        "The first `rest` steps get base + 1, the others base. Whole numbers only: no /, no round.",
    ),
    check=check_num_transfer_tokens,
)


def check_gumbel_argmax(fn: Callable) -> None:
    """Check 1.3: the temperature 0, the generator, float64, and the distribution at two temperatures."""

    def run(logits: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
        with untouched(logits=logits):
            tokens = fn(logits, temperature, generator)
        assert not (isinstance(tokens, Tensor) and tokens.is_floating_point()), "return token ids (argmax), not values"
        expect_tensor(tokens, logits.shape[:-1], torch.long)
        return tokens

    logits = torch.randn(3, 4, 6, generator=seeded(0))  # (B, L, V)
    logits[0, 0] = torch.tensor([1.0, 3.0, 3.0, 0.0, -2.0, 3.0])
    logits[0, 1] = torch.tensor([-5.0, -3.0, -4.0, -9.0, -8.0, -7.0])
    best = run(logits, 0.0, seeded(0))
    assert torch.equal(logits.gather(-1, best[..., None])[..., 0], logits.amax(-1)), (
        "temperature 0 must give the largest logit: no noise, and no division by the temperature"
    )
    assert best[0, 0] == 1, "temperature 0: of several largest logits take the lowest index, as argmax does"

    flat = torch.zeros(2, 500, 4)
    expect_seeded(lambda generator: run(flat, 1.0, generator))
    tokens = run(flat, 1.0, seeded(3))
    assert tokens.unique().numel() == 4, "equal logits must give every token a chance: is there noise on each logit?"
    assert not torch.equal(tokens[0], tokens[1]), "two rows share their noise: draw one number for each of (B, L, V)"
    changes = (tokens[:, 1:] != tokens[:, :-1]).float().mean()
    assert changes > 0.5, "all positions share their noise: draw one number for each of (B, L, V)"
    _expect_float64(run)
    for temperature in (0.5, 2.0):
        _expect_softmax(run, temperature)


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
    assert not drew_single, f"the noise is drawn in float32, which cuts its tail: {hint}"
    logits = torch.zeros(2, 20_000, 4)
    tokens, shifted = (run(logits + constant, 2**-7, seeded(5)) for constant in (0.0, 512.0))
    assert (tokens != shifted).sum() <= 5, (
        f"adding 512 to all logits changed tokens, because float32 rounds the sum of logits and noise: {hint}"
    )


def _expect_softmax(run: Callable, T: float) -> None:
    """Compare the frequencies of tokens with softmax(logits / T), and with what known mistakes would give."""
    logits = torch.tensor([2.0, 0.0, -INF, 1.0, -1.0])
    tokens = run(logits.repeat(2, 20_000, 1), T, seeded(6))
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
    numbers = f"at temperature {T:g} the frequencies are {_show(got)}, softmax(logits / T) is {_show(right)}"
    for wrong, message in mistakes:
        assert (got - wrong).abs().max() > 0.015, f"{message}; {numbers}"
    assert tokens.unique().tolist() == [0, 1, 3, 4], f"a token whose logit is -inf was drawn; {numbers}"
    assert (got - right).abs().max() < 0.02, f"{numbers}; check the two minus signs of the noise, -log(-log u)"


GUMBEL_ARGMAX = Exercise(
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
        "u = torch.rand(logits.shape, generator=generator, dtype=torch.float64); then the formula of the docstring.",
    ),
    check=check_gumbel_argmax,
)


def check_threshold_commit(fn: Callable) -> None:
    """Check 1.4: batches of two or three rows, each made for one mistake."""

    def run(score: list[list[float]], eligible: list[list[int]], tau: float) -> list[list[int]]:
        s, e = torch.tensor(score), torch.tensor(eligible, dtype=torch.bool)
        with untouched(score=s, eligible=e):
            take = fn(s, e, tau)
        expect_tensor(take, s.shape, torch.bool)
        return take.int().tolist()

    everywhere = [[1, 1, 1], [1, 1, 1]]
    take = run([[0.75, 0.5, 0.25], [0.5, 0.125, 1.0]], everywhere, 0.5)
    assert take != [[1, 0, 0], [0, 0, 1]], "a score equal to tau must pass: the rule is >= tau, not > tau"
    assert take == [[1, 1, 0], [1, 0, 1]], f"every score >= tau must be taken, and no other; got {take}"

    take = run([[0.1, 0.3, 0.2], [0.4, 0.1, 0.2]], everywhere, 0.5)
    assert any(map(any, take)), "nothing passes and nothing is taken: the loop would not end; take the best of each row"
    assert all(map(any, take)), "the best one is taken per batch, not per row: every row needs its own"
    assert take == [[0, 1, 0], [1, 0, 0]], f"where nothing passes, the one best of each row must be taken; got {take}"
    take = run([[0.1, 0.9, 0.2], [0.4, 0.1, 0.2]], everywhere, 0.5)
    assert take == [[0, 1, 0], [1, 0, 0]], (
        f"a row where nothing passes needs its best one per row, whatever passes in the rest of the batch; got {take}"
    )

    eligible = [[1, 1, 0, 1], [1, 0, 1, 1], [0, 0, 0, 0]]  # row 2 is finished
    take = run([[0.6, 0.1, 0.9, 0.7], [0.2, 0.9, 0.3, 0.1], [0.9, 0.1, 0.2, 0.3]], eligible, 0.5)
    assert not any(t > e for row, free in zip(take, eligible, strict=True) for t, e in zip(row, free, strict=True)), (
        "a position that is not eligible was taken: it holds a token already, or lies outside the block"
    )
    take = run([[0.1, 0.2, 0.9, 0.3], [0.2, 0.4, 0.3, 0.1], [0.9, 0.1, 0.2, 0.3]], eligible, 0.5)
    assert take == [[0, 0, 0, 1], [0, 0, 1, 0], [0, 0, 0, 0]], (
        f"nothing passes: the best one must be looked for among the eligible positions only; got {take}"
    )
    take = run([[-0.7, -0.4, -0.1, -0.9], [-3.0, -0.1, -2.0, -2.5], [-1.0, -1.0, -1.0, -1.0]], eligible, -0.3)
    assert take == [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]], (
        f"scores may be negative (minus the entropy): positions that are not eligible need -inf, not 0; got {take}"
    )
    take = run([[0.2, 0.3, 0.3], [0.1, 0.1, 0.1]], everywhere, 0.5)
    assert take == [[0, 1, 0], [1, 0, 0]], (
        f"a tie for the best goes to the lowest index, which is the only one taken; got {take}"
    )


THRESHOLD_COMMIT = Exercise(
    id="1.4",
    title="Commit what is sure enough",
    minutes=15,
    difficulty=3,
    objective="Decide by a threshold which positions become tokens, and never stall.",
    path="dlmlab.commit.threshold_commit",
    stub='''\
def threshold_commit(score: Tensor, eligible: Tensor, tau: float) -> Tensor:
    """Take every eligible position whose score is at least tau, and in each row always the best eligible one.

    Of equal best scores the lowest index counts as the best. A row without eligible positions takes nothing.
    Shapes: score (B, L), finite, perhaps negative; eligible (B, L) bool -> take (B, L) bool. No input is changed.
    """
    raise NotImplementedError
''',
    hints=(
        "Two conditions joined by `or`: the score reaches tau; the position is the best of its row. Both eligible only.",
        "Fill score with -inf where it is not eligible; argmax(-1) is the best of each row; scatter it into a mask.",
    ),
    check=check_threshold_commit,
)


def check_guided_logits(fn: Callable) -> None:
    """Check 1.5: what the denoiser was shown, then how its two answers are blended."""
    mask_id = 8
    x = torch.tensor([[3, 0, 5, 2, 8, 6, 8], [0, 0, 4, 8, 7, 8, 1]])  # (B=2, L=7); row 1 starts with two pads
    blind = torch.tensor([[8, 8, 8, 2, 8, 6, 8], [0, 0, 8, 8, 7, 8, 1]])
    given = torch.tensor([[1, 1, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0, 0]], dtype=torch.bool)
    pads = torch.tensor([[0, 0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0]], dtype=torch.bool)
    for valid, w in ((~pads, 2.0), (~pads, 0.25), (None, 2.0)):
        denoise = _ToyDenoiser()
        with untouched(x=x, given=given, **({} if valid is None else {"valid": valid})):
            out = fn(denoise, x, valid, given, w, mask_id)
        _expect_passes(denoise.shown, x, blind, valid, given, pads)
        expect_tensor(out, (2, 7, 5), torch.float32)
        _expect_blend(out, denoise(x, valid), denoise(blind, valid), w)


class _ToyDenoiser:
    """A denoiser in which every position depends on every token that is attended, and which notes what it is shown."""

    def __init__(self):
        self.shown: list[tuple[list[int], list[bool] | None]] = []

    def __call__(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        self.shown += zip(x.tolist(), [None] * len(x) if valid is None else valid.tolist(), strict=True)
        position, v = torch.arange(1, x.shape[1] + 1), torch.arange(1, 6)
        attended = x * position if valid is None else x * position * valid  # (B, L)
        return torch.sin(1.3 * position[:, None] * v + 0.7 * attended.sum(1)[:, None, None] * v)  # (B, L, 5)


def _expect_passes(shown: list, x: Tensor, blind: Tensor, valid: Tensor | None, given: Tensor, pads: Tensor) -> None:
    B = len(x)
    masks = [None] * B if valid is None else valid.tolist()
    if sorted(map(str, shown)) == sorted(map(str, zip(x.tolist() + blind.tolist(), masks * 2, strict=True))):
        return  # in any order: two calls, or one of twice the size
    assert len(shown) == 2 * B, (
        f"{len(shown)} rows went through denoise, it should be {2 * B}: one pass with the given tokens, one without"
    )
    row = torch.arange(2 * B) % B
    changed = torch.tensor([ids for ids, _ in shown]) != x[row]  # (2B, L)
    assert changed.any(), "both passes saw the same x: nothing was masked, so guidance has no effect"
    assert not (changed & ~given[row] & ~pads[row]).any(), (
        "the blind pass also masks generated tokens: only the given ones, where `given` is True, are hidden"
    )
    assert not (changed & pads[row]).any(), "the blind pass masks the padding: it is not given, it must stay"
    assert [mask for _, mask in shown] == masks * 2, "both passes need `valid` as it came: padding is not attended"
    raise AssertionError("one pass must show x as it is, the other x with mask_id in place of every given token")


def _expect_blend(out: Tensor, cond: Tensor, un: Tensor, w: float) -> None:
    mistakes = (
        (w * cond + (1 - w) * un, "the weight is w instead of w + 1: w = 0 must give the plain conditional logits"),
        ((1 + w) * un - w * cond, "cond and un are swapped: guidance leads away from the blind logits"),
        ((1 + w) * cond, "un is missing: the conditional logits are only scaled"),
        (cond + w * un, "un is added: what counts is the difference cond - un"),
    )
    for wrong, message in mistakes:
        assert not torch.allclose(out, wrong, atol=1e-4), message
    right = un + (w + 1) * (cond - un)
    assert torch.allclose(out, right, atol=1e-4), f"at w = {w:g} the result is not un + (w + 1)(cond - un)"


GUIDED_LOGITS = Exercise(
    id="1.5",
    title="Guide with a blind pass",
    minutes=15,
    difficulty=3,
    objective="Strengthen the influence of the question by comparing with a pass that cannot see it.",
    path="dlmlab.sampling.guided_logits",
    stub='''\
def guided_logits(
    denoise: Callable, x: Tensor, valid: Tensor | None, given: Tensor, w: float, mask_id: int
) -> Tensor:
    """Blend logits with and without the given tokens: un + (w + 1)(cond - un).

    cond comes from denoise(x, valid), un from the same call with every given token masked; all else stays as it is.
    Shapes: x (B, L), valid (B, L) bool or None, given (B, L) bool, logits and result (B, L, V). No input is changed.
    """
    raise NotImplementedError
''',
    hints=(
        "Make a second input in which `given` positions hold mask_id. Generated tokens, masks and padding stay.",
        "torch.where(given, mask_id, x) does not touch x. Both calls get the same `valid`. w = 0 must give cond.",
    ),
    check=check_guided_logits,
)

EXERCISES = (FORWARD_PROCESS, NUM_TRANSFER_TOKENS, GUMBEL_ARGMAX, THRESHOLD_COMMIT, GUIDED_LOGITS)
