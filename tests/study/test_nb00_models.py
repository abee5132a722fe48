"""The table of shipped models: all of them, with the numbers that their cards have, by number of equations."""

from dlmlab.measure import store
from dlmlab.measure.store import select
from dlmlab.network.checkpoint import shipped
from dlmlab.paths import DATA
from dlmlab.study import nb00_models as study


def test_every_shipped_model_has_its_rows():
    assert sorted(study.WAYS) == shipped()
    assert all(study.TABLE.rows() and select(study.TABLE.rows(), model=name) for name in shipped())


def test_the_first_row_of_a_model_says_what_its_card_says():
    rows = study.TABLE.rows()
    for name in ("llada-mini", "llada-mini-b", "llama-mini", "llama-mini-b"):
        card = store.load(DATA / name / "evaluation.json", None)
        found = study.by_equations(select(rows, model=name)[0]["correct"])
        for steps, (hits, n) in card["by_steps"].items():  # a tie may fall the other way on another machine
            assert found[int(steps)].n == n and abs(found[int(steps)].hits - hits) <= 2


def test_no_answer_is_clean_and_wrong():
    for row in study.TABLE.rows():
        assert all(clean <= correct for clean, correct in zip(row["clean"], row["correct"], strict=True))


def test_the_table_shows_how_each_was_trained_and_each_number_of_equations():
    rows = study.TABLE.rows()
    text = study.lines(rows).splitlines()
    assert len(text) == 1 + len(rows) and all(row["model"] in line for row, line in zip(rows, text[1:], strict=True))
    about = study.trained("llada-mini-b")
    assert f"{about['tokens'] / 1e6:.1f}" in text[1 + rows.index(select(rows, model="llada-mini-b")[0])]
    assert all(len(line.split("%")[-1].split()) == 5 for line in text[1:])
