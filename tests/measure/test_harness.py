"""What the evaluation harness asks of our models, with the harness where it is installed and without it."""

import json
import math
import warnings
from itertools import permutations
from types import SimpleNamespace

import pytest
import torch

from dlmlab.decode.commit import Threshold
from dlmlab.decode.run import decode, sampler_for
from dlmlab.measure import evaluate, harness
from dlmlab.measure.harness import Harness, blocks_of, is_greedy, log_likelihood
from dlmlab.network.checkpoint import load
from dlmlab.task.layout import encode_prompt, encode_solution
from dlmlab.task.tasks import load_split
from dlmlab.task.tokenizer import ANSWER, BOS
from tests.tiny import one_thread, tiny_ids, tiny_model, tiny_moe

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")
INSTALLED = harness.LM is not object
ABSENT = "2026-11-29: " + harness.MISSING
NEEDED = pytest.mark.skipif(not INSTALLED, reason=ABSENT)
MODELS = {"full": tiny_model, "block": lambda: tiny_model("block:4"), "experts": tiny_moe}


def texts(n: int, vocab: int = 50) -> tuple[list[int], list[int]]:
    """Draw a context of five ids and a continuation of n, without the mask of the models with experts."""
    ids = [4 + i % (vocab - 4) for i in tiny_ids(1, 5 + n)[0].tolist()]
    return ids[:5], ids[5:]


@torch.no_grad()
def log_p(model, known: dict[int, int], length: int, place: int, token: int) -> float:
    """log p of one token at a place, given some others, the rest of the text masked."""
    ids = torch.full((1, length), model.config.mask_token_id)
    for i, id in known.items():
        ids[0, i] = id
    logits = model(ids).logits[0, place].double()
    logits[model.config.mask_token_id] = -math.inf
    return float(logits.log_softmax(-1)[token])


# ------------------------------------------------------------------------------------------------ scores


def test_a_causal_score_is_the_chain_rule():
    model, (context, more) = tiny_model("causal"), texts(6)
    chain = 0.0
    for i in range(len(more)):
        with torch.no_grad():
            logits = model(torch.tensor([context + more[:i]])).logits[0, -1].double()
        chain += float(logits.log_softmax(-1)[more[i]])
    assert log_likelihood(model, context, more) == pytest.approx(chain, rel=1e-5)


@pytest.mark.parametrize("kind", MODELS)
def test_a_short_continuation_is_bounded_by_all_orders_of_its_tokens(kind):
    """The bound is the mean of log p over every order in which the tokens of a block can be filled in."""
    model, (context, more) = MODELS[kind](), texts(5)
    size, total = (None if kind == "full" else 4), 0.0
    text = context + more
    for low, high in blocks_of(5, 10, size):
        orders = list(permutations(range(low, high)))
        for order in orders:
            known = dict(enumerate(text[:low]))
            for place in order:
                total += log_p(model, known, high, place, text[place]) / len(orders)
                known[place] = text[place]
    assert log_likelihood(model, context, more, draws=64) == pytest.approx(total, rel=1e-4)
    assert log_likelihood(model, context, more, draws=64, seed=1) == log_likelihood(model, context, more, draws=64)


def test_a_long_continuation_is_drawn_around_the_same_bound():
    model, (context, more) = tiny_model(), texts(7)
    exact = log_likelihood(model, context, more, draws=127)
    drawn = [log_likelihood(model, context, more, draws=40, seed=seed) for seed in range(30)]
    spread = float(torch.tensor(drawn).std())
    assert sum(drawn) / 30 == pytest.approx(exact, abs=4 * spread / 30**0.5) and 0 < spread < 0.2 * abs(exact)


def test_what_cannot_be_scored_is_refused():
    for model in (tiny_model(), tiny_model("causal")):
        with pytest.raises(ValueError, match="nothing to score"):
            log_likelihood(model, [5, 6], [])
        with pytest.raises(ValueError, match="length 33 is outside 1..32"):
            log_likelihood(model, [5] * 30, [6] * 3)
    with pytest.raises(ValueError, match="nothing to score, or from"):
        log_likelihood(tiny_model("causal"), [], [5])
    assert log_likelihood(tiny_model(), [], [5]) < 0  # a diffusion model needs no context


