"""A prediction counts when it was made before the number was shown."""

import pytest

from dlmlab.course import exercises, predictions

IDS = list(predictions.registry())


@pytest.fixture(autouse=True)
def new_kernel(monkeypatch):
    monkeypatch.setattr(predictions, "_MADE", {})
    monkeypatch.setattr(exercises, "_PROGRESS", {})


@pytest.mark.parametrize("id", IDS)
def test_every_prediction_is_complete(id):
    p = predictions.registry()[id]
    assert p.title and p.question and p.objective.endswith(".") and p.minutes > 0 and 1 <= p.difficulty <= 5
    assert p.low < p.high


def test_ids_are_those_of_no_exercise():
    assert IDS and not set(IDS) & set(exercises.registry())


def test_a_prediction_is_recorded_and_compared(capsys):
    predictions.predict("1.7", 3)
    assert predictions.state("1.7") == "predicted"
    predictions.reveal("1.7", 14)
    out = capsys.readouterr().out.splitlines()
    assert out[0].endswith("you say 3") and out[1] == "1.7: measured 14; you said 3: too low"


@pytest.mark.parametrize("guess, verdict", [(13, "close"), (20, "too high"), (15.5, "close"), (0, "too low")])
def test_the_distance_is_judged_by_the_range(guess, verdict, capsys):
    predictions.predict("1.7", guess)
    predictions.reveal("1.7", 14)
    assert capsys.readouterr().out.splitlines()[-1].endswith(f": {verdict}")


def test_what_is_said_after_the_number_does_not_count():
    predictions.reveal("1.7", 14)
    predictions.predict("1.7", 14)
    assert predictions.state("1.7") == "answer seen"


def test_an_untouched_notebook_shows_the_number_and_stays_open(capsys):
    predictions.predict("1.7", None)
    predictions.reveal("1.7", 14)
    out = capsys.readouterr().out.splitlines()
    assert "no prediction yet" in out[0] and out[1] == "1.7: measured 14; no prediction was made"
    assert predictions.state("1.7") == "open"


def test_the_scoreboard_counts_predictions():
    predictions.predict("1.7", 3)
    line = next(line for line in exercises.scoreboard("01").splitlines() if line.startswith("1.7"))
    assert line.endswith("predicted") and "yours: 1 of" in exercises.scoreboard("01")


@pytest.mark.parametrize("guess", [-1, 21, float("nan"), float("inf")])
def test_a_number_out_of_range_is_refused(guess):
    with pytest.raises(ValueError, match="outside 0 to 20"):
        predictions.predict("1.7", guess)


@pytest.mark.parametrize("call", [lambda: predictions.predict("7.7", 1), lambda: predictions.reveal("7.7", 1)])
def test_an_unknown_id_lists_the_known_ones(call):
    with pytest.raises(ValueError, match="'7.7' is unknown; known: 1.7"):
        call()
