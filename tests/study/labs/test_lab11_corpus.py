"""The shipped texts are what their seeds make, and the lab's pieces say what the notebook says about them."""

import torch

from dlmlab.study.labs import lab11_corpus as lab
from dlmlab.study.labs import lab11_memory as memory
from dlmlab.task import tasks


def test_the_shipped_corpus_is_made_of_its_seeds():
    known = lab.texts()
    assert known.shape[1] == lab.L and 19_000 < len(known) < lab.SEEDS
    assert len({row.tobytes() for row in known.numpy()}) == len(known)
    assert torch.equal(lab.made(range(60)), known[:60])


def test_the_first_of_equal_rows_stays():
    rows = torch.tensor([[1, 1], [2, 2], [1, 1], [0, 3]], dtype=torch.int16)
    assert lab.different(rows).tolist() == [[1, 1], [2, 2], [0, 3]]


def test_problems_read_out_of_the_corpus_have_its_answers():
    for problem in memory.problems("corpus")[:5]:
        assert tasks.verify(problem.question, problem.solution).clean
        assert torch.equal(lab.encode([problem]).to(torch.int16)[0], _of(problem))


def _of(problem):
    known = lab.texts()
    (row,) = known[(known == lab.encode([problem]).to(torch.int16)).all(1)]
    return row


def test_no_held_out_problem_is_asked_in_the_corpus():
    sample = memory._questions(lab.some(lab.texts(), 200))
    known = {memory._read(question).skeleton for question in sample}
    assert known.isdisjoint(p.skeleton for p in tasks.load_split("test"))


def test_noise_keeps_the_share_it_says_and_masks_only_where_asked():
    x0 = lab.texts()[:64]
    for kind in ("uniform", "mask"):
        z, visible = lab.noised(x0, 0.3, kind, 0)
        kept = float((z == x0).float().mean())
        assert abs(kept - 0.3) < 0.03
        assert bool(visible.all()) is (kind == "uniform")
    z, visible = lab.noised(x0, 0.3, "mask", 0)
    assert torch.equal(z[visible], x0[visible].long()) and int(z[~visible].unique()) == lab.vocabulary()[1]


def test_aligned_texts_begin_their_answers_at_one_place():
    known = lab.texts()[:9]
    _, tokenizer = lab.load("llada-mini")
    mark = tokenizer.convert_tokens_to_ids("<|answer|>")
    at = (known == mark).int().argmax(1)
    moved = memory.shifted(known, 30 - at, lab.vocabulary()[1])
    assert bool((moved[:, 30] == mark).all())


def test_hidden_answers_leave_the_question_and_hide_at_least_one_token_of_each_solution():
    x0 = lab.texts()[:40].long()
    for shown in (0.1, 0.9, 1.0):
        z, visible, judged, end = memory.hide(x0, shown, 0)
        start = memory.answer_starts(x0)[:, None]
        place = torch.arange(lab.L)
        assert bool(visible[place.expand_as(x0) <= start].all()) and not bool(visible[place >= end[:, None]].any())
        assert bool(judged.any(1).all()) and not bool((judged & visible).any())
        assert torch.equal(z[visible], x0[visible]) and set(z[~visible].tolist()) == {lab.vocabulary()[1]}


def test_tokens_in_place_are_counted_over_the_true_solution():
    problem = memory.problems("fresh")[0]
    true = problem.solution.split()
    assert memory.agreement(problem, problem.solution) == 1.0 and memory.agreement(problem, "") == 0.0
    assert memory.agreement(problem, " ".join(["?", *true[1:]])) == round(1 - 1 / len(true), 3)


def test_two_parts_of_the_corpus_share_no_text():
    parts = [{row.tobytes() for row in memory._known(5_000, rule).numpy()} for rule in (memory.MASKS, *memory.PARTS)]
    assert all(len(part) == 5_000 for part in parts)
    assert parts[0].isdisjoint(parts[1]) and parts[0].isdisjoint(parts[2]) and parts[1].isdisjoint(parts[2])
