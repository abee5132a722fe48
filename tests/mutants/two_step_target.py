"""Answers to exercise 14.1."""

import torch


def _log_p(teacher, ids, mask_id):
    logits = teacher(ids).clone()
    logits[..., mask_id] = -torch.inf
    return logits.log_softmax(-1)


def _draw(log_p, generator):
    return torch.multinomial(log_p.exp().flatten(0, 1), 1, generator=generator).view(log_p.shape[:2])


def _steps(teacher, xt, mask_id, first, generator, draw=_draw, log_p=_log_p):
    early = log_p(teacher, xt, mask_id)
    now = first(early, xt == mask_id)
    drawn = draw(early, generator)
    return early, now, drawn, log_p(teacher, torch.where(now, drawn, xt), mask_id)


@torch.no_grad()
def always_the_last(teacher, xt, mask_id, *, first, generator):
    return _steps(teacher, xt, mask_id, first, generator)[3]


@torch.no_grad()
def always_the_first(teacher, xt, mask_id, *, first, generator):
    return _steps(teacher, xt, mask_id, first, generator)[0]


@torch.no_grad()
def the_other_way_round(teacher, xt, mask_id, *, first, generator):
    early, now, _, late = _steps(teacher, xt, mask_id, first, generator)
    return torch.where(now[..., None], late, early)


@torch.no_grad()
def the_mean_of_both(teacher, xt, mask_id, *, first, generator):
    early, _, _, late = _steps(teacher, xt, mask_id, first, generator)
    return ((early.exp() + late.exp()) / 2).log()


@torch.no_grad()
def takes_the_most_probable(teacher, xt, mask_id, *, first, generator):
    early, now, _, late = _steps(teacher, xt, mask_id, first, generator, draw=lambda log_p, g: log_p.argmax(-1))
    torch.rand(1, generator=generator)
    return torch.where(now[..., None], early, late)


def _flat(log_p, generator):
    return torch.multinomial((0.3 * log_p).exp().flatten(0, 1), 1, generator=generator).view(log_p.shape[:2])


@torch.no_grad()
def draws_hot(teacher, xt, mask_id, *, first, generator):
    early, now, _, late = _steps(teacher, xt, mask_id, first, generator, draw=_flat)
    return torch.where(now[..., None], early, late)


@torch.no_grad()
def draws_from_the_global_generator(teacher, xt, mask_id, *, first, generator):
    early, now, _, late = _steps(teacher, xt, mask_id, first, generator, draw=lambda log_p, g: _draw(log_p, None))
    return torch.where(now[..., None], early, late)


@torch.no_grad()
def writes_everything(teacher, xt, mask_id, *, first, generator):
    early = _log_p(teacher, xt, mask_id)
    now = first(early, xt == mask_id)
    late = _log_p(teacher, torch.where(xt == mask_id, _draw(early, generator), xt), mask_id)
    return torch.where(now[..., None], early, late)


@torch.no_grad()
def writes_nothing(teacher, xt, mask_id, *, first, generator):
    early = _log_p(teacher, xt, mask_id)
    now = first(early, xt == mask_id)
    return torch.where(now[..., None], early, _log_p(teacher, xt, mask_id))


@torch.no_grad()
def writes_over_visible_tokens(teacher, xt, mask_id, *, first, generator):
    early = _log_p(teacher, xt, mask_id)
    now = first(early, xt == mask_id)
    left = (xt == mask_id) & ~now
    late = _log_p(teacher, torch.where(left, xt, _draw(early, generator)), mask_id)
    return torch.where(now[..., None], early, late)


def lets_the_teacher_learn(teacher, xt, mask_id, *, first, generator):
    early, now, _, late = _steps(teacher, xt, mask_id, first, generator)
    return torch.where(now[..., None], early, late)


def _with_mask(teacher, ids, mask_id):
    return teacher(ids).log_softmax(-1)


@torch.no_grad()
def leaves_the_mask_in(teacher, xt, mask_id, *, first, generator):
    early, now, _, late = _steps(teacher, xt, mask_id, first, generator, log_p=_with_mask)
    return torch.where(now[..., None], early, late)


@torch.no_grad()
def rules_the_mask_out_at_the_end(teacher, xt, mask_id, *, first, generator):
    early, now, _, late = _steps(teacher, xt, mask_id, first, generator, log_p=_with_mask)
    out = torch.where(now[..., None], early, late)
    out[..., mask_id] = -torch.inf
    return out.log_softmax(-1)


def _logits(teacher, ids, mask_id):
    logits = teacher(ids).clone()
    logits[..., mask_id] = -torch.inf
    return logits


@torch.no_grad()
def returns_logits(teacher, xt, mask_id, *, first, generator):
    early = _log_p(teacher, xt, mask_id)
    now = first(early, xt == mask_id)
    late = _logits(teacher, torch.where(now, _draw(early, generator), xt), mask_id)
    return torch.where(now[..., None], early, late)


@torch.no_grad()
def writes_into_xt(teacher, xt, mask_id, *, first, generator):
    early = _log_p(teacher, xt, mask_id)
    now = first(early, xt == mask_id)
    xt[now] = _draw(early, generator)[now]
    return torch.where(now[..., None], early, _log_p(teacher, xt, mask_id))


@torch.no_grad()
def asks_three_times(teacher, xt, mask_id, *, first, generator):
    out = _steps(teacher, xt, mask_id, first, generator)
    teacher(xt)
    return torch.where(out[1][..., None], out[0], out[3])


MUTANTS = {
    always_the_last: "in which it was unmasked",
    always_the_first: "knows what came first",
    the_other_way_round: "in which it was unmasked",
    the_mean_of_both: "in which it was unmasked",
    takes_the_most_probable: "draws",
    draws_hot: "temperature 1",
    draws_from_the_global_generator: "global generator",
    writes_everything: "only what `first` names",
    writes_nothing: "still sees a mask",
    writes_over_visible_tokens: "visible token was changed",
    lets_the_teacher_learn: "no_grad",
    leaves_the_mask_in: "mask",
    rules_the_mask_out_at_the_end: "mask",
    returns_logits: "log p, and not logits",
    writes_into_xt: "in place",
    asks_three_times: "two forwards",
}


@torch.no_grad()
def right(teacher, xt, mask_id, *, first, generator):
    early, now, _, late = _steps(teacher, xt, mask_id, first, generator)
    return torch.where(now[..., None], early, late)


@torch.no_grad()
def right_with_gumbel(teacher, xt, mask_id, *, first, generator):
    def gumbel(log_p, generator):
        u = torch.rand(log_p.shape, generator=generator, dtype=torch.float64)
        return (log_p.double() - (-u.log()).log()).argmax(-1)

    early, now, _, late = _steps(teacher, xt, mask_id, first, generator, draw=gumbel)
    late[now] = early[now]
    return late


RIGHT = [right, right_with_gumbel]
