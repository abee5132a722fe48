"""The benchmark: sections run alone and are kept with the machine they belong to, and the fits are right."""

import json
import sys
from types import SimpleNamespace

import pytest
import torch

from dlmlab import cli
from dlmlab.compress.quant import dynamic
from dlmlab.decode import sampling
from dlmlab.decode.trace import cut_at_end
from dlmlab.measure import evaluate, hardware
from dlmlab.network import checkpoint, cost
from dlmlab.study import bench
from dlmlab.study.bench import decode, exact, growth, machine, peers, precision, smaller, train
from dlmlab.study.bench.spread import ratios, spread, times
from dlmlab.task import tasks
from dlmlab.task.layout import decode_answer, encode_prompt
from tests.tiny import tiny_model


@pytest.fixture
def counted(monkeypatch):
    """Replace all sections by one that counts its runs."""
    ran = []

    def measure(*, quick, say):
        ran.append(quick)
        return {"value": len(ran)}

    for name in bench.SECTIONS:
        fake = SimpleNamespace(measure=measure, lines=lambda section: [f"  {section['value']}"])
        monkeypatch.setitem(sys.modules, f"dlmlab.study.bench.{name}", fake)
    return ran


def test_a_finished_section_is_not_run_again_and_says_how_long_it_took(tmp_path, counted):
    path, said = tmp_path / "bench.json", []
    bench.run(["peers"], path=path, say=said.append)
    bench.run(["peers", "growth"], path=path, say=said.append)
    assert len(counted) == 2 and set(json.loads(path.read_text(encoding="utf-8"))["sections"]) == {"peers", "growth"}
    assert sum("peers (0.0 minutes on " in line for line in said) == 2
    bench.run(["peers"], path=path, again=True, say=said.append)
    assert len(counted) == 3


def test_a_section_of_another_machine_is_measured_again_and_others_stay(tmp_path, counted):
    path, other = tmp_path / "bench.json", {"machine": {"cores": 1000}, "seconds": 1.0, "value": 9}
    path.write_text(json.dumps({"sections": {"peers": other, "growth": other}}), encoding="utf-8")
    said = []
    found = bench.run(["growth"], path=path, say=said.append)["sections"]
    assert found["peers"] == other and found["growth"]["machine"] == hardware.fingerprint() and counted == [False]
    assert any(hardware.fingerprint()["processor"] in line for line in said if line.startswith("growth ("))


def test_a_quick_run_stores_nothing(tmp_path, counted):
    bench.run(["peers"], quick=True, path=tmp_path / "bench.json", say=lambda line: None)
    assert counted == [True] and not list(tmp_path.iterdir())


def test_an_unknown_section_is_refused_with_the_known_ones(capsys):
    with pytest.raises(ValueError, match="section gpu is unknown; known: machine, exact, decode, peers"):
        bench.run(["gpu"])
    assert cli.main(["bench", "--only", "gpu"]) == 2
    error = capsys.readouterr().err
    assert "'gpu'" in error and all(name in error for name in bench.SECTIONS)


def test_a_power_law_is_found_with_its_exponent():
    sizes = (64, 128, 256, 512)
    slope, low, high = growth.exponent(
        sizes, [3e-4 * n**1.5 * f for n, f in zip(sizes, (1.0, 1.1, 0.95, 1.0), strict=True)]
    )
    assert low < 1.5 < high and slope == pytest.approx(1.5, abs=0.1)


def test_exact_flops_have_exponents_that_are_known():
    for axis in ("batch", "forwards"):
        sizes = growth.SIZES[axis][:3]
        assert growth.exponent(sizes, [growth.case(axis, n)[1] for n in sizes])[0] == pytest.approx(1, abs=0.03)
    long = (512, 1024)
    ratio = growth.case("length", 1024)[1] / growth.case("length", 512)[1]
    assert 2 < ratio < 4, long  # between linear layers and attention


def test_the_products_of_a_forward_are_those_of_its_matrices():
    model = tiny_model(n_kv_heads=4)
    _, flops = machine.products(model, 10)
    assert flops == cost.forward_flops(model.config, 10, k=0)


