"""Answers to exercise 8.3."""

import torch


def _index(positions, new):
    return positions[:, None, :, None].expand_as(new)


def writes_a_copy(stored, new, positions):
    stored.scatter(2, _index(positions, new), new)


def appends(stored, new, positions):
    torch.cat([stored, new], 2)


def writes_at_the_start(stored, new, positions):
    stored[:, :, : new.shape[2]] = new


def uses_the_positions_of_row_0(stored, new, positions):
    stored[:, :, positions[0]] = new


def sorts_the_positions(stored, new, positions):
    stored.scatter_(2, _index(positions.sort(-1).values, new), new)


def one_head_only(stored, new, positions):
    stored[:, :1].scatter_(2, _index(positions, new[:, :1]), new[:, :1])


def one_number_only(stored, new, positions):
    stored.scatter_(2, positions[:, None, :, None].expand(*new.shape[:3], 1), new[..., :1])


def first_row_only(stored, new, positions):
    stored[:1].scatter_(2, _index(positions[:1], new[:1]), new[:1])


def adds(stored, new, positions):
    stored.scatter_add_(2, _index(positions, new), new)


def fills_the_range(stored, new, positions):
    stored.scatter_(2, _index(positions, new), new)
    for b, row in enumerate(positions.expand(len(stored), -1)):
        low, high = int(row.min()), int(row.max())
        if high > low + 1:
            stored[b, :, low + 1 : high] = new[b, :, :1]


def two_positions_only(stored, new, positions):
    stored.scatter_(2, _index(positions[:, :2], new[:, :, :2]), new[:, :, :2])


def two_heads_only(stored, new, positions):
    stored[:, :2].scatter_(2, _index(positions, new[:, :2]), new[:, :2])


def rounds_the_keys(stored, new, positions):
    stored.scatter_(2, _index(positions, new), new.bfloat16().float().where(new.abs() < 900, new))


MUTANTS = {
    writes_a_copy: "in place",
    appends: "in place",
    writes_at_the_start: "not at the first places",
    uses_the_positions_of_row_0: "of row 0",
    sorts_the_positions: "do not sort",
    one_head_only: "row 0",
    one_number_only: "row 0",
    first_row_only: "for all rows",
    adds: "row 0",
    fills_the_range: "out of order",
    two_positions_only: "random inputs",
    two_heads_only: "random inputs",
    rounds_the_keys: "random inputs",
}


def row_by_row(stored, new, positions):
    for b, row in enumerate(positions.expand(len(stored), -1).tolist()):
        stored[b, :, row] = new[b]


def indexed(stored, new, positions):
    rows = torch.arange(len(stored))[:, None]
    stored[rows, :, positions] = new.transpose(1, 2)


RIGHT = [row_by_row, indexed]
