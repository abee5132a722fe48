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
        id="5.7",
        title="Which layer breaks first",
        minutes=3,
        difficulty=1,
        objective="Foresee where a model of six layers bears rounding least.",
        question="the layer (counted from 0) whose rounding to two bits, alone, costs most nats",
        low=0,
        high=5,
    ),
    Prediction(
        id="7.1",
        title="What one token meets",
        minutes=2,
        difficulty=1,
        objective="Tell the memory of a mixture of experts from its arithmetic.",
        question="percent of LLaDA2.1-mini's parameters that are read for one token",
        low=0,
        high=100,
        unit="%",
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
