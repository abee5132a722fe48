"""The predictions: numbers that a notebook measures, to be guessed before."""

from dlmlab.course.predictions import Prediction

PREDICTIONS = (
    Prediction(
        id="1.7",
        title="What a schedule spends first",
        minutes=3,
        difficulty=1,
        objective="Foresee what the first forwards of a blind schedule are spent on.",
        question="end marks among the first half of the tokens committed",
        low=0,
        high=20,
    ),
    Prediction(
        id="2.2",
        title="A perfect model in one forward",
        minutes=5,
        difficulty=2,
        objective="Foresee what parallel decoding costs when the model makes no error.",
        question="percent of the texts that are right equations, all five tokens in one forward",
        low=0,
        high=100,
        unit="%",
    ),
    Prediction(
        id="6.5",
        title="The same bytes, three times",
        minutes=3,
        difficulty=1,
        objective="Foresee how much the way to reach a size matters.",
        question="points of exact match between the best and the worst of three models of the same bytes",
        low=0,
        high=100,
        unit="points",
    ),
    Prediction(
        id="8.5",
        title="What a cache saves beside a rule",
        minutes=5,
        difficulty=2,
        objective="Foresee how much of a cache's saving is left when few forwards are.",
        question="tokens with a dual cache in percent of those without, two forwards a block",
        low=0,
        high=100,
        unit="%",
    ),
)
