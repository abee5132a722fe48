"""The parts of a model by what they do: the only file outside `network.model` that knows the names of its tensors.

Decisions
* A `Site` is one input inside a block with the matrices that read it (q, k, v; gate and up projection). Statistics of
  inputs belong to sites, changes of weights to matrices.
* A block that is built otherwise describes itself with a method `sites()`. An expert reads only the tokens that were
  routed to it: its site says which, so that whoever counts tokens can give each its weight.
* Names of weights are those of the checkpoint without the prefix that all share: `blocks.2.ff_out`.
* What only makes sense where queries, keys and values are matrices of their own and every token reads the same MLP
  (whole heads and neurons, rotation, smoothing) is refused for other blocks in one sentence (`check_plain`).
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

READERS = (("q_proj", "k_proj", "v_proj"), ("attn_out",), ("ff_proj", "up_proj"), ("ff_out",))
DOWN = "ff_out"  # the last matrix of a block
VALUE = "v_proj"  # makes what a token hands to those that look at it
VALUES_ELSEWHERE = (".v_proj", ".self.value")  # the same in the layers of Llama and BERT of Transformers
# What makes each input, linear in a scale of its channels: a norm, the values (attention mixes tokens, never channels),
# or up, since h = silu(gate) * up is linear in it.
MAKERS = {"q_proj": "attn_norm", "attn_out": VALUE, "ff_proj": "ff_norm", "ff_out": "up_proj"}
NORMED = ("q_proj", "ff_proj")  # inputs that a norm makes, by the first matrix that reads them


@dataclass(frozen=True)
class Site:
    """One input and the names of the `matrices` that read it, paths inside the block.

    `tokens`, for a site that reads some tokens only: returns the place of each row it has just read among all tokens of
    the batch, (n,) indices into B * L. None: the input is (B, L, C), every token in its place.
    """

    matrices: tuple[str, ...]
    tokens: Callable[[], Tensor] | None = None


@dataclass(frozen=True)
class Unit:
    """A kind of unit that can leave a block: columns of the matrix `out`, rows of the matrices `into`."""

    out: str
    into: tuple[str, ...]


UNITS = {"heads": Unit("attn_out", READERS[0]), "neurons": Unit("ff_out", READERS[2])}


def blocks(model: nn.Module) -> nn.ModuleList:
    """Return the blocks of a model, from the first layer to the last."""
    return model.pieces.blocks


def check_plain(block: nn.Module) -> nn.Module:
    """Return a block of LLaDA's own kind. Raises `ValueError` for one that is built otherwise."""
    if hasattr(block, "sites"):
        raise ValueError(
            f"{type(block).__name__} has fused queries, keys and values, and maybe experts: heads, neurons, layers, "
            "values, scaling, smoothing and rotation know LLaDA's dense block only; methods of one matrix (magnitude, "
            "wanda, sparsegpt, rtn, gptq) take this one"
        )
    return block


def sites(block: nn.Module) -> tuple[Site, ...]:
    """List the inputs inside a block in the order in which they are read."""
    return block.sites() if hasattr(block, "sites") else tuple(Site(names) for names in READERS)


def matrices(block: nn.Module) -> dict[str, nn.Linear]:
    """List the matrices of a block that compression may change, by their path inside it."""
    return {name: block.get_submodule(name) for site in sites(block) for name in site.matrices}


def weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """List the weights that compression may change: {"blocks.0.q_proj": (R, C), ...}. Embedding, head and norms are
    not among them."""
    named = enumerate(blocks(model))
    return {f"blocks.{i}.{name}": matrix.weight for i, b in named for name, matrix in matrices(b).items()}


def inputs(block: nn.Module) -> dict[str, tuple[nn.Module, dict[str, nn.Linear]]]:
    """List the inputs inside a block by the first matrix that reads them: what makes each, and all that read it.

    The maker is linear: dividing its weight (a norm), or the rows of its weight, divides the channels of the input.
    """
    check_plain(block)
    found = {names[0]: {name: block.get_submodule(name) for name in names} for names in READERS}
    return {name: (block.get_submodule(MAKERS[name]), readers) for name, readers in found.items()}


def norms(model: nn.Module) -> list[tuple[nn.Module, list[nn.Linear]]]:
    """List every norm with the matrices that read what it makes, the head with the last one."""
    found = [inputs(block)[name] for block in blocks(model) for name in NORMED]
    last = model.pieces.norm, [model.pieces.head]
    return [(norm, list(readers.values())) for norm, readers in found] + [last]


def writers(block: nn.Module) -> list[nn.Linear]:
    """List the matrices that add to the stream between the blocks: the outputs of attention and of the MLP."""
    return [check_plain(block).get_submodule(unit.out) for unit in UNITS.values()]


def value(block: nn.Module) -> nn.Linear:
    """Return the matrix that makes what a token hands to those that look at it."""
    return check_plain(block).get_submodule(VALUE)


def ends(model: nn.Module) -> tuple[nn.Embedding, nn.Linear]:
    """Return the embedding and the head."""
    return model.pieces.embedding, model.pieces.head


def project(block: nn.Module, h: Tensor, rope) -> tuple[Tensor, Tensor, Tensor]:
    """Make the queries, keys and values of tokens `h` (B, q, D): (B, H, q, D/H), and (B, H_kv, q, D/H) twice."""
    return block.project(h, rope)


def shape(block: nn.Module) -> tuple[int, int]:
    """Return the number of heads of a block and the width of its MLP."""
    return check_plain(block).heads, block.ff_out.in_features


def embed(model: nn.Module, ids: Tensor) -> Tensor:
    """Look up the vectors that enter the first block, (B, L) -> (B, L, D)."""
    return model.pieces.embedding(ids)


def predict(model: nn.Module, h: Tensor) -> Tensor:
    """Turn what leaves the last block into logits, (B, q, D) -> (B, q, V)."""
    return model.pieces.head(model.pieces.norm(h))
