"""Rows of written answers: masks in them, writing them again, and orders in which a hole comes last."""

import torch

from dlmlab.decode.commit import Candidates, Fixed, Threshold
from dlmlab.decode.sampling import Sampler
from dlmlab.study.labs import lab20_answers as answers
from dlmlab.task import tasks
from tests.tiny import one_thread  # noqa: F401 (a fixture)

PROBLEMS = tasks.load_split("test")


def test_writing_masks_again_leaves_the_rest_alone():
    mask = answers.mini().tokenizer.mask_token_id
    rows = [answers.row(p.question, p.solution, (4,)) for p in PROBLEMS[:5]]
    for given, (ids, nfe) in zip(rows, answers.write(rows, Sampler(commit=Threshold(0.9))), strict=True):
        assert nfe == 1 and mask not in ids
        assert [a for a, b in zip(given, ids, strict=True) if a != b] == [mask]
    assert [answers.text_of(ids).split()[:4] for ids in rows] == [p.solution.split()[:4] for p in PROBLEMS[:5]]


def test_reading_in_a_batch_is_reading_alone():
    rows = [answers.row(p.question, p.solution, (2, 4)) for p in PROBLEMS[:4]]
    for ids, p in zip(rows, answers.read(rows), strict=True):
        (alone,) = answers.read([ids])
        assert p.shape[0] == len(ids)
        torch.testing.assert_close(p, alone, atol=1e-4, rtol=1e-3)


def test_the_hole_waits_until_it_is_alone():
    eligible = torch.tensor([[False, True, True, True], [True, False, False, True], [False, True, False, False]])
    score = torch.tensor([[0.0, 0.9, 0.2, 0.1], [0.95, 0.0, 0.0, 0.5], [0.0, 0.1, 0.0, 0.0]])
    c = Candidates(score.masked_fill(~eligible, float("-inf")), eligible, score, score[..., None], torch.ones(3))
    expected = [[False, False, True, False], [False, False, False, True], [False, True, False, False]]
    assert answers.HoleLast(Threshold(0.9))(c).tolist() == expected
    assert answers.HoleLast(Fixed())(c).tolist() == expected
