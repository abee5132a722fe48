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


def noise_tokens(
    x0: Tensor, alpha: Tensor, prior: Tensor, *, where: Tensor | None = None, generator: torch.Generator
) -> Tensor:
    """Noise texts: each token stays with probability alpha, else it is drawn from the prior, (B, L).

    Shapes: x0 (B, L), alpha (B,), prior (V,), where (B, L) bool or None for all places. A drawn token may be the old
    one. Raises `ValueError` for an alpha outside 0..1.
    """
    if not bool(((alpha >= 0) & (alpha <= 1)).all()):
        raise ValueError(f"alpha must lie in [0, 1], got {alpha.min():.3g}..{alpha.max():.3g}")
    stays = torch.rand(x0.shape, generator=generator, dtype=torch.float64) < alpha.double()[:, None]
    if where is not None:
        stays |= ~where
    drawn = torch.multinomial(prior, x0.numel(), replacement=True, generator=generator).view(x0.shape)
    return torch.where(stays, x0, drawn)


def noise_shares(alpha: float, k: float, V: int) -> tuple[float, float]:
    """Foresee what hybrid noise does to a text without masks: the shares of its tokens that become masks, and that
    become wrong but visible.

        masked = (1 - alpha) (1 - k + k / V),   wrong = (1 - alpha) k (V - 2) / V

    Of the V ids that uniform noise draws from, one is the mask and one the token itself. Raises `ValueError` for alpha
    or k outside [0, 1] or V < 2. Source: the mixture of XDLM.

    >>> [round(share, 3) for share in noise_shares(0.5, 0.1, 10)]
    [0.455, 0.04]
    """
    if not (0 <= alpha <= 1 and 0 <= k <= 1 and V >= 2):
        raise ValueError(f"alpha={alpha} and k={k} must lie in [0, 1], V={V} must be 2 or more")
    return (1 - alpha) * (1 - k + k / V), (1 - alpha) * k * (V - 2) / V


def nelbo_weight(x0: Tensor, xt: Tensor, *, alpha: Tensor, dalpha: Tensor, prior: Tensor) -> Tensor:
    """Weight of every position in the bound: how fast its noised token could just have changed.

        w = -alpha' / alpha * r(z) / q_t(z | x),    q_t(z | x) = alpha 1[z = x] + (1 - alpha) r(z)

    Shapes: x0 and xt (B, L), alpha and dalpha (B,), prior (V,) -> (B, L). Under a mask prior it is 0 where the token
    is visible and -alpha' / (alpha (1 - alpha)) where it is masked; it is 0 for a token that the noise cannot make of
    x0. Raises `ValueError` unless 0 < alpha < 1 and alpha' <= 0.
    """
    _check(alpha, prior, x0)
    if not bool((dalpha <= 0).all()):
        raise ValueError(f"dalpha={dalpha.tolist()} must be <= 0: noise grows with time")
    a, r = alpha[:, None], prior[xt]  # (B, 1), (B, L)
    q = a * (xt == x0) + (1 - a) * r
    return -dalpha[:, None] / a * r / torch.where(q > 0, q, 1.0)  # q is 0 only where r is


