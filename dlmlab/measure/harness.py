"""A model class for EleutherAI's evaluation harness, so that its hundreds of tasks can be asked of our models.

    import lm_eval
    import dlmlab.measure.harness                        # registers the name "dlmlab"
    lm_eval.simple_evaluate("dlmlab", model_args="pretrained=llada-mini,threshold=0.9", tasks=["gsm8k"])

    python -m dlmlab.measure.harness run --model dlmlab --model_args pretrained=llada-mini --tasks gsm8k

Decisions
* A causal model's log-likelihood is exact: one forward, the logits before each token.
* A diffusion model has a bound on it from below, minus `noise.bound_by_count`: masks of a drawn count, `draws` of them
  for each continuation, or all 2^n - 1 where those are fewer, and then nothing is drawn. Every continuation begins from
  the same seed, so that those of one length meet the same masks and are compared in pairs. What is compared over
  continuations is the bound, and it is not equally tight for all.
* A block-causal model is bounded block by block, each given the clean ones before it, as it is trained. The bounds add
  up (chain rule), and so do those of windows of a text that is longer than the model.
* A text is all there is: it ends with its continuation, no mask or end mark comes behind it.
* "Greedy" is what our decoder writes in as many tokens as the continuation has, one a forward; of a causal model, the
  likeliest token at each place.
* Nothing is left out in silence: options of a request that the decoder does not have are refused; a context is cut on
  its left with a warning; a continuation longer than the model is refused.

Sources: Gao et al., lm-evaluation-harness (github.com/EleutherAI/lm-evaluation-harness; its interface, version 0.4);
Nie et al., LLaDA, arXiv 2502.09992, equation 6 and appendix B.5.
"""

import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from dlmlab import limits
from dlmlab.decode.commit import Fixed, Threshold
from dlmlab.decode.run import decode, sampler_for
from dlmlab.network.checkpoint import load
from dlmlab.network.config import attention_block
from dlmlab.objective.likelihood import next_token_nats
from dlmlab.objective.noise import ENUMERABLE, bound_by_count, bound_by_enumeration

try:
    from lm_eval.api.model import LM
    from lm_eval.api.registry import register_model
except ImportError:  # an extra: what needs no harness works without it
    LM, register_model = object, lambda *names: lambda model: model

MISSING = "the evaluation harness is not installed: `pip install 'lm_eval>=0.4.13,<0.5'` (or the extra `harness`)"
KNOWN = ("until", "max_gen_toks", "do_sample", "temperature")  # what a request for a text may say


# ------------------------------------------------------------------------------------------------ ids


def log_likelihood(
    model, context: Sequence[int], continuation: Sequence[int], *, draws: int = 128, seed: int = 0, batch_size: int = 32
) -> float:
    """Compute log p(continuation | context) in nats: exact for a causal model, a bound from below for any other.

    A diffusion model's is a Monte Carlo estimate, without bias, from `draws` masks for each block that the continuation
    touches; exact, as a bound, where all masks are no more than that. Raises `ValueError` for an empty continuation,
    for an empty context of a causal model, and for a text longer than the model reads.
    """
    limits.whole("draws", draws, 1)
    text, start, size = [*context, *continuation], len(context), attention_block(model.config.attention)
    if start == len(text) or (size == 1 and not start):
        raise ValueError(f"{start} tokens of context and {len(text) - start} to be scored: nothing to score, or from")
    if len(text) > model.config.max_sequence_length:
        raise ValueError(f"length {len(text)} is outside 1..{model.config.max_sequence_length} (max_sequence_length)")
    x0 = torch.tensor([text], device=model.device)
    if size == 1:
        return -float(next_token_nats(model, x0)[0, start - 1 :].double().sum())
    total = 0.0
    for low, high in blocks_of(start, len(text), size):
        maskable = torch.zeros(1, high, dtype=torch.bool)
        maskable[:, low:] = True
        total -= _bound(model, x0[:, :high], maskable, draws, seed, batch_size)
    return total


def blocks_of(start: int, end: int, size: int | None) -> list[tuple[int, int]]:
    """Cut the places from `start` to `end` where blocks of `size` begin (None: one block), as (first, one after last).

    >>> blocks_of(3, 10, 4)
    [(3, 4), (4, 8), (8, 10)]
    """
    borders = [] if size is None else range(start - start % size + size, end, size)
    edges = [start, *borders, end]
    return list(zip(edges, edges[1:], strict=False))


