"""What is searched is what training reads, and a problem that was met is told from one that comes later."""

import json

import pytest

from dlmlab.measure import store
from dlmlab.network.checkpoint import shipped
from dlmlab.objective.batches import POOL, Batches, TrainConfig
from dlmlab.paths import DATA
from dlmlab.study import nb00_leak as leak
from dlmlab.task import tasks
from dlmlab.task.splits import core


def test_the_problems_of_a_pool_are_those_its_batches_hold():
    config = TrainConfig(name="t", rows=8, seed=3)
    drawn, batches = Batches(config).problems(1), Batches(config)
    assert len(drawn) == POOL
    marks = batches.tokenizer.bos_token, batches.tokenizer.convert_ids_to_tokens(batches.answer_id)
    for i in (0, 3, 7):
        texts = (batches.tokenizer.decode(ids) for ids in batches(POOL + i).targets.tolist())
        read = sorted(text.partition(marks[1])[0].replace(marks[0], "").strip() for text in texts)
        assert read == sorted(p.question for p in drawn[i])


def test_packed_rows_have_no_problems_of_a_step():
    with pytest.raises(ValueError, match="context=40"):
        Batches(TrainConfig(name="t", rows=8, context=40)).problems(0)


@pytest.mark.parametrize("name", shipped())
def test_the_texts_drawn_today_are_as_long_as_those_in_the_log(name):
    log = [json.loads(line) for line in (DATA / name / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    logged, batches, tokens = {e["step"]: e["tokens"] for e in log}, Batches(leak.recipe(name)), 0
    for step in range(20):
        tokens += batches(step).targets.numel()
    assert tokens == logged[20]


def test_a_held_out_problem_counts_as_met_at_the_first_step_with_its_core(monkeypatch):
    (row,) = store.select(store.read("00_seen"), split="test")
    step, i = min((step, i) for i, step in enumerate(row["step"]) if step >= 0)
    problem = tasks.load_split("test")[i]
    mine = Batches(leak.recipe(leak.FIRST)).problems(step // POOL)[step % POOL]
    twins = [p for p in mine if core(p.skeleton) == core(problem.skeleton)]
    assert twins and all(p.skeleton != problem.skeleton and p.solution == problem.solution for p in twins)
    first, _ = leak.search(step + 1)
    assert first[core(problem.skeleton)] == step


def test_a_search_of_fewer_steps_finds_the_beginning():
    few, more = leak.search(10)[0], leak.search(24)[0]
    assert few == {kept: step for kept, step in more.items() if step < 10}


def test_met_means_before_the_last_step():
    steps = {name: leak.last(name)["step"] for name in leak.MODELS}
    when = [-1, 0, steps["llama-mini"] - 1, steps["llama-mini"], steps["llada-mini"] - 1, steps["llada-mini"]]
    rows = [{"split": "test", "step": when}]
    assert leak.met("llama-mini", rows=rows) == [0, 1, 1, 2, 2, 2]
    assert leak.met("llada-mini", rows=rows) == [0, 1, 1, 1, 1, 2]


def test_a_model_of_another_stream_is_refused(monkeypatch):
    other = TrainConfig(name="t", seed=5, split_rule="skeleton")
    own = leak.recipe
    monkeypatch.setattr(leak, "recipe", lambda name: other if name == "llama-mini" else own(name))
    with pytest.raises(ValueError, match="other texts"):
        leak.met("llama-mini")


def test_the_lenient_reading_takes_the_first_number_and_the_strict_one_none():
    question, text = tasks.load_split("test")[0].question, "1 + 1 = 2 ; #### 12 13"
    assert leak.first_number(text) == 12 and tasks.verify(question, text).answer is None
    assert leak.first_number("#### x") is None and leak.first_number("12") is None


def test_no_stored_verdict_depends_on_how_an_answer_is_read():
    for model in leak.MODELS:
        row = store.select(store.read("00_leak"), model=model)[0]
        assert row["correct"] == row["lenient"] and all(
            a >= b for a, b in zip(row["correct"], row["clean"], strict=True)
        )


def test_a_second_seed_is_another_stream_with_a_table_of_its_own():
    assert leak.searched("llama-mini-b") is leak.SEEN_OTHER and leak.searched("llada-small") is leak.SEEN
    assert leak.last("llama-mini-b")["step"] <= leak.OTHER_STEPS >= leak.last("llada-mini-b")["step"]
    first, second = (leak.search(4, of)[0] for of in (leak.FIRST, leak.OTHER))
    assert first != second
