"""Answers to exercise 13.1."""

import torch


def _judge(denoise, x, places, mask_id, *, drop=True, best=False, off=0):
    found, at = torch.ones(len(x)), places.nonzero()[:, 0]
    if len(at) == 0:
        return found
    rows, i = x.repeat(len(at), 1), torch.arange(len(at))
    rows[i, at] = mask_id
    logits = denoise(rows)[i, (at + off) % len(x)].clone()
    if drop:
        logits[:, mask_id] = float("-inf")
    p = logits.softmax(-1)
    found[at] = p.max(-1).values if best else p.gather(1, x[at][:, None])[:, 0]
    return found


def leaves_the_token_visible(denoise, x, places, mask_id):
    if not bool(places.any()):
        return torch.ones(len(x))
    logits = denoise(x[None])[0].clone()
    logits[:, mask_id] = float("-inf")
    return torch.where(places, logits.softmax(-1).gather(1, x[:, None])[:, 0], 1.0)


def masks_all_at_once(denoise, x, places, mask_id):
    if not bool(places.any()):
        return torch.ones(len(x))
    logits = denoise(torch.where(places, mask_id, x)[None])[0].clone()
    logits[:, mask_id] = float("-inf")
    return torch.where(places, logits.softmax(-1).gather(1, x[:, None])[:, 0], 1.0)


def gives_the_best_token(denoise, x, places, mask_id):
    return _judge(denoise, x, places, mask_id, best=True)


def gives_the_mask_a_share(denoise, x, places, mask_id):
    return _judge(denoise, x, places, mask_id, drop=False)


def asks_once_for_each_place(denoise, x, places, mask_id):
    found = torch.ones(len(x))
    for i in places.nonzero()[:, 0].tolist():
        one = torch.arange(len(x)) == i
        found[i] = _judge(denoise, x, one, mask_id)[i]
    return found


def asks_about_every_place(denoise, x, places, mask_id):
    return torch.where(places, _judge(denoise, x, torch.ones_like(places), mask_id), 1.0)


def judges_every_place(denoise, x, places, mask_id):
    return _judge(denoise, x, torch.ones_like(places), mask_id)


def gives_zero_elsewhere(denoise, x, places, mask_id):
    return torch.where(places, _judge(denoise, x, places, mask_id), 0.0)


def looks_at_the_next_place(denoise, x, places, mask_id):
    return _judge(denoise, x, places, mask_id, off=1)


def only_those_in_question(denoise, x, places, mask_id):
    return _judge(denoise, x, places, mask_id)[places]


def hides_in_the_text_itself(denoise, x, places, mask_id):
    found = _judge(denoise, x, places, mask_id)
    x[places] = mask_id
    return found


def reads_for_nobody(denoise, x, places, mask_id):
    if not bool(places.any()):
        denoise(x[None])
    return _judge(denoise, x, places, mask_id)


MUTANTS = {
    leaves_the_token_visible: "vouches for itself",
    masks_all_at_once: "all places in question are masked at once",
    gives_the_best_token: "not of what stands there",
    gives_the_mask_a_share: "it is never written",
    asks_once_for_each_place: "one call",
    asks_about_every_place: "a row for each place in question",
    judges_every_place: "a row for each place in question",
    gives_zero_elsewhere: "have confidence 1",
    looks_at_the_next_place: "random inputs",
    only_those_in_question: "shape",
    hides_in_the_text_itself: "in place",
    reads_for_nobody: "nothing has to be read",
}


def right(denoise, x, places, mask_id):
    return _judge(denoise, x, places, mask_id)


def with_an_eye(denoise, x, places, mask_id):
    found, own = torch.ones(len(x)), torch.eye(len(x), dtype=torch.bool)[places]
    if len(own):
        logits = denoise(torch.where(own, mask_id, x[None]))
        logits[..., mask_id] = float("-inf")
        p = logits.softmax(-1)[own]
        found[places] = p[torch.arange(len(own)), x[places]]
    return found


RIGHT = [right, with_an_eye]
