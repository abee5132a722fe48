"""A check ends, leaves no traces, and charges an error to whom it belongs."""

import random
import threading
import time

import numpy as np
import pytest
import torch

from dlmlab.course import exercises, grading


@pytest.fixture(autouse=True)
def new_kernel(monkeypatch):
    monkeypatch.setattr(exercises, "_PROGRESS", {})


def said(capsys, fn, id="1.2"):
    assert exercises.check(id, fn) is False
    return capsys.readouterr().out


def in_a_cell(source, *, name="num_transfer_tokens"):
    """Run a cell of the learner as a file of its own, and return its function."""
    names = {"torch": torch, "np": np, "random": random}
    exec(compile(source, "<cell>", "exec"), names)
    return names[name]


def endless(masks, steps):
    while True:
        pass


def test_an_endless_loop_is_stopped_with_the_line(capsys, monkeypatch):
    monkeypatch.setattr(grading, "LIMIT", 0.2)
    start = time.perf_counter()
    out = said(capsys, endless)
    assert time.perf_counter() - start < 10
    assert "ran for more than 0.2 seconds and was stopped at line" in out and "`while True:`" in out
    assert "does a loop never end?" in out


def test_an_endless_loop_is_stopped_in_another_thread_too():
    """A subshell of Jupyter is a thread, and only the main thread could receive a signal."""
    caught = []

    def work():
        try:
            grading.limited(0.2, lambda: endless(0, 0))
        except grading.TimeUp as error:
            caught.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    worker.join(20)
    assert len(caught) == 1


def test_a_loop_that_only_waits_is_stopped_by_the_clock(monkeypatch):
    monkeypatch.setattr(grading, "PATIENCE", 2)

    def waits():
        while True:
            time.sleep(0.01)

    start = time.perf_counter()
    with pytest.raises(grading.TimeUp):
        grading.limited(0.2, waits)
    assert time.perf_counter() - start < 10


def test_who_swallows_the_exception_is_asked_again():
    caught = 0

    def swallows_it_twice():
        nonlocal caught
        while caught < 2:
            try:
                endless(0, 0)
            except BaseException:
                caught += 1

    grading.limited(0.1, swallows_it_twice)
    assert caught == 2


def test_a_call_that_ends_in_time_is_left_alone():
    before = threading.active_count()
    for i in range(200):
        try:
            grading.limited(0.001, lambda i=i: sum(range(20 * i)))  # some end just as the time is up
        except grading.TimeUp:
            pass
    time.sleep(0.05)  # an exception on its way would arrive here
    assert threading.active_count() == before


def test_a_check_of_the_course_function_is_far_from_the_limit():
    assert grading.LIMIT >= 20, "two cores, a slow machine and a right answer in plain loops"


def test_not_implemented_inside_an_answer_is_not_an_untouched_stub(capsys):
    half = in_a_cell(
        "def num_transfer_tokens(masks, steps):\n    base = masks // steps\n    raise NotImplementedError\n"
    )
    assert said(capsys, half) == "1.2: not yet: line 3 still raises NotImplementedError: take it out\n"
    deep = in_a_cell(
        "def num_transfer_tokens(masks, steps):\n    return list(later())\n"
        "def later():\n    raise NotImplementedError('not on this device')\n"
    )
    assert said(capsys, deep) == "1.2: not yet: line 4 raises NotImplementedError: not on this device\n"
    assert exercises._progress("1.2").status == exercises.COURSE


def test_an_untouched_stub_is_one_whatever_its_docstring_says(capsys):
    source = exercises.stub("1.2")
    assert said(capsys, in_a_cell(source)) == "1.2: not yet (NotImplementedError)\n"
    assert said(capsys, in_a_cell(source.replace("Spread", "I shall spread"))) == "1.2: not yet (NotImplementedError)\n"
    assert exercises._progress("1.2").status == exercises.OPEN


def test_the_learners_own_assert_is_named_as_theirs_with_its_line(capsys):
    mine = in_a_cell("def num_transfer_tokens(masks, steps):\n    assert masks % steps == 0, 'masks are left'\n")
    assert said(capsys, mine) == "1.2: not yet: an assert of your own fails, line 2: masks are left\n"
    library = in_a_cell(
        "def num_transfer_tokens(masks, steps):\n    x = torch.ones(2)\n    torch.testing.assert_close(x, 2 * x)\n"
    )
    assert "an assert of your own fails, line 3" in said(capsys, library)


def test_the_verdict_of_a_check_is_not_blamed_on_a_line(capsys):
    out = said(capsys, lambda masks, steps: [masks // steps] * steps)
    assert "lost" in out and "line" not in out


def leaves_traces(masks, steps):
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)


def test_what_an_answer_changes_of_the_process_is_put_back(capsys):
    torch.set_num_threads(2)
    try:
        before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
        said(capsys, leaves_traces)
        assert torch.get_default_dtype() == torch.float32 and torch.is_grad_enabled() and torch.get_num_threads() == 2
        assert random.getstate() == before[0] and np.random.get_state()[1].tolist() == before[1]
        assert torch.equal(torch.get_rng_state(), before[2])
    finally:
        torch.set_num_threads(1)


def test_a_check_does_not_depend_on_what_the_notebook_switched():
    for id in ("2.1", "1.3"):
        course = exercises.registry()[id].course()
        torch.set_default_dtype(torch.float64)
        try:
            with torch.no_grad():
                assert exercises.check(id, course)
            assert torch.get_default_dtype() == torch.float64
        finally:
            torch.set_default_dtype(torch.float32)


def test_same_code_compares_what_is_done_not_what_is_said():
    stub = 'def f(a, *, b=2):\n    """Do\n    it."""\n    raise NotImplementedError\n'
    assert grading.same_code(in_a_cell(stub, name="f"), stub)
    assert not grading.same_code(in_a_cell(stub.replace("raise", "a += 1\n    raise"), name="f"), stub)
    assert not grading.same_code(in_a_cell(stub.replace("NotImplementedError", "ValueError"), name="f"), stub)
    bug = 'def f(a):\n    """Do\n    it."""\n    return a + 1\n'
    assert grading.same_code(in_a_cell(bug, name="f"), bug)
    assert not grading.same_code(in_a_cell(bug.replace("+ 1", "+ 2"), name="f"), bug)
    assert not grading.same_code(max, bug)
