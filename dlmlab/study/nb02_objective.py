"""Notebook 02: the bound of LLaDA-mini on the test split by noise level, and what the model writes from nothing."""

from collections.abc import Sequence
from functools import cache

import torch
from transformers import PreTrainedTokenizerBase

from dlmlab.decode.run import decode
from dlmlab.decode.sampling import Sampler
from dlmlab.measure.evaluate import digits
from dlmlab.measure.table import Table
from dlmlab.objective.likelihood import next_token_nats, up_to_end
from dlmlab.objective.noise import count_masks, masked_losses
from dlmlab.study.stand_in import load
from dlmlab.task import tasks
from dlmlab.task.layout import ANSWER_LENGTH, Rows, decode_answer, encode_prompt, encode_rows, hidden_prompt
from dlmlab.task.tokenizer import ANSWER

LEVELS = 5  # bins of the share of masked tokens
PROBLEMS, DRAWS, BATCH = 160, 12, 16
SAMPLES, FEW = 32, 4
TWIN = "twin, left to right"
SAMPLERS = {
    "random order": Sampler("random", temperature=1.0),
    "most probable first": Sampler("probability", temperature=1.0),
    "left to right": Sampler("left_to_right", temperature=1.0),  # the twin's order: what is left is the model
    TWIN: Sampler(temperature=1.0),  # a causal model, decoded in its own way
}


# ------------------------------------------------------------------------------------------------ bounds


def bound_rows(model, rows: Rows, part: str, *, draws: int, generator: torch.Generator) -> list[dict]:
    """Estimate the bound of one part of each row by count: of the answer given the question, or of the question alone.

    Each result holds `bound` in nats and `levels`, one [summed loss, masked tokens] for each bin of the masked share.
    For the question all tokens of the answer are masked and none is counted.
    """
    x0, maskable = rows.x0, getattr(rows, part)
    if part == "question":
        x0 = torch.where(rows.answer, model.config.mask_token_id, x0)
    masked, weight = count_masks(maskable, draws=draws, generator=generator)
    losses = masked_losses(model, x0, masked, valid=rows.valid).sum(-1)  # (B, draws)
    count = masked.sum(-1)
    level = (count * LEVELS - 1) // maskable.sum(1, keepdim=True)  # a share of exactly 0.2 is in the first bin
    bins = [level == i for i in range(LEVELS)]
    return [
        {
            "bound": float((weight[b] * losses[b]).mean()),
            "levels": [[float(losses[b][bin[b]].sum()), int(count[b][bin[b]].sum())] for bin in bins],
        }
        for b in range(len(x0))
    ]


def twin_rows(twin, rows: Rows, eos_id: int) -> list[dict]:
    """Compute the exact -log p of question and answer under an autoregressive model, in nats.

    The question counts with its answer mark and the answer with one end mark: they say how long each is.
    """
    nats = next_token_nats(twin, rows.x0, rows.valid).double()  # (B, L - 1), of token i + 1
    question = (rows.valid & ~rows.answer)[:, 1:] & rows.valid[:, :-1]  # the start mark is given
    answer = up_to_end(rows.x0, rows.answer, eos_id)[:, 1:]
    return [
        {"question": float(nats[b][question[b]].sum()), "answer": float(nats[b][answer[b]].sum())}
        for b in range(len(nats))
    ]


@cache
def bounds_from(first: int) -> list[dict]:
    """Measure `BATCH` problems of the test split that start at index `first`; the index seeds the masks."""
    (model, tokenizer), (twin, _) = load("llada-mini"), load("llama-mini")
    problems = tasks.load_split("test")[first : first + BATCH]
    rows = encode_rows(tokenizer, problems, side="left")
    parts = {
        part: bound_rows(model, rows, part, draws=DRAWS, generator=torch.Generator().manual_seed(first))
        for part in ("answer", "question")
    }
    exact = twin_rows(twin, rows, tokenizer.eos_token_id)
    return [
        {
            "steps": p.steps,
            "question_tokens": int(rows.question[i].sum()),
            "answer": parts["answer"][i],
            "question": parts["question"][i],
            "twin": exact[i],
        }
        for i, p in enumerate(problems)
    ]


BOUNDS = Table(
    "02_bounds",
    lambda: [{"problem": i} for i in range(PROBLEMS)],
    lambda problem, size=None: bounds_from(problem // BATCH * BATCH)[problem % BATCH],
    live=[{"problem": i} for i in range(0, BATCH, 3)],
    tolerance={"answer": (0.001, 0.02), "question": (0.001, 0.02), "twin": (0.001, 0.02)},
)


# ------------------------------------------------------------------------------------------------ samples from nothing


def from_nothing(
    model, tokenizer: PreTrainedTokenizerBase, lengths: Sequence[int], sampler: Sampler, generator: torch.Generator
) -> list[tuple[str, str]]:
    """Sample questions with their answers from nothing: pairs of texts.

    A diffusion model is given the lengths of the questions; a causal one ends its questions itself.
    """
    invents = model.config.attention == "causal"
    prompts = [[tokenizer.bos_token_id] if invents else hidden_prompt(tokenizer, n) for n in lengths]
    room = model.config.max_sequence_length - 1 if invents else ANSWER_LENGTH
    out = decode(model, prompts, gen_length=room, sampler=sampler, generator=generator)
    if invents:
        parts = [tokenizer.decode(ids).partition(ANSWER) for ids in out.answers]
        return [(question.strip(), text.strip()) for question, _, text in parts]
    end = out.prompt_length - 1  # where the answer mark stands
    return [
        (tokenizer.decode(out.ids[i, end - n : end].tolist()), decode_answer(tokenizer, out.answers[i]))
        for i, n in enumerate(lengths)
    ]


def sample_row(model, tokenizer, method: str, batch: int, size: int = BATCH) -> dict:
    """Sample one batch and judge it: which texts are problems, which are solved right, one letter a sample.

    The lengths of the questions are those of calibration problems. `read`: the question is one; `correct`: and the
    answer is right; `clean`: and every equation is right and asked for.
    """
    problems = tasks.load_split("calibration")[batch * BATCH : batch * BATCH + size]
    lengths = [len(encode_prompt(tokenizer, p.question)) - 2 for p in problems]
    generator = torch.Generator().manual_seed(batch)
    texts = from_nothing(model, tokenizer, lengths, SAMPLERS[method], generator)
    verdicts = [tasks.verify(question, answer) for question, answer in texts]
    return {
        "read": digits(not v.problem for v in verdicts),
        "correct": digits(v.correct for v in verdicts),
        "clean": digits(v.clean for v in verdicts),
        "problem": [v.problem for v in verdicts],
        "texts": texts,
    }


def run(method: str, batch: int, size: int | None = None) -> dict:
    """Sample one batch, and the first few of it alone: the chance of a row depends on its batch, so that a live slice
    can repeat these (`begin`) and nothing else."""
    model, tokenizer = load("llama-mini" if method == TWIN else "llada-mini")
    few = sample_row(model, tokenizer, method, batch, size=FEW)["texts"]
    begin = {"begin": [" | ".join(text) for text in few]}
    return begin if size else sample_row(model, tokenizer, method, batch) | begin


SAMPLED = Table(
    "02_samples",
    lambda: [{"method": method, "batch": batch} for batch in range(SAMPLES // BATCH) for method in SAMPLERS],
    run,
    live=({"method": "most probable first", "batch": 0}, {"method": TWIN, "batch": 0}),
    size=FEW,
    flips=0.25,  # one token drawn otherwise changes the rest of a text
)
