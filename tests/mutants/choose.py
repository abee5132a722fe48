"""Answers to exercise 8.4."""

import torch


def _top(rise, candidate, target):
    order = rise.masked_fill(~candidate, -torch.inf).argsort(dim=1, descending=True, stable=True)
    return (order.argsort(dim=1) < target[:, None]) & candidate


def _steep(rise, candidate):
    n = candidate.sum(1, keepdim=True)
    mean = (rise * candidate).sum(1, keepdim=True) / n
    spread = (((rise - mean) ** 2 * candidate).sum(1, keepdim=True) / n).sqrt()
    return (rise >= mean + spread) & candidate


def _join(top, steep, target):
    return torch.where(steep.sum(1, keepdim=True) >= target[:, None], steep, top)


def _left(keep, candidate):
    shifted = torch.zeros_like(keep)
    shifted[:, :-1] = keep[:, 1:]
    return keep | (shifted & candidate)


def forgets_the_neighbours(rise, candidate, target):
    return _join(_top(rise, candidate, target), _steep(rise, candidate), target)


def right_neighbours(rise, candidate, target):
    keep = forgets_the_neighbours(rise, candidate, target)
    shifted = torch.zeros_like(keep)
    shifted[:, 1:] = keep[:, :-1]
    return keep | (shifted & candidate)


def wraps_around(rise, candidate, target):
    keep = forgets_the_neighbours(rise, candidate, target)
    return keep | (keep.roll(-1, 1) & candidate)


def only_the_target(rise, candidate, target):
    return _left(_top(rise, candidate, target), candidate)


def only_the_steep(rise, candidate, target):
    return _left(_steep(rise, candidate), candidate)


def counts_what_is_no_candidate(rise, candidate, target):
    everything = torch.ones_like(candidate)
    return _left(_join(_top(rise, everything, target), _steep(rise, everything), target), everything)


def mean_over_all(rise, candidate, target):
    n = rise.shape[1]
    mean = rise.mean(1, keepdim=True)
    steep = (rise >= mean + ((rise - mean) ** 2).sum(1, keepdim=True).div(n).sqrt()) & candidate
    top = (rise * candidate).argsort(dim=1, descending=True, stable=True).argsort(dim=1) < target[:, None]
    return _left(_join(top & candidate, steep, target), candidate)


def the_flattest(rise, candidate, target):
    return _left(_top(-rise, candidate, target), candidate)


def target_of_the_first_row(rise, candidate, target):
    first = target[:1].expand_as(target)
    return _left(_join(_top(rise, candidate, first), _steep(rise, candidate), first), candidate)


def one_less_than_the_number(rise, candidate, target):
    n = candidate.sum(1, keepdim=True)
    mean = (rise * candidate).sum(1, keepdim=True) / n
    spread = (((rise - mean) ** 2 * candidate).sum(1, keepdim=True) / (n - 1)).sqrt()
    return _left(_join(_top(rise, candidate, target), (rise >= mean + spread) & candidate, target), candidate)


def median_for_mean(rise, candidate, target):
    values = torch.where(candidate, rise, torch.nan)
    centre = values.nanmedian(1, keepdim=True).values
    spread = ((values - values.nanmean(1, keepdim=True)) ** 2).nanmean(1, keepdim=True).sqrt()
    return _left(_join(_top(rise, candidate, target), values >= centre + spread, target), candidate)


def mean_absolute_deviation(rise, candidate, target):
    values = torch.where(candidate, rise, torch.nan)
    mean = values.nanmean(1, keepdim=True)
    limit = mean + (values - mean).abs().nanmean(1, keepdim=True)
    return _left(_join(_top(rise, candidate, target), values >= limit, target), candidate)


def neighbours_of_neighbours(rise, candidate, target):
    keep = _left(_join(_top(rise, candidate, target), _steep(rise, candidate), target), candidate)
    return _left(keep, candidate)


MUTANTS = {
    forgets_the_neighbours: "left neighbour",
    right_neighbours: "left",
    wraps_around: "no left neighbour",
    only_the_target: "all three stay",
    only_the_steep: "target of its own",
    counts_what_is_no_candidate: "not a candidate",
    mean_over_all: "negative",
    the_flattest: "steepest rise must stay",
    target_of_the_first_row: "of its own",
    one_less_than_the_number: "not by one less",
    median_for_mean: "mean and spread",
    mean_absolute_deviation: "random rises",
    neighbours_of_neighbours: "its left neighbour",
}


def row_by_row(rise, candidate, target):
    keep = torch.zeros_like(candidate)
    for b in range(len(rise)):
        columns = candidate[b].nonzero()[:, 0].tolist()
        if not columns:
            continue
        values = rise[b, columns].double()
        limit = float(values.mean() + values.std(correction=0))
        chosen = [c for c in columns if float(rise[b, c].double()) >= limit]
        if len(chosen) < int(target[b]):
            chosen = sorted(columns, key=lambda c: (-float(rise[b, c]), c))[: int(target[b])]
        for c in chosen:
            keep[b, c] = True
            if c > 0:
                keep[b, c - 1] = bool(candidate[b, c - 1])
        for c in chosen:
            keep[b, c] = True
    return keep


def with_nan(rise, candidate, target):
    values = torch.where(candidate, rise, torch.nan)
    mean = values.nanmean(1, keepdim=True)
    limit = mean + ((values - mean) ** 2).nanmean(1, keepdim=True).sqrt()
    return _left(_join(_top(rise, candidate, target), values >= limit, target), candidate)


def the_union(rise, candidate, target):
    return _left(_top(rise, candidate, target) | _steep(rise, candidate), candidate)


RIGHT = [row_by_row, with_nan, the_union]
