"""Answers to exercise 1.6."""

import torch


def _propose(logits, mask_id):
    logits = logits.clone()
    logits[..., mask_id] = -torch.inf
    return logits.softmax(-1).max(-1)


def _loop(denoise, x, commit, mask_id, *, propose=_propose, keep=True):
    x, forwards = x.clone(), torch.zeros(len(x), dtype=torch.long)
    while (x == mask_id).any():
        eligible = x == mask_id
        score, token = propose(denoise(x), mask_id)
        take = commit(score, eligible)
        take = take & eligible if keep else take
        if not take.any():
            raise ValueError("nothing committed")
        x = torch.where(take, token, x)
        forwards += eligible.any(1)
    return x, forwards


def commits_masks(denoise, x, commit, mask_id):
    return _loop(denoise, x, commit, mask_id, propose=lambda logits, _: logits.softmax(-1).max(-1))


def confidence_with_the_mask(denoise, x, commit, mask_id):
    def propose(logits, mask_id):
        p = logits.softmax(-1)
        p[..., mask_id] = 0.0
        return p.max(-1)

    return _loop(denoise, x, commit, mask_id, propose=propose)


def ranks_by_logits(denoise, x, commit, mask_id):
    def propose(logits, mask_id):
        logits[..., mask_id] = -torch.inf
        return logits.max(-1)

    return _loop(denoise, x, commit, mask_id, propose=propose)


def overwrites_what_stands(denoise, x, commit, mask_id):
    return _loop(denoise, x, commit, mask_id, keep=False)


def everything_is_eligible(denoise, x, commit, mask_id):
    return _loop(denoise, x, lambda score, eligible: commit(score, torch.ones_like(eligible)), mask_id)


def writes_into_x(denoise, x, commit, mask_id):
    filled, forwards = _loop(denoise, x, commit, mask_id)
    x.copy_(filled)
    return x, forwards


def asks_once(denoise, x, commit, mask_id):
    score, token = _propose(denoise(x), mask_id)
    x, forwards = x.clone(), torch.zeros(len(x), dtype=torch.long)
    while (x == mask_id).any():
        eligible = x == mask_id
        take = commit(score, eligible) & eligible
        x = torch.where(take, token, x)
        forwards += eligible.any(1)
    return x, forwards


def commits_everything_at_once(denoise, x, commit, mask_id):
    eligible = x == mask_id
    if not eligible.any():
        return x.clone(), eligible.any(1).long()
    _, token = _propose(denoise(x), mask_id)
    return torch.where(eligible, token, x), eligible.any(1).long()


def tokens_of_the_forward_before(denoise, x, commit, mask_id):
    before = []

    def propose(logits, mask_id):
        score, token = _propose(logits, mask_id)
        before.append(token)
        return score, before[max(len(before) - 2, 0)]

    return _loop(denoise, x, commit, mask_id, propose=propose)


def one_number_of_forwards_for_all(denoise, x, commit, mask_id):
    x, forwards = _loop(denoise, x, commit, mask_id)
    return x, forwards.amax().expand_as(forwards)


def counts_a_forward_too_many(denoise, x, commit, mask_id):
    x, forwards = _loop(denoise, x, commit, mask_id)
    return x, forwards + 1


def predicts_before_it_looks(denoise, x, commit, mask_id):
    denoise(x)
    return _loop(denoise, x, commit, mask_id)


def never_ends(denoise, x, commit, mask_id):
    x, forwards = x.clone(), torch.zeros(len(x), dtype=torch.long)
    while (x == mask_id).any():
        eligible = x == mask_id
        score, token = _propose(denoise(x), mask_id)
        x = torch.where(commit(score, eligible) & eligible, token, x)
        forwards += eligible.any(1)
    return x, forwards


def stops_with_the_first_row(denoise, x, commit, mask_id):
    x, forwards = x.clone(), torch.zeros(len(x), dtype=torch.long)
    while (x == mask_id).any(1).all():
        eligible = x == mask_id
        score, token = _propose(denoise(x), mask_id)
        x = torch.where(commit(score, eligible) & eligible, token, x)
        forwards += eligible.any(1)
    return x, forwards


def as_many_turns_as_masks(denoise, x, commit, mask_id):
    x, forwards = x.clone(), torch.zeros(len(x), dtype=torch.long)
    for _ in range(int((x == mask_id).sum(1).max()) // 2 + 1):
        eligible = x == mask_id
        if not eligible.any():
            break
        score, token = _propose(denoise(x), mask_id)
        x = torch.where(commit(score, eligible) & eligible, token, x)
        forwards += eligible.any(1)
    return x, forwards


def returns_the_ids_only(denoise, x, commit, mask_id):
    return _loop(denoise, x, commit, mask_id)[0]


def returns_nothing(denoise, x, commit, mask_id):
    _loop(denoise, x, commit, mask_id)


MUTANTS = {
    commits_masks: "probability of the most probable token",
    confidence_with_the_mask: "still in the softmax",
    ranks_by_logits: "probability of the most probable token",
    overwrites_what_stands: "stood there was changed",
    everything_is_eligible: "exactly where a mask stands",
    writes_into_x: "in place",
    asks_once: "just read",
    commits_everything_at_once: "ask the denoiser again",
    tokens_of_the_forward_before: "tokens of this forward",
    one_number_of_forwards_for_all: "forwards should be",
    counts_a_forward_too_many: "forwards should be",
    predicts_before_it_looks: "before you predict",
    never_ends: "does not end",
    stops_with_the_first_row: "masks are left",
    as_many_turns_as_masks: "masks are left",
    returns_the_ids_only: "return two tensors",
    returns_nothing: "return statement",
}


def row_by_row(denoise, x, commit, mask_id):
    rows = [_loop(denoise, x[b : b + 1], commit, mask_id) for b in range(len(x))]
    return torch.cat([ids for ids, _ in rows]), torch.cat([n for _, n in rows])


def only_rows_that_go_on(denoise, x, commit, mask_id):
    x, forwards = x.clone(), torch.zeros(len(x), dtype=torch.long)
    while len(rows := (x == mask_id).any(1).nonzero()[:, 0]):
        now = x[rows]
        logits = denoise(now).index_fill(-1, torch.tensor([mask_id]), -torch.inf)
        token = logits.argmax(-1)
        score = logits.log_softmax(-1).gather(-1, token[..., None])[..., 0].exp()
        take = commit(score, now == mask_id) & (now == mask_id)
        if not take.any():
            raise ValueError
        now[take] = token[take]
        x[rows] = now
        forwards[rows] += 1
    return x, forwards


RIGHT = [_loop, row_by_row, only_rows_that_go_on]
