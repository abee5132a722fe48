"""Exercise 14.1. A teacher whose second guess tells what it was shown; sure and unsure first guesses; all, some, none
of the masks first."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import (
    Cases,
    close,
    expect_same,
    expect_seeded,
    expect_tensor,
    require,
    seeded,
    untouched,
)
from dlmlab.course.exercises import Exercise


class _Teacher:
    """A teacher that notes what it is shown; its guess depends on all visible tokens and on how many masks are left."""

    def __init__(self, draw: Cases, L: int, V: int, mask_id: int, scale: float):
        self.seen, self.mask_id, self.L = [], mask_id, L
        self.table = (scale * draw.normal(7, L + 1, L, V)).requires_grad_()

    def __call__(self, ids: Tensor) -> Tensor:
        require(ids.shape[-1:] == (self.L,), f"the teacher reads ids (B, {self.L}), it was given {tuple(ids.shape)}")
        self.seen.append(ids.clone())
        return self.guess(ids)

    def guess(self, ids: Tensor) -> Tensor:
        hidden = ids == self.mask_id
        place = torch.arange(1, self.L + 1)
        return self.table[torch.where(hidden, 0, (ids + 1) * place).sum(-1) % 7, hidden.sum(-1)]

    def log_p(self, ids: Tensor) -> Tensor:
        logits = self.guess(ids).detach().clone()
        logits[..., self.mask_id] = -torch.inf
        return logits.log_softmax(-1)


def check_two_step_target(fn: Callable) -> None:
    """Judge an answer to 14.1."""
    draw = Cases(141)
    for B, L, V, mask_id in ((1, 3, 4, 3), (3, 5, 6, 2), (2, 8, 5, 0), (4, 1, 3, 1)):
        teacher = _Teacher(draw, L, V, mask_id, scale=3.0)
        xt = draw.ids(V, B, L)
        xt[draw.bools(B, L, share=0.6)] = mask_id
        if L == 8:
            xt[0] = mask_id
        _one_case(fn, teacher, xt, draw.bools(B, L, share=0.5) & (xt == mask_id), mask_id)
    _spread(fn)


def _one_case(fn: Callable, teacher: _Teacher, xt: Tensor, now: Tensor, mask_id: int) -> None:
    asked = []

    def first(log_p: Tensor, masked: Tensor) -> Tensor:
        asked.append((log_p.detach().clone(), masked.clone()))
        return now

    with untouched(xt=xt):
        out = fn(teacher, xt, mask_id, first=first, generator=seeded(5))
    expect_tensor(out, (*xt.shape, teacher.table.shape[-1]), teacher.table.dtype)
    require(not out.requires_grad, "a gradient flows into the teacher: it learns nothing here, torch.no_grad()")
    require(len(teacher.seen) == 2, f"two steps are two forwards of the teacher, not {len(teacher.seen)}")
    start, second = teacher.seen
    require(torch.equal(start, xt), "the first forward reads xt as it is")
    require(bool((second != mask_id)[now].all()), "the second forward still sees a mask where the first step wrote")
    require(
        bool((second == mask_id)[(xt == mask_id) & ~now].all()),
        "the second forward sees tokens at places that were not unmasked: only what `first` names is written",
    )
    require(torch.equal(second[~now], xt[~now]), "a visible token was changed between the two forwards")
    early, late = teacher.log_p(xt), teacher.log_p(second)
    require(len(asked) == 1, "`first` is asked once, after the first forward")
    require(
        close(asked[0][0].exp(), early.exp(), 1e-4) and torch.equal(asked[0][1], xt == mask_id),
        "`first` is given log p of the first forward, without the mask, and which places are masked",
    )
    require(bool(out[..., mask_id].isneginf().all()), "the mask is no token: its log p is -inf at every place")
    right, p = torch.where(now[..., None], early, late).exp(), out.exp()
    differ, rest = bool(now.any()) and not close(early.exp(), late.exp(), 1e-3), (xt == mask_id) & ~now
    require(
        close(p.sum(-1), torch.ones(xt.shape), 1e-4), "a row of the result is no distribution: log p, and not logits"
    )
    if differ:
        require(
            close(p[now], right[now], 1e-4),
            "a place of the first step has the distribution of the step in which it was unmasked, the first: the "
            "second forward sees the token that was drawn",
        )
        require(
            close(p[rest], right[rest], 1e-4),
            "a place that was still masked has the second step's distribution, which knows what came first",
        )
    expect_same(p, right, "a random teacher", 1e-4)


def _spread(fn: Callable) -> None:
    """Judge the draws: from the first guess, at temperature 1, from the generator."""
    B, L, V = 1500, 2, 4
    share = torch.tensor([0.5, 0.3, 0.2, 0.0])
    seen = []

    def teacher(ids: Tensor) -> Tensor:
        seen.append(ids.clone())
        logits = share.clamp(min=1e-9).log().expand(len(ids), L, V).clone()
        logits[..., 3] = 5.0  # the mask: to be ruled out
        return logits

    def drawn(generator: torch.Generator) -> Tensor:
        seen.clear()
        out = fn(teacher, torch.full((B, L), 3), 3, first=lambda log_p, masked: masked, generator=generator)
        expect_same(out.exp(), share.expand(B, L, V), "a teacher that always says the same", 1e-4)
        return seen[1]

    tokens = drawn(seeded(6))
    found = torch.stack([(tokens == v).float().mean() for v in range(V)])
    require(float(found[3]) == 0, "the mask was drawn: rule it out before you draw")
    require(float(found.max()) < 0.99, "the most probable token was taken everywhere: a step of the sampler *draws* it")
    require(close(found, share, 0.05), "tokens are drawn with the probabilities of the first guess, temperature 1")
    expect_seeded(drawn)
    alike = (tokens[:, 0] == tokens[:, 1]).float().mean()
    require(abs(float(alike) - 0.38) < 0.08, "two places of a row were drawn with the same noise")


EXERCISE = Exercise(
    id="14.1",
    title="Two steps of a teacher",
    minutes=20,
    difficulty=3,
    objective="Say from which step of a teacher the target of a token comes.",
    path="dlmlab.distill.two_step_target",
    stub='''\
def two_step_target(teacher, xt: Tensor, mask_id: int, *, first, generator: torch.Generator) -> Tensor:
    """Let a teacher take two steps from xt, and give its log p of the step in which each place is unmasked.

    Step one: a forward; where first(log p, masked) is True, a token is drawn (temperature 1). Step two: a forward that
    sees these, too; it unmasks the rest. The mask has log p -inf, before anything else.
    Shapes: teacher(ids (B, L)) -> logits (B, L, V), xt (B, L) -> (B, L, V). `xt` is not changed, no gradient.
    """
    raise NotImplementedError
''',
    hints=(
        "Write down a text of three masks. The first is unmasked in step one. Which forwards have a say about it?",
        "There are two distributions for every place. Step one unmasks some places: those are settled by the first "
        "forward. For all others the second forward is the last to speak.",
        "early = log_p(xt); now = first(early, xt == mask_id); late = log_p(torch.where(now, drawn, xt)); "
        "return torch.where(now[..., None], early, late)",
    ),
    check=check_two_step_target,
)