@pytest.mark.parametrize("kind", [*MODELS, "causal"])
def test_the_greedy_text_is_greedy_and_no_other(kind):
    model, (context, _) = MODELS[kind]() if kind in MODELS else tiny_model("causal"), texts(1)
    text = list(context)
    if kind == "causal":
        for _ in range(6):
            with torch.no_grad():
                logits = model(torch.tensor([text])).logits[0, -1]
            logits[model.config.mask_token_id] = -math.inf
            text.append(int(logits.argmax()))
    else:
        text = decode(model, [context], gen_length=6, sampler=sampler_for(model.config)).ids[0].tolist()
    assert len(text) == 11 and is_greedy(model, context, text[5:])
    for place in range(5, 11):
        other = [*text[:place], (text[place] + 1) % 50, *text[place + 1 :]]
        assert not is_greedy(model, context, other[5:])


# ------------------------------------------------------------------------------------------------ the class


def asked(*args) -> SimpleNamespace:
    return SimpleNamespace(args=args, arguments=args)


def test_without_the_harness_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(harness, "LM", object)
    with pytest.raises(ImportError, match=r"pip install 'lm_eval"):
        Harness("llada-mini")


@pytest.fixture(scope="module", params=["llada-mini", "llama-mini"])
def mini(request):
    if not INSTALLED:
        pytest.skip(ABSENT)
    return Harness(request.param, draws=16, threshold=0.9 if request.param == "llada-mini" else None, batch_size=8)


def problems(n: int = 6):
    return load_split("validation")[:n]


def test_texts_become_the_ids_of_the_course(mini):
    problem = problems(1)[0]
    context, solution = mini.encode(f"{BOS}{problem.question}{ANSWER}", " " + problem.solution)
    assert context == encode_prompt(mini.tokenizer, problem.question)
    assert solution == encode_solution(mini.tokenizer, problem)
    turn = [{"role": "user", "content": problem.question}]
    assert mini.encode(mini.apply_chat_template(turn), " " + problem.solution) == (context, solution)
    assert mini.encode("", problem.solution) == ([mini.tokenizer.bos_token_id], solution)


def test_scores_are_those_of_the_ids(mini):
    pairs = [(f"{BOS}{p.question}{ANSWER}", p.solution) for p in problems(3)]
    found = mini.loglikelihood([asked(*pair) for pair in pairs])
    for (context, continuation), (score, greedy) in zip(pairs, found, strict=True):
        ids = mini.encode(context, continuation)
        assert score == log_likelihood(mini.model, *ids, draws=16) and greedy == is_greedy(mini.model, *ids)
    wrong = mini.loglikelihood([asked(pairs[0][0], pairs[1][1])])[0]
    assert wrong[0] < found[0][0] - 5 and not wrong[1]  # nats: the solution of another problem


def test_a_text_longer_than_the_model_is_scored_in_windows(mini):
    text = " ".join(f"{p.question} {p.solution}" for p in problems(4))
    n = len(mini.encode("", text)[1])
    assert n > 2 * mini.longest
    whole = mini.loglikelihood_rolling([asked(text)])[0]
    short = mini.loglikelihood_rolling([asked(problems(1)[0].question)])[0]
    assert -12 * n < whole < short < 0
    ids = mini.encode("", problems(1)[0].question)
    assert short == log_likelihood(mini.model, *ids, draws=16)


def test_a_context_that_is_too_long_is_cut_with_a_warning_and_a_continuation_is_refused(mini):
    ids = [mini.tokenizer.bos_token_id, *[30] * 200]
    with pytest.warns(UserWarning, match="201 tokens is cut to its last 94"):
        assert mini.cut(ids, 2) == ids[-94:]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert mini.cut(ids[:94], 2) == ids[:94]
    with pytest.raises(ValueError, match="96 tokens to score or write, and one before them, of 96"):
        mini.cut(ids, 96)