def _bound(model, x0: Tensor, maskable: Tensor, draws: int, seed: int, batch_size: int) -> float:
    n = int(maskable.sum())
    if n <= ENUMERABLE and 2**n - 1 <= draws:
        return float(bound_by_enumeration(model, x0, maskable, batch_size=batch_size)[0])
    generator = torch.Generator().manual_seed(seed)
    return float(bound_by_count(model, x0, maskable, draws=draws, generator=generator, batch_size=batch_size).mean())


@torch.inference_mode()
def is_greedy(model, context: Sequence[int], continuation: Sequence[int]) -> bool:
    """Say whether greedy decoding writes this continuation: n tokens in n forwards, or each likeliest next token."""
    if model.config.attention == "causal":
        ids = torch.tensor([[*context, *continuation]], device=model.device)
        logits = model(ids, logits_to_keep=slice(len(context) - 1, -1)).logits
        logits[..., model.config.mask_token_id] = -math.inf
        return logits.argmax(-1)[0].tolist() == list(continuation)
    sampler, n = sampler_for(model.config, commit=Fixed()), len(continuation)
    out = decode(model, [list(context)], attention_mask=[[1] * len(context)], gen_length=n, sampler=sampler)
    return out.ids[0, -n:].tolist() == list(continuation)


# ------------------------------------------------------------------------------------------------ texts


