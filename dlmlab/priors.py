"""Any noise: one formula for the bound of mask, uniform and hybrid diffusion, and the reverse step that fits it.

    q_t(v | x) = alpha 1[v = x] + (1 - alpha) r(v)

Decisions
* A prior r (V,) says what a token becomes that is not kept: the mask, any token, or a mixture. All else follows from it
  and from alpha, so there is no code path for each family.
* Formulas take alpha and its derivative in t, (B,), so that any schedule fits; the linear one is alpha = 1 - t,
  dalpha = -1.
* What the network must give is xhat_i = p(x_i | all tokens but z_i), the *leave-one-out* posterior: z_i itself enters
  once, through q_t. At a masked position that is p(x_i | z), because a mask says nothing; elsewhere it is not, and a
  model of p(x_i | z) counts z_i twice. `belief` turns one into the other.
* The logit of an id that no clean text holds (the mask) must be -inf; nothing here knows which id that is.

Sources: von Rutte et al., GIDD, arXiv 2503.04482 (the general bound); Sahoo et al., arXiv 2406.07524 (mask); Schiff et
al., arXiv 2412.10193 (uniform); XDLM, arXiv 2602.01362 (mixture and reverse step). The leave-one-out statement is
derived and checked in notebook 02.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def mask_prior(V: int, mask_id: int) -> Tensor:
    """Make the prior of masked diffusion: what is not kept becomes the mask, (V,) float64."""
    return F.one_hot(torch.tensor(mask_id), V).double()


def uniform_prior(V: int) -> Tensor:
    """Make the prior of uniform diffusion: what is not kept becomes any of the V ids, (V,) float64."""
    return torch.full((V,), 1 / V, dtype=torch.float64)


def mixed_prior(V: int, mask_id: int, k: float) -> Tensor:
    """Mix uniform noise over all V ids (share k) and masks (share 1 - k), (V,) float64. Source: XDLM."""
    if not 0 <= k <= 1:
        raise ValueError(f"k={k} must lie in [0, 1]")
    return k * uniform_prior(V) + (1 - k) * mask_prior(V, mask_id)


def noise_tokens(x0: Tensor, alpha: Tensor, prior: Tensor, *, generator: torch.Generator) -> Tensor:
    """Keep each token of row b with probability alpha[b], else draw it from the prior.

    Shapes: x0 (B, L), alpha (B,) in [0, 1], prior (V,) -> xt (B, L). For a mask prior this is `forward_process`.
    """
    _check(alpha, prior, x0, closed=True)
    keep = torch.rand(x0.shape, generator=generator) < alpha[:, None]
    drawn = torch.multinomial(prior, x0.numel(), replacement=True, generator=generator)
    return torch.where(keep, x0, drawn.view(x0.shape))


def nelbo_weight(x0: Tensor, xt: Tensor, *, alpha: Tensor, dalpha: Tensor, prior: Tensor) -> Tensor:
    """Weight of every position in the bound: how fast its noised token could just have changed.

        w = -alpha' / alpha * r(z) / q_t(z | x),    q_t(z | x) = alpha 1[z = x] + (1 - alpha) r(z)

    Shapes: x0 and xt (B, L), alpha and dalpha (B,), prior (V,) -> (B, L). Under a mask prior it is 0 where the token
    is visible and -alpha' / (alpha (1 - alpha)) where it is masked. Raises `ValueError` unless 0 < alpha < 1.
    """
    _check(alpha, prior, x0)
    a, r = alpha[:, None], prior[xt]  # (B, 1), (B, L)
    q = a * (xt == x0) + (1 - a) * r
    return -dalpha[:, None] / a * r / q


def interpolating_nelbo(
    logits: Tensor, x0: Tensor, xt: Tensor, *, alpha: Tensor, dalpha: Tensor, prior: Tensor
) -> Tensor:
    """Integrand of the bound on -log p(x0) at one time, in nats per position; its mean over t and xt is the bound.

        w (KL(q_t || p_t) + q/p - log(q/p) - 1),    p_t = alpha xhat + (1 - alpha) r,  q/p at the noised token

    Shapes: logits (B, L, V) with -inf where no clean token is, x0 and xt (B, L), alpha and dalpha (B,), prior (V,) ->
    (B, L) float64. For the mask prior: -log xhat(x) * -alpha' / (1 - alpha) at masks, 0 elsewhere. Raises `ValueError`
    unless 0 < alpha < 1. Source: GIDD; equal to the closed forms of MDLM, UDLM and XDLM (tests).
    """
    w = nelbo_weight(x0, xt, alpha=alpha, dalpha=dalpha, prior=prior)
    a = alpha[:, None, None].double()
    noise = (1 - a) * prior.double()  # (B, 1, V)
    q = a * F.one_hot(x0, len(prior)) + noise  # (B, L, V)
    p = a * logits.double().softmax(-1) + noise
    log_ratio = torch.where(q > 0, q.log() - p.log(), 0.0)
    kl = (q * log_ratio).sum(-1)  # (B, L)
    at_z = log_ratio.gather(-1, xt[..., None])[..., 0]
    return torch.where(w > 0, w * (kl + at_z.exp() - at_z - 1), 0.0)  # a weight of 0 beats a KL of inf


def belief(logits: Tensor, xt: Tensor, *, alpha: Tensor, prior: Tensor) -> Tensor:
    """Join a leave-one-out prediction with the evidence of the token itself: p(x_i | z), (B, L, V).

        p(x_i = v | z) ∝ xhat_i(v) q_t(z_i | v)

    Shapes: logits (B, L, V), xt (B, L), alpha (B,), prior (V,). This is how sure one may be of a visible token under
    uniform or mixed noise.
    """
    _check(alpha, prior, xt)
    a = alpha[:, None, None].double()
    likelihood = a * F.one_hot(xt, len(prior)) + (1 - a) * prior[xt].double()[..., None]  # q_t(z | v), (B, L, V)
    joint = logits.double().softmax(-1) * likelihood
    return joint / joint.sum(-1, keepdim=True)


def reverse_posterior(logits: Tensor, xt: Tensor, *, alpha_t: Tensor, alpha_s: Tensor, prior: Tensor) -> Tensor:
    """Give the distribution of every token at an earlier time s < t: one ancestral sampling step, (B, L, V) float64.

        p(x_s = e | z) = f_s(e) q_{t|s}(z | e) / f_t(z),    f_s = alpha_s xhat + (1 - alpha_s) r,
        q_{t|s}(z | e) = alpha_t / alpha_s 1[z = e] + (1 - alpha_t / alpha_s) r(z)

    Shapes: logits (B, L, V), xt (B, L), alpha_t and alpha_s (B,), prior (V,). xhat is the leave-one-out prediction, so
    the evidence of z enters once, through q. Raises `ValueError` unless 0 <= alpha_t < alpha_s <= 1. Source: XDLM.
    """
    _check(alpha_t, prior, xt, closed=True)
    _check(alpha_s, prior, xt, closed=True)
    if not bool((alpha_t < alpha_s).all()):
        raise ValueError(f"time s must be less noisy than t: alpha_t={alpha_t.tolist()}, alpha_s={alpha_s.tolist()}")
    s, ratio = alpha_s[:, None, None].double(), (alpha_t / alpha_s)[:, None, None].double()
    f_s = s * logits.double().softmax(-1) + (1 - s) * prior.double()  # (B, L, V)
    step = ratio * F.one_hot(xt, len(prior)) + (1 - ratio) * prior[xt].double()[..., None]  # q_{t|s}(z | e)
    joint = f_s * step
    total = joint.sum(-1, keepdim=True)  # f_t(z)
    return torch.where(total > 0, joint / total, F.one_hot(xt, len(prior)))  # a visible token that xhat rules out stays


def _check(alpha: Tensor, prior: Tensor, ids: Tensor, *, closed: bool = False) -> None:
    inside = (alpha >= 0) & (alpha <= 1) if closed else (alpha > 0) & (alpha < 1)
    if not bool(inside.all()):
        raise ValueError(f"alpha={alpha.tolist()} must lie {'in [0, 1]' if closed else 'strictly between 0 and 1'}")
    if alpha.shape != ids.shape[:1]:
        raise ValueError(f"one alpha for each row: alpha has shape {tuple(alpha.shape)}, ids {tuple(ids.shape)}")
    if prior.ndim != 1 or not bool((prior >= 0).all()) or abs(float(prior.sum()) - 1) > 1e-6:
        raise ValueError(
            f"prior must be (V,) probabilities, got shape {tuple(prior.shape)}, sum {float(prior.sum()):g}"
        )