def test_a_profile_is_a_division_of_the_whole():
    with torch.inference_mode():
        shares = machine.breakdown(tiny_model(vocab_size=300), 2, 8, repeats=1)
    assert sum(shares.values()) == pytest.approx(1, abs=1e-3) and shares["matrix products"] > 0


def test_ratios_are_taken_inside_a_round():
    found = ratios({"a": [1.0, 10.0, 100.0], "b": [0.5, 5.0, 50.0]}, "a")
    assert found == {"a": [1.0, 1.0, 1.0], "b": [2.0, 2.0, 2.0]}
    assert times(found["b"]) == "2.00 x (2.00 to 2.00)"
    assert spread([1.0, 2.0, 3.0, 4.0, 5.0]) == [3.0, 1.5, 4.5]


def test_a_section_that_is_gone_is_forgotten(tmp_path, counted):
    path = tmp_path / "bench.json"
    bench.run(["growth"], path=path, say=lambda line: None)
    stored = json.loads(path.read_text(encoding="utf-8"))
    stored["sections"]["gone"] = {}
    path.write_text(json.dumps(stored), encoding="utf-8")
    assert set(bench.run(["peers"], path=path, say=lambda line: None)["sections"]) == {"growth", "peers"}


def test_every_timed_method_is_judged_and_shown():
    speed = {name: [2.0, 1.9, 2.1] for name in [decode.LITERAL, *decode.METHODS]}
    row = {"correct": "1101", "nfe": 3.0, "gflop": 1.0}
    section = {"speed": {"1": speed}, "same_tokens": {"1": [4, 4]}, "accuracy": dict.fromkeys(decode.METHODS, row)}
    text = "\n".join(decode.lines(section))
    assert all(name in text for name in decode.METHODS) and "identical tokens, 1: 4 of 4" in text


def quartiles(*lows):
    """Ratios by batch whose lower quartiles are these; medians are twice as large."""
    return {str(4**i): [2 * low, low, 3 * low] for i, low in enumerate(lows)}


@pytest.mark.parametrize(
    "lows, batch, says",
    [
        ((1.5, 1.1), 4, "at every batch"),
        ((1.5, 0.9), 1, "up to batch 1"),
        ((0.9, 1.5), 0, "not faster at batch 1"),  # the median is above 1, its quartile is not
        ((1.2, 1.0, 1.5), 1, "up to batch 1"),  # a smaller batch was open
    ],
)
def test_a_row_is_faster_up_to_the_batch_where_a_lower_quartile_meets_one(lows, batch, says):
    by_batch = quartiles(*lows)
    assert peers.reach(by_batch) == peers.reach(dict(reversed(by_batch.items()))) == batch
    assert says in peers.up_to(batch, 4 ** (len(lows) - 1))


def section_of_peers(correct, lows):
    """A section of the rows `correct` (name -> verdicts) with lower quartiles `lows` (name -> by batch)."""
    row = {"forwards": 3.0, "tokens": 100.0}
    return {
        "accuracy": {name: {"correct": verdicts} | row for name, verdicts in correct.items()},
        "same_tokens": {name: [7, 8] for name in peers.PEERS},
        "tokens": {"1": 9},
        "speed": {name: {"1": quartiles(*lows.get(name, (0.1, 0.1)))} for name in correct},
        "against_peer": {name: {"1": quartiles(1.3, 1.2)} for name in peers.PEERS},
    }


def test_the_crossover_is_told_for_all_rows_and_for_those_as_accurate_as_the_twin():
    names, right, worse = [peers.LITERAL, "quick", "right", "slow", peers.TWIN], "1" * 100, "0" * 20 + "1" * 80
    lows = {"quick": (3.0, 2.0), "right": (1.5, 0.5), "slow": (1.2, 0.1)}
    text = "\n".join(peers.lines(section_of_peers(dict.fromkeys(names, right) | {"quick": worse}, lows)))
    assert "9 tokens, at any accuracy: faster at every batch; fastest there: quick" in text
    assert "9 tokens, as accurate as the twin: faster up to batch 1; fastest there: right" in text
    text = "\n".join(peers.lines(section_of_peers(dict.fromkeys(names[:-1], worse) | {peers.TWIN: right}, lows)))
    assert "at any accuracy: faster at every batch" in text and text.endswith("as accurate as the twin: no row")
    text = "\n".join(peers.lines(section_of_peers(dict.fromkeys(names, right), {})))
    assert text.count("no row is faster") == 2


