"""Lab 21: twelve claims of popular summaries, what their sources say, and how readers of them are scored.

Decisions
* `text` is the claim as it circulates, in our words. What counts as said: a primary source (the authors' paper, report
  or repository) makes this claim just so, with its number, its kind of model and its reason.
* `says`: "just so"; "in part", when the number is there and something else is not; "nowhere", when no primary source
  was found. The last is a statement about our search, not about the world.
* `read`: what of the source was read. A claim of which only a second-hand account was read is not in the list.
* `flaws`: where a reader has to look twice, by the six questions of the lab; a claim that its source makes just so can
  have some, too. The judgement is ours.

We chose the claims, and their mixture: scores say how a reader does on this list, not on the literature.
"""

import re
from dataclasses import dataclass

QUESTIONS = {
    "baseline": "Against what, and is that the best that costs as much?",
    "control": "What does the same do without the idea: other tokens, other weights, the same training?",
    "n and seeds": "How many problems, how many seeds, and where is the interval?",
    "cost": "Was everything that it costs counted, and alike for both?",
    "metric": "Can the measure rise while the model gets worse?",
    "source": "Does the source say it, and of this kind of model?",
}


@dataclass(frozen=True)
class Claim:
    """One claim; see the module for its fields. `arxiv`: where to look; `notebook`: where the course measures."""

    number: int
    name: str
    text: str
    says: str
    arxiv: str
    read: str
    flaws: tuple[str, ...]
    notebook: str


CLAIMS = (
    Claim(
        1,
        "A cache and a threshold",
        "Fast-dLLM raises the throughput of diffusion language models up to 27.6 times, without training and with "
        "minimal loss of accuracy.",
        "just so",
        "2505.22618",
        "paper",
        ("baseline",),
        "01, 08",
    ),
    Claim(
        2,
        "Uniform noise and arithmetic",
        "Uniform-state diffusion of 1.7 billion parameters beats autoregression on GSM8K, though its perplexity is "
        "worse: writing in parallel pays for reasoning.",
        "in part",
        "2602.15014",
        "paper, in part",
        ("metric", "source"),
        "01, 02",
    ),
    Claim(
        3,
        "Thirty steps for 256",
        "dParallel trains LLaDA-8B to answer GSM8K in 30 steps in place of 256, 8.5 times faster, without loss of "
        "performance.",
        "just so",
        "2509.26488",
        "abstract",
        ("baseline", "control", "cost"),
        "14",
    ),
    Claim(
        4,
        "The best of K",
        "A Best-of-K sampler raises the accuracy of diffusion language models on MATH500 by 18.6 percent.",
        "in part",
        "2602.18292",
        "abstract, introduction",
        ("baseline", "source"),
        "10",
    ),
    Claim(
        5,
        "Without its sink",
        "Autoregressive models are highly sensitive to the loss of their attention sinks; diffusion language models "
        "are robust, and masking the sinks costs them little.",
        "just so",
        "2510.15731",
        "paper",
        ("control",),
        "03",
    ),
    Claim(
        6,
        "Sinks as a guide to pruning",
        "Sink-Aware Pruning takes 30 percent of the weights of LLaDA, keeps 75.8 of 78.5 points on GSM8K, and decodes "
        "1.4 times faster.",
        "nowhere",
        "2602.17664",
        "abstract, introduction, code, table of the repository",
        ("baseline", "control", "n and seeds", "cost", "source"),
        "04",
    ),
    Claim(
        7,
        "Who bears rounding",
        "At two to four bits the diffusion model CoDA loses less accuracy on code than its autoregressive counterpart "
        "Qwen3-1.7B.",
        "just so",
        "2604.20079",
        "abstract",
        ("control", "n and seeds"),
        "05",
    ),
    Claim(
        8,
        "Early steps precise",
        "The early steps of a diffusion language model need high precision; the late ones can run in four bits.",
        "nowhere",
        "",
        "nothing to read",
        ("baseline", "control", "source"),
        "05",
    ),
    Claim(
        9,
        "Three stages",
        "SPQ (SVD, pruning, quantization) takes up to 75 percent of LLaMA-2-7B's memory away and brings its perplexity "
        "on WikiText-2 from 5.47 down to 4.91.",
        "just so",
        "2602.18420",
        "paper, code",
        ("baseline", "control", "n and seeds", "metric"),
        "06",
    ),
    Claim(
        10,
        "A golden subset",
        "GoldDiff, an exact denoiser without training, is 71 times faster on a golden subset of its data, which makes "
        "it a language model for nothing.",
        "in part",
        "2602.16498",
        "abstract",
        ("baseline", "metric", "source"),
        "11",
    ),
    Claim(
        11,
        "A tenth of the cost",
        "Linear attention brings inference down to a tenth of the cost: Ring-linear beside a dense model of 32 billion "
        "parameters.",
        "in part",
        "2510.19338",
        "abstract",
        ("baseline", "control", "source"),
        "07",
    ),
    Claim(
        12,
        "PRISM",
        "PRISM, the head with which a masked model doubts its own tokens, gains more than 100 percent of hypervolume.",
        "in part",
        "2602.18277",
        "abstracts of both papers",
        ("baseline", "metric", "source"),
        "13, 06",
    ),
)
HAPPENED = tuple(claim.says == "just so" for claim in CLAIMS)


def guesses(mine: dict[int, float | None]) -> list[float] | None:
    """Give the reader's probabilities in the order of the claims, or None while one is missing.

    Raises `ValueError` for what is no probability.
    """
    found = [mine.get(claim.number) for claim in CLAIMS]
    if any(p is None for p in found):
        return None
    if wrong := [p for p in found if not 0 <= p <= 1]:
        raise ValueError(f"{wrong[0]!r} is no probability: must be 0 to 1")
    return [float(p) for p in found]


def readers() -> dict[str, list[float]]:
    """Give four readers who need not think: nobody's word, everybody's word, a coin, and one who goes by the figures.

    "trusts decimals" believes what has a number with a decimal point.
    """
    decimal = re.compile(r"\d\.\d")
    return {
        "all of it is wrong": [0.05] * len(CLAIMS),
        "all of it is right": [0.95] * len(CLAIMS),
        "a coin": [0.5] * len(CLAIMS),
        "trusts decimals": [0.8 if decimal.search(c.text) else 0.2 for c in CLAIMS],
    }
