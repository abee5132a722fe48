"""Exercise 1.8. Masks that the network likes and dislikes, several temperatures, every place of the mask."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import NOTHING, Cases, close, expect_seeded, expect_tensor, require, seeded, untouched
from dlmlab.course.exercises import Exercise


def check_propose(fn: Callable) -> None:
    """Judge an answer to 1.8."""

    def run(logits: Tensor, T: float, generator: torch.Generator | None, mask_id: int) -> tuple[Tensor, Tensor]:
        with untouched(logits=logits):
            out = fn(logits, T, generator, mask_id)
        require(out is not None, NOTHING)
        require(isinstance(out, tuple) and len(out) == 2, "return two tensors: tokens, confidence")
        expect_tensor(out[0], logits.shape[:2], torch.long, "tokens")
        expect_tensor(out[1], logits.shape[:2], torch.float32, "confidence")
        return out

    draw = Cases(0)
    for mask_id in range(4):
        for T in (0.0, 1.5):
            tokens, _ = run(draw.normal(3, 300, 4) - 40, T, draw.generator if T else None, mask_id)  # all far below 0
            _expect_no_mask(tokens, mask_id, T)
    for B, L, V in ((1, 1, 3), (1, 6, 4), (4, 1, 9), (3, 7, 5), (2, 40, 30)):
        for mask_id in {0, V // 2, V - 1}:
            for liked in (-4.0, 0.0, 8.0):  # far below the others, among them, far above
                logits = 2 * draw.normal(B, L, V) - 6  # all below 0
                logits[..., mask_id] += liked
                for T in (0.0, 0.7, 1.6):
                    _judge(run, logits, T, mask_id, draw)
    expect_seeded(lambda generator: run(torch.zeros(2, 200, 5), 1.0, generator, 4)[0])
    _expect_frequencies(run)


def _expect_no_mask(tokens: Tensor, mask_id: int, T: float) -> None:
    require(
        not (tokens == mask_id).any(),
        f"the mask itself was proposed, at temperature {T:g}: a text would end with masks in it; no finite logit rules "
        "a token out",
    )


def _judge(run: Callable, logits: Tensor, T: float, mask_id: int, draw: Cases) -> None:
    tokens, confidence = run(logits, T, draw.generator if T else None, mask_id)
    _expect_no_mask(tokens, mask_id, T)
    allowed = logits.double().clone()
    allowed[..., mask_id] = -torch.inf
    if T == 0:
        require(
            torch.equal(tokens, allowed.argmax(-1)), "temperature 0 proposes the most probable token, never the mask"
        )
    clean = allowed.softmax(-1).gather(-1, tokens[..., None])[..., 0]
    if close(confidence, clean, 1e-4):
        return
    with_mask = logits.double().softmax(-1).gather(-1, tokens[..., None])[..., 0]
    require(
        not close(confidence, with_mask, 1e-4),
        "the confidence still shares its probability with the mask: rule the mask out before the softmax, too",
    )
    tempered = (allowed / T).softmax(-1).gather(-1, tokens[..., None])[..., 0] if T else clean
    require(
        not close(confidence, tempered, 1e-4),
        "the confidence is that of the tempered logits: it belongs to the clean ones",
    )
    require(
        not close(confidence, allowed.softmax(-1).amax(-1), 1e-4),
        "the confidence is the largest probability, not that of the token that was drawn",
    )
    raise AssertionError(
        "the confidence should be the probability of the token in softmax(logits), without noise, without mask"
    )


def _expect_frequencies(run: Callable) -> None:
    logits = torch.tensor([0.3, 2.0, -1.0, 1.0])
    for T in (0.6, 1.5):
        tokens, _ = run(logits.repeat(1, 30_000, 1), T, seeded(3), 1)
        got = torch.bincount(tokens.flatten(), minlength=4) / tokens.numel()
        allowed = logits.clone()
        allowed[1] = -torch.inf
        off = float((got - (allowed / T).softmax(-1)).abs().max())
        require(off < 0.015, f"at temperature {T:g} a token is drawn too often or too rarely, by {off:.2f}")


EXERCISE = Exercise(
    id="1.8",
    title="Masks in a finished text: find the bug",
    minutes=10,
    difficulty=3,
    objective="Rule a token out so that no draw can bring it back.",
    path="dlmlab.loop.propose",
    kind="find the bug",
    stub='''\
def propose(
    logits: Tensor, temperature: float, generator: torch.Generator | None, mask_id: int
) -> tuple[Tensor, Tensor]:
    """Propose a token for every position, never the mask, and say how probable it is without noise and mask.

    The token is drawn from softmax(logits / temperature), the confidence is its probability in softmax(logits).
    Shapes: logits (B, L, V) float32 -> tokens (B, L) int64, confidence (B, L) float32. `logits` is not changed.
    """
    logits = logits.clone()
    logits[..., mask_id] = 0.0  # a mask is no answer
    tokens = dl.sampling.gumbel_argmax(logits, temperature, generator)
    confidence = logits.softmax(-1).gather(-1, tokens[..., None])[..., 0]
    return tokens, confidence
''',
    hints=(
        "At temperature 0 the code proposes no mask as long as some logit is above a certain number. Which one?",
        "A logit is not a probability: which value makes the probability of a token exactly 0, at any temperature?",
        "logits[..., mask_id] = -torch.inf; the two lines below it are right.",
    ),
    check=check_propose,
)