def test_peers_measures_judges_and_shows_every_row():
    section = peers.measure(quick=True, say=lambda line: None)
    names = [peers.LITERAL, *peers.PEERS, *peers.SAMPLERS, peers.TWIN]
    assert list(section["accuracy"]) == names and list(section["speed"]) == names[1:]
    assert all(set(by_batch) == {"1", "4"} for row in section["speed"].values() for by_batch in row.values())
    assert section["speed"][peers.TWIN]["1"]["4"] == [1.0, 1.0, 1.0]
    assert section["same_tokens"] == dict.fromkeys(peers.PEERS, [8, 8])
    assert section["accuracy"][peers.LITERAL]["forwards"] == 16
    text = "\n".join(peers.lines(section))
    assert all(text.count(f"  {name}  ") == 2 for name in names[1:-1]) and text.count(peers.TWIN) == 1
    assert text.count(f"  {peers.LITERAL}  ") == 1 and peers.LITERAL not in section["speed"]  # judged, not timed


@pytest.mark.parametrize("name", ["blind, left to right with stop", "ours, blocks of 8"])
def test_forwards_and_tokens_counted_from_outside_are_those_the_sampler_books(name):
    """Rows that end leave both, and every answer comes back in the place of its problem."""
    model, tokenizer = checkpoint.load("llada-mini")
    problems = tasks.load_split("validation")[:6]
    prompts = [encode_prompt(tokenizer, p.question) for p in problems]
    assert len({len(prompt) for prompt in prompts}) > 1
    written = peers.write(peers.contestants(model, None, 24)[name], model, prompts, 24, size=4)
    sampler = peers.SAMPLERS[name]
    booked = evaluate.accuracy(model, tokenizer, problems, sampler=sampler, gen_length=24, batch_size=4)
    assert (written.forwards, written.tokens) == (booked.mean_nfe, booked.tokens_through / len(problems))
    answers = [cut_at_end(ids, tokenizer.eos_token_id) for ids in written.ids.tolist()]
    assert [decode_answer(tokenizer, ids) for ids in answers] == booked.answers
    assert not model._forward_hooks  # the counter is gone


def test_a_compiled_copy_writes_the_same_tokens():
    model = tiny_model(mask_token_id=3, eos_token_id=0, max_sequence_length=64)
    fast = exact.compiled(model, backend="eager")  # traced, not translated: needs no C++ compiler
    prompts = [[1, 5, 9], [1, 7], [1, 8, 8, 8, 8, 2]]
    ours, theirs = (sampling.sample(m, prompts, gen_length=6).ids for m in (fast, model))
    assert torch.equal(ours, theirs) and fast is not model


def test_the_exact_section_counts_identical_tokens_and_the_work_left_out():
    section = exact.measure(quick=True, say=lambda line: None)
    same = {name: {"1": [2, 2], "8": [8, 8]} for name in (exact.OURS, exact.BARE)}
    assert section["same_tokens"] == {k: {name: counts[k] for name, counts in same.items()} for k in ("1", "8")}
    assert all(len(section["speed"][k][exact.PRODUCTS]) == 3 for k in ("1", "8"))  # timed in the same rounds
    assert all(0.6 < share < 1 for share in section["work"].values())
    text = "\n".join(exact.lines(section))
    assert text.count("identical: 2 of 2, 8 of 8") == 2 and "batch 8" in text and "ceiling" in text


def test_two_precisions_are_timed_and_judged():
    section = precision.measure(quick=True, say=lambda line: None)
    text = "\n".join(precision.lines(section))
    assert section["speed"]["1"]["float32"] == [1.0, 1.0, 1.0] and len(section["accuracy"]["bfloat16"]) == 8
    assert "bfloat16" in text and text.count("difference") == 2


# ------------------------------------------------------------------------------------------------ smaller


