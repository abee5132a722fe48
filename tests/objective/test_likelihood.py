"""The exact likelihood of a causal model: against a loop that reads one token more each time."""

import pytest
import torch

from dlmlab.objective.likelihood import next_token_nats, up_to_end
from tests.tiny import one_thread as one_thread
from tests.tiny import tiny_model

pytestmark = pytest.mark.usefixtures("one_thread")

V, EOS = 17, 0
TEXTS = [[4, 5, 6, 0, 0, 0], [7, 8, 9, 10, 11, 0], [3, 0, 0, 0, 0, 0]]  # filled up with end marks
LENGTHS = [3, 5, 1]  # before the first end mark


@pytest.fixture(scope="module")
def model():
    return tiny_model("causal", vocab_size=V).double()


def loop(model, text: list[int]) -> list[float]:
    """Give the nats of each token after the first, one prefix at a time."""
    with torch.inference_mode():
        ends = [model(torch.tensor([text[:n]])).logits[0, -1].log_softmax(-1) for n in range(1, len(text))]
    return [-float(log_p[id]) for log_p, id in zip(ends, text[1:], strict=True)]


def test_every_token_costs_what_its_prefix_says(model):
    nats = next_token_nats(model, torch.tensor(TEXTS))
    for row, text in zip(nats, TEXTS, strict=True):
        assert row.tolist() == pytest.approx(loop(model, text), rel=1e-5)


def test_padding_on_the_left_changes_nothing(model):
    ids = torch.tensor([[EOS, EOS, *TEXTS[0]], [*TEXTS[1], 1, 2]])
    valid = torch.tensor([[False] * 2 + [True] * 6, [True] * 8])
    nats = next_token_nats(model, ids, valid)
    assert nats[0, 2:].tolist() == pytest.approx(loop(model, TEXTS[0]), rel=1e-5)


def test_an_answer_counts_its_first_end_mark_and_nothing_after_it(model):
    x0 = torch.tensor(TEXTS)
    answer = torch.arange(6).expand(3, -1) >= 1
    counts = up_to_end(x0, answer, EOS)
    nats = (next_token_nats(model, x0) * counts[:, 1:]).sum(1)
    for b, (text, n) in enumerate(zip(TEXTS, LENGTHS, strict=True)):
        assert counts[b].nonzero()[:, 0].tolist() == list(range(1, n + 1))
        assert float(nats[b]) == pytest.approx(sum(loop(model, text)[:n]), rel=1e-5)


def test_an_end_mark_in_the_question_ends_no_answer():
    x0, answer = torch.tensor([[4, EOS, 5, 6, EOS, EOS]]), torch.tensor([[False] * 3 + [True] * 3])
    assert up_to_end(x0, answer, EOS).tolist() == [[False, False, False, True, True, False]]


def test_an_answer_without_an_end_mark_counts_whole():
    x0, answer = torch.tensor([[4, 5, 6]]), torch.tensor([[False, True, True]])
    assert up_to_end(x0, answer, EOS).tolist() == answer.tolist()
