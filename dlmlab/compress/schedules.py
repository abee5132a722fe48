"""How much each layer loses: schedules of one mean sparsity over the layers.

Sources: Yin et al., OWL, arXiv 2310.05175; layer schedules of diffusion models: Conzel et al., arXiv 2605.06366.
"""

import math

import torch

from dlmlab.compress.selection import check_request

MAX_SPARSITY = 0.95  # of one layer


def layer_sparsities(sparsity: float, importance: list[float], *, width: float = 0.1) -> list[float]:
    """Share a mean sparsity among layers: the more important, the denser.

        s_l = s + width (1 - 2 i_l),  i = importance scaled to [0, 1],  then shifted so that the mean is s

    Equal importance gives the uniform schedule, the depth 0..L-1 gives earlier-is-sparser, minus the depth
    deeper-is-sparser, outlier ratios give OWL. Values are kept within [0, .95] and the rest shifted again, so the mean
    is exactly s. Raises `ValueError` when no such schedule exists.

    >>> layer_sparsities(0.5, [0, 1, 2])
    [0.6, 0.5, 0.4]
    """
    check_request(sparsity)
    if sparsity > MAX_SPARSITY:
        raise ValueError(f"a mean sparsity of {sparsity} needs a layer above {MAX_SPARSITY}")
    values = torch.tensor(list(importance), dtype=torch.float64)
    if not len(values) or not bool(torch.isfinite(values).all()) or not math.isfinite(width):
        raise ValueError(f"importance={values.tolist()} and width={width} must be finite, one importance a layer")
    spread = values.max() - values.min()
    scaled = (values - values.min()) / spread if spread > 0 else torch.full_like(values, 0.5)
    s = sparsity + width * (1 - 2 * scaled)
    for _ in range(100):  # each round leaves less to shift
        s = (s + sparsity - s.mean()).clamp(0, MAX_SPARSITY)
        if abs(float(s.mean()) - sparsity) < 1e-12:
            break
    return [round(v, 12) for v in s.tolist()]
