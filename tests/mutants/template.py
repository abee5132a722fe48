"""Answers to exercise 19.1."""

import torch


def ends_after_the_solution(solution, shown, length, mask_id):
    _fits(solution, length)
    window = torch.zeros(length, dtype=solution.dtype)
    window[: len(solution)] = torch.where(shown, solution, mask_id)
    return window


def hides_what_is_shown(solution, shown, length, mask_id):
    return right(solution, ~shown, length, mask_id)


def moves_to_the_front(solution, shown, length, mask_id):
    _fits(solution, length)
    window = torch.full((length,), mask_id, dtype=solution.dtype)
    window[: int(shown.sum())] = solution[shown]
    return window


def at_the_end_of_the_window(solution, shown, length, mask_id):
    _fits(solution, length)
    window = torch.full((length,), mask_id, dtype=solution.dtype)
    window[length - len(solution) :] = torch.where(shown, solution, mask_id)
    return window


def knows_one_mask(solution, shown, length, mask_id):
    return right(solution, shown, length, 1)


def shows_by_multiplying(solution, shown, length, mask_id):
    _fits(solution, length)
    window = torch.full((length,), mask_id, dtype=solution.dtype)
    part = solution * shown
    window[: len(solution)] = torch.where(part == 0, mask_id, part)
    return window


def cuts(solution, shown, length, mask_id):
    window = torch.full((length,), mask_id, dtype=solution.dtype)
    n = min(length, len(solution))
    window[:n] = torch.where(shown, solution, mask_id)[:n]
    return window


def in_place(solution, shown, length, mask_id):
    _fits(solution, length)
    solution[~shown] = mask_id
    return torch.cat([solution, solution.new_full((length - len(solution),), mask_id)])


def shows_everything(solution, shown, length, mask_id):
    return right(solution, torch.ones_like(shown), length, mask_id)


def right(solution, shown, length, mask_id):
    _fits(solution, length)
    window = torch.full((length,), mask_id, dtype=solution.dtype)
    window[: len(solution)] = torch.where(shown, solution, mask_id)
    return window


def right_by_a_loop(solution, shown, length, mask_id):
    _fits(solution, length)
    ids = [int(t) if s else mask_id for t, s in zip(solution, shown, strict=True)]
    return torch.tensor(ids + [mask_id] * (length - len(ids)), dtype=solution.dtype)


def _fits(solution, length):
    if len(solution) > length:
        raise ValueError(f"{len(solution)} tokens in {length} places")


MUTANTS = {
    ends_after_the_solution: "give away how long",
    hides_what_is_shown: "True means given",
    moves_to_the_front: "its own place",
    at_the_end_of_the_window: "first place of the window",
    knows_one_mask: "here 3",
    shows_by_multiplying: "id 0 is a token",
    cuts: "do not fit",
    in_place: "in place",
    shows_everything: "of six tokens",
}

RIGHT = [right, right_by_a_loop]