@register_model("dlmlab")
class Harness(LM):
    """One of our models as the harness asks for it.

    `pretrained`: a name as `dl.load` takes it, or a model, and then `tokenizer`. `device`, `dtype`, `device_map`: of
    `dl.load`. `draws`: masks for each bound. `greedy`: whether a score also says if the text is the greedy one; False
    saves those forwards and answers False. `threshold`, or `steps` for each text (None: one token a forward), `block`
    (None: as the model was trained) and `gen_length`: how a text is written where a request does not say how long.
    Raises `ImportError` with the line that installs the harness where it is absent.
    """

    def __init__(
        self,
        pretrained="llada-mini",
        *,
        tokenizer=None,
        device: str | None = None,
        dtype: str = "float32",
        device_map: str | None = None,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
        draws: int = 128,
        greedy: bool = True,
        threshold: float | None = None,
        steps: int | None = None,
        block: int | None = None,
        gen_length: int = limits.ANSWER_LENGTH,
        seed: int = 0,
    ):
        if LM is object:
            raise ImportError(MISSING)
        super().__init__()
        if isinstance(pretrained, str):
            how = {"dtype": getattr(torch, dtype), "device": device or "cpu", "device_map": device_map}
            pretrained, tokenizer = load(pretrained, **how)
        if threshold is not None and steps is not None:
            raise ValueError(
                f"threshold={threshold} decides itself how many forwards there are: leave out steps={steps}"
            )
        self.model, self.tokenizer, self._device = pretrained, tokenizer, pretrained.device
        self.batch_size = 32 if batch_size in (None, "auto") else int(batch_size)
        self.draws, self.greedy, self.gen_length, self.seed = draws, greedy, gen_length, seed
        self.how = {"commit": Fixed(steps) if threshold is None else Threshold(threshold), "block_length": block}

    @property
    def longest(self) -> int:
        return self.model.config.max_sequence_length

    @property
    def prefix(self) -> int:
        """What stands before a text without context: the start mark, or the end mark of a tokenizer without one."""
        first = self.tokenizer.bos_token_id
        return self.tokenizer.eos_token_id if first is None else first

    def encode(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """Turn a pair of texts into ids. White space between them goes to the second, as most tokenizers have it; an
        empty context is the `prefix`."""
        kept, whole = context.rstrip(), self.tokenizer(context + continuation)["input_ids"]
        if not kept:
            return [self.prefix], whole[whole[:1] == [self.prefix] :]
        first = self.tokenizer(kept)["input_ids"]
        return first, whole[len(first) :]

    def cut(self, context: list[int], more: int) -> list[int]:
        """Cut a context on its left so that `more` tokens fit behind it, with a warning."""
        room = self.longest - more
        if room < 1:
            raise ValueError(f"{more} tokens to score or write, and one before them, of {self.longest} the model reads")
        if len(context) > room:
            warnings.warn(f"a context of {len(context)} tokens is cut to its last {room}", stacklevel=2)
        return context[-room:]

    def score(self, context: list[int], continuation: list[int]) -> float:
        how = {"draws": self.draws, "seed": self.seed, "batch_size": self.batch_size}
        return log_likelihood(self.model, self.cut(context, len(continuation)), continuation, **how)

    def loglikelihood(self, requests, disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Score continuations: (log p or its bound, in nats; whether greedy decoding writes it)."""
        results = []
        for request in requests:
            context, continuation = self.encode(*request.args)
            score = self.score(context, continuation)
            greedy = self.greedy and is_greedy(self.model, self.cut(context, len(continuation)), continuation)
            results.append((score, greedy))
            self.cache_hook.add_partial("loglikelihood", request.args, results[-1])
        return results

    def loglikelihood_rolling(self, requests, disable_tqdm: bool = False) -> list[float]:
        """Score whole texts, each token once, in windows as long as the model; each text by itself."""
        from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

        results = []
        for request in requests:
            _, ids = self.encode("", request.args[0])
            windows = get_rolling_token_windows(ids, self.prefix, self.longest - 1, 1)  # the prefix takes a place
            results.append(sum(self.score(*make_disjoint_window(window)) for window in windows))
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, results[-1])
        return results

    def generate_until(self, requests, disable_tqdm: bool = False) -> list[str]:
        """Write a text after each context, up to the first end mark or stop text."""
        asked: dict[tuple[int, float], list[int]] = {}
        for i, request in enumerate(requests):
            asked.setdefault(self._wish(request.args[1]), []).append(i)
        results = [""] * len(requests)
        for (length, temperature), places in asked.items():
            sampler = sampler_for(self.model.config, temperature=temperature, **self.how)
            read = {i: self.tokenizer(requests[i].args[0])["input_ids"] for i in places}
            contexts = {i: self.cut(ids or [self.prefix], length) for i, ids in read.items()}
            places.sort(key=lambda i: len(contexts[i]))
            for at in range(0, len(places), self.batch_size):
                some = places[at : at + self.batch_size]
                for i, text in zip(some, self._write([contexts[i] for i in some], length, sampler), strict=True):
                    results[i] = _before(text, requests[i].args[1].get("until", []))
                    self.cache_hook.add_partial("generate_until", requests[i].args, results[i])
        return results

    def _wish(self, options: dict) -> tuple[int, float]:
        """Read length and temperature of a request. Raises `ValueError` for what our decoders do not do."""
        if other := sorted(set(options) - set(KNOWN)):
            raise ValueError(f"{', '.join(other)}: these decoders know {', '.join(KNOWN)}")
        temperature = float(options.get("temperature", 0.0)) if options.get("do_sample") else 0.0
        return int(options.get("max_gen_toks", self.gen_length)), temperature

    def _write(self, prompts: list[list[int]], length: int, sampler) -> list[str]:
        longest, generator = max(map(len, prompts)), torch.Generator(self.model.device).manual_seed(self.seed)
        masks = [[0] * (longest - len(p)) + [1] * len(p) for p in prompts]
        padded = [[self.prefix] * (longest - len(p)) + p for p in prompts]
        request = {"attention_mask": masks, "gen_length": length, "generator": generator}
        out = decode(self.model, padded, sampler=sampler, **request)
        return [self.tokenizer.decode(ids, skip_special_tokens=True) for ids in out.answers]

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Write turns as one text, by the chat template of the tokenizer."""
        how = {"tokenize": False, "add_generation_prompt": add_generation_prompt}
        return self.tokenizer.apply_chat_template(chat_history, **how)

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """Return the text of the tokenizer's template, for the harness to write down."""
        return self.tokenizer.chat_template if chat_template else None

    @property
    def tokenizer_name(self) -> str:
        return (self.tokenizer.name_or_path or type(self.tokenizer).__name__).replace("/", "__")


def _before(text: str, stops: str | Sequence[str]) -> str:
    """Cut a text at the first of the stop texts.

    >>> _before("18 apples. Q: and", ["Q:", "."])
    '18 apples'
    """
    for stop in [stops] if isinstance(stops, str) else stops:
        text = text.partition(stop)[0] if stop else text
    return text


if __name__ == "__main__":  # the command of the harness, which then knows our name
    if LM is object:
        raise SystemExit(MISSING)
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()
