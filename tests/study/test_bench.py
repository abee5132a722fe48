"""The benchmark: sections run alone and are kept, numbers of another machine are not, and the fits are right."""

import json
import sys
from types import SimpleNamespace

import pytest
import torch

from dlmlab import cli
from dlmlab.decode import sampling
from dlmlab.network import cost
from dlmlab.study import bench
from dlmlab.study.bench import decode, exact, growth, machine, precision, train, twin
from dlmlab.study.bench.spread import ratios, spread, times
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
    bench.run(["twin"], path=path, say=said.append)
    bench.run(["twin", "growth"], path=path, say=said.append)
    assert len(counted) == 2 and set(json.loads(path.read_text(encoding="utf-8"))["sections"]) == {"twin", "growth"}
    assert sum("twin (0.0 minutes)" in line for line in said) == 2
    bench.run(["twin"], path=path, again=True, say=said.append)
    assert len(counted) == 3


def test_numbers_of_another_machine_are_not_kept(tmp_path, counted):
    path = tmp_path / "bench.json"
    path.write_text(json.dumps({"machine": {"cores": 1000}, "sections": {"twin": {}}}), encoding="utf-8")
    assert set(bench.run(["growth"], path=path, say=lambda line: None)["sections"]) == {"growth"}


def test_a_quick_run_stores_nothing(tmp_path, counted):
    bench.run(["twin"], quick=True, path=tmp_path / "bench.json", say=lambda line: None)
    assert counted == [True] and not list(tmp_path.iterdir())


def test_an_unknown_section_is_refused_with_the_known_ones(capsys):
    with pytest.raises(ValueError, match="section gpu is unknown; known: machine, exact, decode, twin"):
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


@pytest.mark.parametrize("medians, says", [([2, 1.5], "at every"), ([2, 0.5], "up to batch 1"), ([0.9, 0.5], "never")])
def test_the_crossover_is_read_off_the_medians(medians, says):
    assert says in twin.crossover({str(4**i): [m, m, m] for i, m in enumerate(medians)})


def test_every_timed_method_is_judged_and_shown():
    speed = {name: [2.0, 1.9, 2.1] for name in [decode.LITERAL, *decode.METHODS]}
    row = {"correct": "1101", "nfe": 3.0, "gflop": 1.0}
    section = {"speed": {"1": speed}, "same_tokens": {"1": [4, 4]}, "accuracy": dict.fromkeys(decode.METHODS, row)}
    text = "\n".join(decode.lines(section))
    assert all(name in text for name in decode.METHODS) and "identical tokens, 1: 4 of 4" in text


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
    assert all(section["speed"][k][exact.PRODUCTS][0] > 1 for k in ("1", "8"))  # less work than any loop
    assert all(0.6 < share < 1 for share in section["work"].values())
    text = "\n".join(exact.lines(section))
    assert text.count("identical: 2 of 2, 8 of 8") == 2 and "batch 8" in text and "ceiling" in text


def test_int8_changes_the_linear_layers_and_leaves_the_model_alone():
    model = tiny_model(vocab_size=40)
    small = precision.int8(model)
    if small is not None:
        ids = torch.arange(12)[None]
        assert not isinstance(small.get_output_embeddings(), torch.nn.Linear)
        assert isinstance(model.get_output_embeddings(), torch.nn.Linear)
        assert small(ids).logits.shape == model(ids).logits.shape


def test_the_table_of_training_shows_ratios_only():
    row = {"tokens_per_second": [1234.5, 1, 2], "share_of_peak": [0.5, 0.4, 0.6], "speed": [1.5, 1.4, 1.6]}
    text = "\n".join(train.lines({"variants": {"compiled": row}, "padding": 0.25}))
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
