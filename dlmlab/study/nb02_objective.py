"""Notebook 02: the bound of LLaDA-mini on the test split by noise level, and what the model writes from nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dlmlab.decode import autoregressive
from dlmlab.decode.sampling import Sampler, left_pad, sample
from dlmlab.measure.table import Table
from dlmlab.network.checkpoint import load
from dlmlab.objective.noise import count_masks, masked_losses
from dlmlab.task import tasks
from dlmlab.task.tokenizer import ANSWER, decode_answer, encode_prompt

WINDOW = 40  # tokens after the question, as in the sampling of notebook 01: the solution, then end marks
LEVELS = 5  # bins of the share of masked tokens
PROBLEMS, DRAWS, BATCH = 160, 12, 16
SAMPLES = 32
TWIN = "twin, left to right"
SAMPLERS = {
    "random order": Sampler("random", temperature=1.0),
    "most probable first": Sampler("probability", temperature=1.0),
    TWIN: Sampler(temperature=1.0),  # a causal model, decoded in its own way
}


# ------------------------------------------------------------------------------------------------ bounds


@dataclass(frozen=True)
class Rows:
    """Problems as rows, padded on the left: ids `x0` (B, L), `valid`, `question` and `answer` (B, L) bool.

    `question` leaves out the start and answer marks, which are never masked; `answer` is the whole window.
    """

    x0: Tensor
    valid: Tensor
    question: Tensor
    answer: Tensor


def rows_of(tokenizer: PreTrainedTokenizerBase, problems: Sequence[tasks.Problem], window: int = WINDOW) -> Rows:
    """Lay out questions and answers, the answers followed by end marks up to `window` tokens."""
    prompts, valid = left_pad([encode_prompt(tokenizer, p.question) for p in problems], tokenizer.eos_token_id, "cpu")
    answers = torch.full((len(problems), window), tokenizer.eos_token_id)
    for row, p in zip(answers, problems, strict=True):
        ids = tokenizer(p.solution, add_special_tokens=False)["input_ids"]
        row[: len(ids)] = torch.tensor(ids)
    marks = torch.tensor([tokenizer.bos_token_id, tokenizer.convert_tokens_to_ids(ANSWER)])
    nothing, everything = torch.zeros_like(valid), torch.ones_like(answers, dtype=torch.bool)
    return Rows(
        x0=torch.cat([prompts, answers], 1),
        valid=torch.cat([valid, everything], 1),
        question=torch.cat([valid & ~torch.isin(prompts, marks), ~everything], 1),
        answer=torch.cat([nothing, everything], 1),
    )


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


@torch.no_grad()
def twin_rows(twin, rows: Rows, eos_id: int) -> list[dict]:
    """Compute the exact -log p of question and answer under an autoregressive model, in nats.

    The question counts with its answer mark and the answer with one end mark: they say how long each is.
    """
    log_p = twin(rows.x0, rows.valid).logits[:, :-1].log_softmax(-1)
    loss = -log_p.gather(-1, rows.x0[:, 1:, None])[..., 0].double()  # (B, L - 1), of token i + 1
    answer, valid = rows.answer[:, 1:], rows.valid[:, 1:] & rows.valid[:, :-1]
    first_end = (answer & (rows.x0[:, 1:] == eos_id)).cumsum(1) <= 1
    question = valid & ~answer
    return [
        {"question": float(loss[b][question[b]].sum()), "answer": float(loss[b][answer[b] & first_end[b]].sum())}
        for b in range(len(rows.x0))
    ]


@cache
def bounds_from(first: int) -> list[dict]:
    """Measure `BATCH` problems of the test split that start at index `first`; the index seeds the masks."""
    (model, tokenizer), (twin, _) = load("llada-mini"), load("llama-mini")
    problems = tasks.load_split("test")[first : first + BATCH]
    rows = rows_of(tokenizer, problems)
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
    bos, answer = tokenizer.bos_token_id, tokenizer.convert_tokens_to_ids(ANSWER)
    if model.config.attention == "causal":
        room = model.config.max_sequence_length - 1
        out = autoregressive.sample(
            model, [[bos]] * len(lengths), gen_length=room, temperature=sampler.temperature, generator=generator
        )
        parts = [tokenizer.decode(ids).partition(ANSWER) for ids in out.answers]
        return [(question.strip(), text.strip()) for question, _, text in parts]
    prompts = [[bos] + [tokenizer.mask_token_id] * n + [answer] for n in lengths]
    out = sample(model, prompts, gen_length=WINDOW, sampler=sampler, generator=generator)
    P = out.prompt_length
    return [
        (tokenizer.decode(out.ids[i, P - 1 - n : P - 1].tolist()), decode_answer(tokenizer, out.answers[i]))
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
        "read": "".join(str(int(not v.problem)) for v in verdicts),
        "correct": "".join(str(int(v.correct)) for v in verdicts),
        "clean": "".join(str(int(v.clean)) for v in verdicts),
        "problem": [v.problem for v in verdicts],
        "texts": texts,
    }


def run(method: str, batch: int, size: int | None = None) -> dict:
    """Sample one batch, always all of it: the chance of a row depends on its batch."""
    model, tokenizer = load("llama-mini" if method == TWIN else "llada-mini")
    return sample_row(model, tokenizer, method, batch)


SAMPLED = Table(
    "02_samples",
    lambda: [{"method": method, "batch": batch} for batch in range(SAMPLES // BATCH) for method in SAMPLERS],
    run,
    live=({"method": "most probable first", "batch": 0}, {"method": TWIN, "batch": 0}),
    flips=0.25,  # one token drawn otherwise changes the rest of a text
)