def test_texts_end_at_the_first_stop_and_come_back_in_order(mini):
    requests = [asked(f"{BOS}{p.question}{ANSWER}", {"until": [";"]}) for p in problems(9)]
    texts = mini.generate_until(requests)
    assert texts == [t.partition(";")[0] for t in mini.generate_until([asked(r.args[0], {}) for r in requests])]
    assert [bool(t) and ";" not in t for t in texts] == [True] * 9
    alone = [mini.generate_until([request])[0] for request in requests]
    assert sum(a == b for a, b in zip(texts, alone, strict=True)) >= 8  # a tie may fall otherwise in a batch
    short = mini.generate_until([asked(requests[0].args[0], {"max_gen_toks": 2})])[0]
    assert len(short.split()) <= 2


def test_options_that_would_do_nothing_are_refused(mini):
    with pytest.raises(ValueError, match="top_k: these decoders know until, max_gen_toks"):
        mini.generate_until([asked("2", {"top_k": 5})])
    with pytest.raises(ValueError, match="leave out steps=3"):
        Harness(mini.model, tokenizer=mini.tokenizer, threshold=0.5, steps=3)


# ------------------------------------------------------------------------------------------------ the harness itself


def tasks(folder, n: int) -> list[dict]:
    """Write mini-GSM as three tasks of the harness: an answer, a choice of two solutions, a text."""
    lines = []
    for problem, other in zip(problems(n), problems(n + 1)[1:], strict=True):
        row = {"asked": f"{BOS}{problem.question}{ANSWER}", "solution": problem.solution, "answer": str(problem.answer)}
        lines.append(json.dumps(row | {"other": other.solution, "question": problem.question}) + "\n")
    (folder / "mini.jsonl").write_text("".join(lines), encoding="utf-8", newline="\n")
    data = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "mini.jsonl")}},
        "test_split": "test",
        "doc_to_text": "{{asked}}",
    }
    number = {"name": "number", "filter": [{"function": "regex", "regex_pattern": r"#### (\d+)"}]}
    number["filter"].append({"function": "take_first"})
    match = {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}
    nats = {"metric": "word_perplexity", "aggregation": "weighted_perplexity", "higher_is_better": False}
    return [
        data
        | {"task": "mini_answer", "output_type": "generate_until", "doc_to_target": "{{answer}}"}
        | {"generation_kwargs": {"until": [], "do_sample": False}, "filter_list": [number], "metric_list": [match]},
        data
        | {"task": "mini_choice", "output_type": "multiple_choice", "doc_to_target": 0}
        | {"doc_to_choice": "{{[other, solution]}}", "doc_to_target": 1, "metric_list": [{"metric": "acc"}]},
        data
        | {"task": "mini_text", "output_type": "loglikelihood_rolling", "doc_to_text": "", "metric_list": [nats]}
        | {"doc_to_target": "{{question}}"},
    ]


@NEEDED
def test_the_harness_drives_our_models_on_mini_gsm(mini, tmp_path, monkeypatch):
    import lm_eval

    for name in ("HF_DATASETS_CACHE", "HF_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "cache"))
    found = lm_eval.simple_evaluate(mini, tasks=tasks(tmp_path, 12), bootstrap_iters=0, log_samples=True)
    results, samples = found["results"], found["samples"]
    sampler = None if mini.model.config.attention == "causal" else sampler_for(mini.model.config, commit=Threshold(0.9))
    ours = evaluate.accuracy(mini.model, mini.tokenizer, problems(12), sampler=sampler, batch_size=8)
    assert results["mini_answer"]["exact_match,number"] == ours.exact_match.value >= 0.8
    assert results["mini_choice"]["acc,none"] >= 0.9
    text = [s["resps"][0][0] for s in samples["mini_text"]]
    words = sum(len(p.question.split()) for p in problems(12))
    assert results["mini_text"]["word_perplexity,none"] == pytest.approx(math.exp(-sum(text) / words))


@NEEDED
def test_the_name_is_registered_and_reads_the_arguments_of_the_command_line():
    from lm_eval.api.registry import get_model

    made = get_model("dlmlab").create_from_arg_string("pretrained=llada-mini,draws=8,steps=5", {"batch_size": 4})
    assert isinstance(made, Harness) and (made.draws, made.batch_size, made.how["commit"].steps) == (8, 4, 5)
    state = load("llada-mini").model.state_dict()
    assert all(torch.equal(v, state[k]) for k, v in made.model.state_dict().items())
