"""Answers to exercise 17.1."""

import torch


def _run(table, x, y):
    found = []
    for t in range(x.shape[1]):
        y = table[x[:, t], y]
        found.append(y)
    return torch.stack(found, 1)


def before_the_operation(table, x):
    y = _run(table, x, torch.zeros_like(x[:, 0]))
    return torch.cat([torch.zeros_like(y[:, :1]), y[:, :-1]], 1)


def forgets_the_state(table, x):
    return table[x, torch.zeros_like(x)]


def from_the_right(table, x):
    return _run(table, x.flip(1), torch.zeros_like(x[:, 0])).flip(1)


def starts_after_the_first(table, x):
    y = torch.zeros_like(x)
    y[:, 0] = x[:, 0]
    for t in range(1, x.shape[1]):
        y[:, t] = table[x[:, t], y[:, t - 1]]
    return y


def state_then_operation(table, x):
    return _run(table.T, x, torch.zeros_like(x[:, 0]))


def only_the_last(table, x):
    return _run(table, x, torch.zeros_like(x[:, 0]))[:, -1]


def carries_over_rows(table, x):
    return _run(table, x.reshape(1, -1), torch.zeros(1, dtype=torch.long)).view_as(x)


def adds(table, x):
    return x.cumsum(1) % table.shape[1]


def floats(table, x):
    return _run(table, x, torch.zeros_like(x[:, 0])).float()


def writes_into_x(table, x):
    y = 0
    for t in range(x.shape[1]):
        x[:, t] = y = table[x[:, t], y]
    return x


def returns_nothing(table, x):
    _run(table, x, torch.zeros_like(x[:, 0]))


MUTANTS = {
    before_the_operation: "*after* operation",
    forgets_the_state: "carry the state on",
    from_the_right: "left to right",
    starts_after_the_first: "starts before it",
    state_then_operation: "in this order",
    only_the_last: "shape",
    carries_over_rows: "knows no other row",
    adds: "give 1 2 2",
    floats: "dtype",
    writes_into_x: "changed in place",
    returns_nothing: "returns nothing",
}


def right(table, x):
    return _run(table, x, torch.zeros_like(x[:, 0]))


def row_by_row(table, x):
    found = []
    for row in x.tolist():
        y, states = 0, []
        for operation in row:
            y = int(table[operation, y])
            states.append(y)
        found.append(states)
    return torch.tensor(found, dtype=torch.long)


RIGHT = [right, row_by_row]
