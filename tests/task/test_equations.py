"""Equations alone: every table is what `tasks` calculates, and a drill hides the results and nothing else."""

import pytest
import torch

from dlmlab.task import equations, tasks
from dlmlab.task.tokenizer import build_tokenizer


@pytest.mark.parametrize("op, n", [("+", 4851), ("-", 4950), ("*", 473), ("/", 473)])
def test_a_table_holds_what_can_be_calculated_and_no_more(op, n):
    found = equations.table(op)
    assert len(found) == len(set(found)) == n
    assert all(tasks.calculate(a, op, b) == c and 1 <= a <= 99 >= b >= 1 for a, b, c in found)
    there = {(a, b) for a, b, _ in found}
    for pair in [(60, 40), (3, 7)]:  # 100, -4, 2,400 and 21; 1.5 and no quotient
        if pair not in there:
            with pytest.raises(tasks.QuestionError):
                tasks.calculate(pair[0], op, pair[1])


def test_every_equation_of_the_problems_is_in_a_table():
    tables = {op: set(equations.table(op)) for op in equations.OPERATIONS}
    drawn = [e for seed in range(400) for e in tasks.solve(tasks.make_problem(seed).question).equations]
    missing = [(a, op, b, c) for a, op, b, c in drawn if (a, b, c) not in tables[op]]
    assert len(drawn) > 900 and not missing


def test_a_drill_draws_rows_of_true_equations_and_marks_their_results():
    ids, result = equations.drill(32, 5, generator=torch.Generator().manual_seed(0))
    assert ids.shape == result.shape == (32, 30) and result.sum() == 32 * 5
    tokens, tokenizer = ids.view(-1, 6), build_tokenizer()
    ops = set()
    for row, marked in zip(tokens, result.reshape(-1, 6), strict=True):
        left, op, right, equals, answer, end = tokenizer.convert_ids_to_tokens(row)
        assert (equals, end) == ("=", ";") and tasks.calculate(int(left), op, int(right)) == int(answer)
        assert marked.tolist() == [False] * 4 + [True, False]
        ops.add(op)
    assert ops == set(equations.OPERATIONS)


def test_operations_are_drawn_equally_often_and_the_same_generator_draws_the_same():
    first, again = (equations.drill(500, 6, generator=torch.Generator().manual_seed(1))[0] for _ in range(2))
    assert torch.equal(first, again)
    signs = build_tokenizer().convert_tokens_to_ids(list(equations.OPERATIONS))
    shares = torch.stack([(first == sign).sum() for sign in signs]) / 3000
    assert ((shares - 0.25).abs() < 0.04).all()  # five standard deviations
