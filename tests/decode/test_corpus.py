"""The denoiser of a long list agrees with `ExactBayes` on a short one; a subset costs what the weight left out says."""

import pytest
import torch

from dlmlab.decode import corpus
from dlmlab.decode.bayes import ExactBayes
from dlmlab.objective.priors import mask_prior, uniform_prior

V, MASK = 7, 6


def world(N=20, L=5, seed=0):
    g = torch.Generator().manual_seed(seed)
    texts = torch.unique(torch.randint(0, V - 1, (N, L), generator=g), dim=0)
    return texts, torch.randint(0, V - 1, (4, L), generator=g)


@pytest.mark.parametrize("alpha", [0.05, 0.3, 0.9])
def test_under_uniform_noise_it_is_the_exact_denoiser(alpha):
    texts, z = world()
    exact = ExactBayes(texts, uniform_prior(V))
    a = torch.full((len(z),), alpha)
    beta = corpus.inverse_temperature(a, V)
    w = corpus.text_weights(corpus.Corpus(texts, V).distances(z), beta)
    evidence = exact.evidence(z, a).sum(-1).softmax(1)
    assert torch.allclose(w, evidence, atol=1e-7)  # alpha is float32
    whole = exact(z, alpha=a).exp()
    for row, d, expected in zip(z, corpus.Corpus(texts, V).distances(z), whole, strict=True):
        leave_one_out = corpus.average(texts, corpus.place_weights(texts, row, d, float(beta[0])), V)
        assert torch.allclose(leave_one_out, expected, atol=1e-6)


def test_under_masks_it_is_the_exact_denoiser_also_where_no_text_agrees():
    texts, z = world()
    visible = torch.rand(z.shape, generator=torch.Generator().manual_seed(3)) < 0.7
    z = torch.where(visible, z, MASK)
    exact = ExactBayes(texts, mask_prior(V, MASK)).posterior(z).exp()
    distance = corpus.Corpus(texts, V).distances(z, visible)
    assert int(distance.min(1).values.max()) > 0  # one of the contexts has no text
    w = corpus.text_weights(distance, torch.full((len(z),), torch.inf))
    for b in range(len(z)):
        mine = corpus.average(texts, w[b][:, None].expand(-1, z.shape[1]), V)
        assert torch.allclose(mine, exact[b], atol=1e-9)


def test_a_subset_errs_by_exactly_the_weight_it_leaves_out():
    texts, z = world(200, 6)
    w = corpus.text_weights(corpus.Corpus(texts, V).distances(z), torch.full((len(z),), 0.8).double())
    for error in (0.5, 0.1, 0.01):
        for row, m in zip(w, corpus.needed(w, error).tolist(), strict=True):
            S = row.argsort(descending=True)[:m]
            cut = torch.zeros_like(row).index_copy(0, S, row[S] / row[S].sum())
            distance = float((cut - row).abs().sum() / 2)
            assert distance == pytest.approx(1 - float(row[S].sum())) and distance <= error + 1e-9
            assert m == 1 or 1 - float(row[S[:-1]].sum()) > error


def test_all_texts_are_enough_for_no_error_and_effective_counts_them():
    w = torch.full((2, 9), 1 / 9).double()
    assert corpus.needed(w, 0.0).tolist() == [9, 9]
    assert torch.allclose(corpus.effective(w), torch.full((2,), 9.0).double())
    assert torch.allclose(corpus.effective(torch.eye(3).double()), torch.ones(3).double())


def test_it_writes_what_the_texts_agree_on_then_only_texts_that_have_it():
    texts = torch.tensor([[0, 1, 1], [0, 1, 2], [0, 3, 2], [0, 4, 5]])
    hidden = torch.tensor([False, True, True])
    every = torch.full((4,), 0.25).double()
    assert corpus.write(texts, every, hidden).tolist() == [1, 1]  # 1 and 2 tie: the leftmost place, then its texts
    assert corpus.write(texts, torch.tensor([0.1, 0.2, 0.1, 0.6]).double(), hidden).tolist() == [4, 5]
    assert corpus.write(texts, torch.tensor([0, 0, 1.0, 0]).double(), hidden).tolist() == [3, 2]


def test_what_is_no_corpus_is_refused():
    for texts in (torch.zeros(3, dtype=torch.long), torch.zeros(0, 2, dtype=torch.long), torch.full((2, 2), 9)):
        with pytest.raises(ValueError, match="ids below V=7"):
            corpus.Corpus(texts, 7)