def interpolating_nelbo(
    logits: Tensor, x0: Tensor, xt: Tensor, *, alpha: Tensor, dalpha: Tensor, prior: Tensor
) -> Tensor:
    """Integrand of the bound on -log p(x0) at one time, in nats per position; its mean over t and xt is the bound.

        w (KL(q_t || p_t) + q/p - log(q/p) - 1),    p_t = alpha xhat + (1 - alpha) r,  q/p at the noised token

    Shapes: logits (B, L, V) with -inf where no clean token is, x0 and xt (B, L), alpha and dalpha (B,), prior (V,) ->
    (B, L) float64. For the mask prior: -log xhat(x) * -alpha' / (1 - alpha) at masks, 0 elsewhere. The value is inf
    where the model rules the clean token out and nothing else explains z; its gradient is finite even there. Raises
    `ValueError` as `nelbo_weight`. Source: GIDD; equal to the closed forms of MDLM, UDLM and XDLM (tests).
    """
    w = nelbo_weight(x0, xt, alpha=alpha, dalpha=dalpha, prior=prior)
    a = alpha[:, None, None].double()
    noise = (1 - a) * prior.double()  # (B, 1, V)
    q = a * F.one_hot(x0, len(prior)) + noise  # (B, L, V)
    counts = (q > 0) & (w > 0)[..., None]  # a weight of 0 beats a KL of inf, and a q of 0 a p of 0
    log_ratio = torch.where(counts, torch.where(counts, q, 1.0).log() - _log_p(logits, a, noise), 0.0)
    kl = (q * log_ratio).sum(-1)  # (B, L)
    at_z = log_ratio.gather(-1, xt[..., None])[..., 0]
    return w * (kl + at_z.exp() - at_z - 1)


def _log_p(logits: Tensor, a: Tensor, noise: Tensor) -> Tensor:
    """Compute log(a xhat + noise), (B, L, V); -inf where both are 0.

    The gradient of log at 0 is inf, and 0 times inf is nan, also behind a `where` that leaves it out. So log never
    sees a 0: without noise the logarithm is that of the softmax itself.
    """
    log_xhat = logits.double().log_softmax(-1)
    noisy = (a * log_xhat.exp() + torch.where(noise > 0, noise, 1.0)).log()
    return torch.where(noise > 0, noisy, a.log() + log_xhat)


def belief(logits: Tensor, xt: Tensor, *, alpha: Tensor, prior: Tensor) -> Tensor:
    """Join a leave-one-out prediction with the evidence of the token itself: p(x_i | z), (B, L, V).

        p(x_i = v | z) ∝ xhat_i(v) q_t(z_i | v)

    Shapes: logits (B, L, V), xt (B, L), alpha (B,), prior (V,). This is how sure one may be of a visible token under
    uniform or mixed noise. A visible token that xhat rules out stays.
    """
    _check(alpha, prior, xt)
    a = alpha[:, None, None].double()
    likelihood = a * F.one_hot(xt, len(prior)) + (1 - a) * prior[xt].double()[..., None]  # q_t(z | v), (B, L, V)
    return _share(logits.double().softmax(-1) * likelihood, xt)


def without_own(log_p: Tensor, xt: Tensor, *, alpha: Tensor, prior: Tensor) -> Tensor:
    """Take the evidence of the token itself out of p(x_i | z): the leave-one-out log-distribution, (B, L, V) float64.

        xhat_i(v) ∝ p(x_i = v | z) / q_t(z_i | v)

    The inverse of `belief`: what a model learns from cross-entropy at all places becomes what the step back needs.
    Shapes: log_p (B, L, V) or logits, xt (B, L), alpha (B,), prior (V,). Where q_t(z_i | v) is 0 the posterior has
    ruled v out and cannot give it back: such ids get -inf. Source: notebook 02; derived here.
    """
    _check(alpha, prior, xt)
    a = alpha[:, None, None].double()
    likelihood = a * F.one_hot(xt, len(prior)) + (1 - a) * prior[xt].double()[..., None]  # q_t(z | v), (B, L, V)
    divided = log_p.double() - torch.where(likelihood > 0, likelihood, 1.0).log()
    return divided.masked_fill(likelihood == 0, -torch.inf).log_softmax(-1)


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
    return _share(f_s * step, xt)  # divided by f_t(z)


def _share(joint: Tensor, xt: Tensor) -> Tensor:
    """Divide by the sum over ids, (B, L, V); where all is 0, a visible token that xhat rules out, it stays.

    The 0 is replaced before the division: the gradient of 0 / 0 would be nan.
    """
    total = joint.sum(-1, keepdim=True)
    stays = F.one_hot(xt, joint.shape[-1]).to(joint.dtype)
    return torch.where(total > 0, joint / torch.where(total > 0, total, 1.0), stays)


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
