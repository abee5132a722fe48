"""Notebook 03: what both bottles do with idle attention, over seeds, and what becomes of it when one thing changes."""

import tempfile
from pathlib import Path

import torch
from torch import Tensor

from dlmlab.attention import backcopy, sinks
from dlmlab.attention.backcopy import MASK, RECIPES, START, SYMBOLS, TRIGGERS
from dlmlab.network.model import LLaDAModelLM
from dlmlab.objective.noise import forward_process

SEEDS = {"causal": 10, "diffusion": 10}  # three of every variant
EVERY, SHARES = 100, (0.02, 0.07, 0.37)
KEPT = Path(tempfile.gettempdir()) / "dlmlab-bottles"


def states(x0: Tensor, share: float, *, generator: torch.Generator) -> Tensor:
    """Mask maskable symbols so that masks are this share of all tokens on average, (B, L)."""
    allowed = backcopy.maskable(x0)
    t = torch.full((len(x0),), share / float(allowed.float().mean()))
    return forward_process(x0, t, MASK, maskable=allowed, generator=generator)[0]


@torch.inference_mode()
def maps(model, ids: Tensor) -> Tensor:
    return torch.stack(model(ids, output_attentions=True).attentions)


def trained(name: str, seed: int, folder: Path = KEPT) -> tuple[LLaDAModelLM, list]:
    """Train a bottle and its curve, or read what an earlier run left in the folder.

    The curve has [step, mean loss of the last `EVERY` steps, attention that each head of layer 0 gives from ordinary
    symbols to the token without content]: the start mark of a causal bottle, masks (7 % of the tokens) of the others.
    """
    recipe, path = RECIPES[name], folder / f"{name}-{seed}.pt".replace(" ", "-").replace(",", "")
    if path.exists():
        kept, model = torch.load(path, weights_only=True), recipe.build(seed)
        model.load_state_dict(kept["weights"])
        return model.eval(), kept["curve"]
    generator = torch.Generator().manual_seed(10_000 + seed)
    xt = recipe.texts(64, generator=generator)
    xt = xt if recipe.attention == "causal" else states(xt, 0.07, generator=generator)
    symbol, empty = (xt >= TRIGGERS) & (xt < SYMBOLS), xt == (START if recipe.attention == "causal" else MASK)
    curve, losses = [], []

    def watch(step: int, model: LLaDAModelLM, loss: float) -> None:
        losses.append(loss)
        if step % EVERY == 0 or step == 1:
            given = sinks.given(maps(model.eval(), xt), symbol, empty)[0]
            mean = sum(losses[-EVERY:]) / len(losses[-EVERY:])
            curve.append([step, round(mean, 4), [round(x, 4) for x in given.tolist()]])
            model.train()

    model = backcopy.train(recipe, seed=seed, watch=watch)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"weights": model.state_dict(), "curve": curve}, path)
    return model, curve
