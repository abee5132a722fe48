"""Costs are counted, not estimated: FLOPs against torch's counter, bytes against tensors, ratios on a fake clock."""

import gc
import time

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from dlmlab.network.config import LLaDAConfig
from dlmlab.network.cost import Ratio, forward_flops, interleaved, kv_bytes, model_bytes, wall_ratios
from dlmlab.network.kv import KV
from dlmlab.network.model import LLaDAModelLM

SHAPES = {
    "all heads": dict(d_model=24, n_heads=4, n_layers=2, mlp_hidden_size=40, vocab_size=11),
    "grouped heads": dict(d_model=24, n_heads=6, n_kv_heads=2, n_layers=3, mlp_hidden_size=20, vocab_size=11),
    "padded table": dict(d_model=16, n_heads=2, n_layers=1, mlp_hidden_size=24, vocab_size=11, embedding_size=16),
}
every_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def make(shape: dict, attention: str = "full") -> LLaDAModelLM:
    return LLaDAModelLM(LLaDAConfig(**shape, attention=attention)).eval()


def measured(model, ids, **options) -> int:
    """Count the FLOPs torch sees; the fused CPU kernel would count as zero."""
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(ids, **options)
    return counter.get_total_flops()


# ------------------------------------------------------------------------------------------------------ FLOPs and bytes


@every_shape
@pytest.mark.parametrize("attention", ["full", "causal", "block:4"])
def test_flops_of_a_forward_equal_the_counter_of_torch(shape, attention):
    model = make(shape, attention)
    for B, L in ((1, 9), (3, 5)):
        assert measured(model, torch.ones(B, L, dtype=torch.long)) == B * forward_flops(model.config, L)


@every_shape
def test_flops_with_a_cache_equal_the_counter_of_torch(shape):
    model, kv, past = make(shape, "causal"), KV(), 7
    ids = torch.ones(2, past, dtype=torch.long)
    assert measured(model, ids, kv=kv) == 2 * forward_flops(model.config, past)
    assert measured(model, ids[:, :1], kv=kv) == 2 * forward_flops(model.config, 1, past + 1)
    assert measured(model, ids[:, :3], kv=kv) == 2 * forward_flops(model.config, 3, past + 4)


@every_shape
@pytest.mark.parametrize("keep", [slice(-1, None), torch.tensor([-1]), torch.tensor([0, 3, 5])], ids=str)
def test_flops_of_a_head_on_some_positions_equal_the_counter_of_torch(shape, keep):
    model = make(shape)
    n = 1 if isinstance(keep, slice) else len(keep)
    found = measured(model, torch.ones(1, 6, dtype=torch.long), logits_to_keep=keep)
    assert found == forward_flops(model.config, 6, logits=n) < forward_flops(model.config, 6)


@every_shape
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bytes_of_a_cache_are_those_of_its_tensors(shape, dtype):
    model, kv = make(shape, "causal").to(dtype), KV()
    with torch.no_grad():
        model(torch.ones(3, 5, dtype=torch.long), kv=kv)
        model(torch.ones(3, 2, dtype=torch.long), kv=kv)
    assert kv.nbytes == 3 * kv_bytes(model.config, tokens=7, bytes_per_number=dtype.itemsize)


def test_grouped_heads_shrink_the_cache_in_proportion():
    shape = dict(SHAPES["grouped heads"])
    few = kv_bytes(LLaDAConfig(**shape), 10)
    all_heads = kv_bytes(LLaDAConfig(**shape | {"n_kv_heads": 6}), 10)
    assert all_heads == 3 * few


def test_shared_parameters_are_stored_once():
    model = make(SHAPES["all heads"])
    before = model_bytes(model)
    table = model.get_input_embeddings().weight
    model.get_output_embeddings().weight = table
    assert before - model_bytes(model) == table.numel() * 4
    assert model_bytes(model.to(torch.bfloat16)) * 2 == before - table.numel() * 4


# ----------------------------------------------------------------------------------------------------------- wall time


class Clock:
    """A clock that moves only when somebody works; `pace` slows the work down by the number of calls so far."""

    def __init__(self, monkeypatch):
        self.now, self.log, self.pace = 0.0, [], lambda calls: 1.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def work(self, name: str, seconds: float):
        def function():
            self.now += seconds * self.pace(len(self.log))
            self.log.append(name)

        return function


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def test_a_function_twice_as_slow_has_ratio_two(clock):
    ratios = wall_ratios({"a": clock.work("a", 3.0), "b": clock.work("b", 6.0), "c": clock.work("c", 1.5)})
    assert {name: r.median for name, r in ratios.items()} == pytest.approx({"a": 1.0, "b": 2.0, "c": 0.5})
    assert ratios["b"].low == pytest.approx(2.0) and ratios["b"].high == pytest.approx(2.0)


def test_every_round_runs_all_functions_in_a_rotated_order(clock):
    wall_ratios({name: clock.work(name, 1.0) for name in "abc"}, rounds=4, warmup=2)
    assert "".join(clock.log) == "abc" * 2 + "abc" + "bca" + "cab" + "abc"


def test_a_machine_that_slows_down_between_rounds_does_not_move_the_ratio(clock):
    clock.pace = lambda calls: 10.0 ** (calls // 2)  # every round of two takes ten times as long as the one before
    ratio = wall_ratios({"a": clock.work("a", 1.0), "b": clock.work("b", 3.0)}, warmup=0)["b"]
    assert (ratio.low, ratio.median, ratio.high) == pytest.approx((3.0, 3.0, 3.0))


def test_quartiles_show_the_spread(clock):
    durations = iter([1.0, 2.0, 3.0, 4.0, 5.0])

    def uneven():
        clock.now += next(durations)

    ratio = wall_ratios({"a": clock.work("a", 1.0), "b": uneven}, rounds=5, warmup=0)["b"]
    assert ratio.median == pytest.approx(3.0)
    assert 1.0 <= ratio.low < 3.0 < ratio.high <= 5.0
    assert ratio.high - 3.0 == pytest.approx(3.0 - ratio.low)


def test_garbage_collection_is_off_while_timing_and_back_on_after_a_failure(clock):
    seen = []

    def fail():
        seen.append(gc.isenabled())
        raise RuntimeError("stop")

    assert gc.isenabled()
    with pytest.raises(RuntimeError, match="stop"):
        wall_ratios({"a": clock.work("a", 1.0), "b": fail}, warmup=0)
    assert seen == [False] and gc.isenabled()


@pytest.mark.parametrize("names, rounds", [("", 5), ("a", 5), ("ab", 2), ("ab", 0)])
def test_too_little_to_compare_is_refused_by_value(clock, names, rounds):
    functions = {name: clock.work(name, 1.0) for name in names}
    with pytest.raises(ValueError, match=f"at least 2 functions and 3 rounds, got {len(names)} and {rounds}"):
        wall_ratios(functions, rounds=rounds)
    assert clock.log == []


def test_a_ratio_prints_its_spread():
    assert str(Ratio(2.344, 2.0, 3.0)) == "2.34 x (2.00 to 3.00)"


def test_waiting_costs_nothing_by_the_clock_of_a_thread():
    order = []

    def wait():
        order.append("w")
        time.sleep(0.02)

    def add():
        order.append("a")
        sum(range(99_999))

    seconds = interleaved({"wait": wait, "add": add}, rounds=3, clock=time.thread_time)
    assert [len(values) for values in seconds.values()] == [3, 3] and order == list("wawaawwa")
    assert max(seconds["wait"]) < 0.02 and min(seconds["add"]) > 0
    assert min(interleaved({"wait": wait}, rounds=3)["wait"]) >= 0.02