@pytest.fixture(scope="module")
def small_section():
    """Run the section once, with models that were not trained."""
    return smaller.measure(quick=True, say=lambda line: None)


def test_every_smaller_model_is_timed_judged_and_weighed(small_section):
    names = set(small_section["accuracy"])
    assert {smaller.DENSE, smaller.BARE, *smaller.nb04_smaller.MIXES} <= names
    for by_batch in small_section["speed"].values():
        assert all(set(by) == names for by in by_batch.values()) and list(by_batch) == ["1"]
    assert all(0.45 < small_section["bytes"][mix] <= 0.5 for mix in smaller.nb04_smaller.MIXES)
    assert all(0 < share < 1 for by in small_section["outside products"].values() for share in by.values())
    text = "\n".join(smaller.lines(small_section))
    assert all(text.count(f"  {name} ") >= 2 for name in names) and "instructions" in text


@pytest.mark.skipif(not dynamic.available(), reason="2026-11: no int8 kernel in this PyTorch")
def test_int8_holds_a_quarter_and_what_stays_in_float_holds_more(small_section):
    held = small_section["bytes"]
    assert 0.25 < held["int8, one scale"] < held["int8, a scale a row"] < held["the same, columns in float"] < 0.3
    assert held["the same, columns in float"] < held["the same, last one in float"] < held["the same, gate and up only"]


def stored(speeds: dict[str, float], right: dict[str, str], share: float = 0.5) -> dict:
    """Make a section of some models and the bare dense one, each as fast at both batches of the goal."""
    models = {smaller.BARE: 1.0} | speeds
    speed = {size: {name: [v, v, v] for name, v in models.items()} for size in smaller.AT}
    answers = {name: {"correct": right.get(name, "1111"), "nfe": 3.0} for name in (smaller.DENSE, *models)}
    return {
        "bytes": dict.fromkeys(speeds, share),
        "accuracy": answers,
        "speed beside bare": {"forward": speed},
        "outside products": dict.fromkeys(models, {size: 0.4 for size in smaller.AT}),
    }


def test_the_goal_needs_the_bytes_and_the_speed_at_both_batches():
    section = stored({"slow": 1.4, "fast": 1.6, "better": 1.5}, {"fast": "0000", "better": "1100"})
    assert smaller.reached(section) == ["better", "fast"]
    assert "reached by better, fast; better costs -50.0" in smaller.verdict(section)
    section["speed beside bare"]["forward"]["64"]["better"] = [1.49, 1.4, 1.6]
    assert smaller.reached(section) == ["fast"]
    assert smaller.reached(stored({"large": 2.0}, {}, share=0.51)) == []
    assert "not reached" in smaller.verdict(stored({"slow": 1.4}, {}))


def test_the_table_of_training_shows_ratios_only():
    row = {"tokens_per_second": [1234.5, 1, 2], "share_of_peak": [0.5, 0.4, 0.6], "speed": [1.5, 1.4, 1.6]}
    text = "\n".join(train.lines({"variants": {"compiled": row}, "padding": {"16": 0.25, "4": 0.125}}))
    assert "1.50 x" in text and "50%" in text and "25%" in text and "1234" not in text


def test_padding_is_what_follows_the_first_end_mark():
    config = train.TrainConfig(name="tiny", rows=8)
    share = train.padding(config)
    rows = train.Batches(config)(0).targets
    ends = (rows == train.Batches(config).tokenizer.eos_token_id).sum(1)
    assert 0 < share < 0.6 and bool((ends >= 1).all())
    assert train.padding(train.TrainConfig(name="tiny", attention="causal", rows=8)) < share


def test_a_variant_differs_in_one_choice(tmp_path):
    fused = train.VARIANTS["fused attention"].start(1, str(tmp_path))
    plain = train.VARIANTS[train.BASE].start(1, str(tmp_path))
    assert (fused.kernel, plain.kernel) == ("fused", "explicit")
    sums = [run.train_step() for run in (fused, plain)]
    assert sums[0][0] == pytest.approx(float(sums[1][0]), rel=1e-3)  # another kernel, the same loss
    assert sum(len(v.options) + v.fused for v in train.VARIANTS.values()) == len(train.VARIANTS) - 1
