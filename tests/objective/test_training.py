"""Training: a run is a function of its recipe, however often it is killed and on however many processes it runs."""

import io
import json
import math
import os
import platform
import signal
import subprocess
import sys
import zipfile
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dlmlab import cli, guard
from dlmlab.network import checkpoint, inspect
from dlmlab.network.checkpoint import load
from dlmlab.network.model import LLaDAModelLM
from dlmlab.objective import training
from dlmlab.objective.batches import Batches, TrainConfig
from dlmlab.objective.noise import forward_process, low_discrepancy_times
from dlmlab.objective.training import Run, build_model, build_optimizers, describe, multiplies_bf16, plot_log, schedule
from dlmlab.task import tokenizer
from dlmlab.task.splits import split_of
from dlmlab.task.tasks import solve
from dlmlab.task.tokenizer import build_tokenizer
from tests.tiny import one_thread  # noqa: F401 (a fixture)

pytestmark = pytest.mark.usefixtures("one_thread")
OPTIMIZERS = ["adamw", "muon"]
TINY = TrainConfig(
    name="tiny", d_model=32, n_heads=2, n_layers=1, mlp_hidden_size=48, tokens=20_000, rows=4, warmup=5,
    optimizer="adamw", compile=False, bf16=False, threads=1, log_every=1,
)  # fmt: skip
MASK, BOS, EOS, ANSWER = build_tokenizer().convert_tokens_to_ids(
    [tokenizer.MASK, tokenizer.BOS, tokenizer.EOS, tokenizer.ANSWER]
)


def trained(config, out, steps, say=lambda line: None) -> Run:
    """Start or go on with a run, up to a step."""
    run = Run(config, out)
    run.resume()
    run.run(stop_after=steps, say=say)
    return run


def same_weights(a, b) -> bool:
    a, b = a.model.state_dict(), b.model.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def same_batch(a, b) -> bool:
    return all(torch.equal(getattr(a, k), getattr(b, k)) for k in ("inputs", "targets", "weight"))


def stored_log(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def write_toml(path: Path, config: TrainConfig) -> Path:
    # JSON's numbers, strings, booleans and lists are also TOML's.
    path.write_text("".join(f"{k} = {json.dumps(v)}\n" for k, v in asdict(config).items()), encoding="utf-8")
    return path


# ------------------------------------------------------------------------------------------------ batches


@pytest.mark.parametrize("attention", ["full", "causal"])
@pytest.mark.parametrize("context", [0, 96])
def test_a_batch_depends_on_its_step_alone(attention, context):
    config = replace(TINY, attention=attention, context=context)
    used, asked = Batches(config), [3, 17, 9, 3, 0, 17]
    batches = [used(step) for step in asked]
    for step, batch in zip(asked, batches, strict=True):
        assert same_batch(batch, Batches(config)(step))
    texts = [tuple(map(tuple, b.targets.tolist())) for b in batches]
    assert len(set(texts)) == len(set(asked))


def test_another_seed_gives_other_problems():
    assert not same_batch(Batches(TINY)(0), Batches(replace(TINY, seed=1))(0))


def test_a_row_is_a_problem_its_solution_and_end_marks():
    batches = Batches(TINY)
    for step in range(10):
        targets = batches(step).targets
        assert targets.shape[1] % 16 == 0 and targets.shape[1] <= TINY.max_sequence_length
        for row in targets.tolist():
            at, end = row.index(ANSWER), row.index(EOS)
            question, solution = (batches.tokenizer.decode(part) for part in (row[1:at], row[at + 1 : end]))
            assert row[0] == BOS and solve(question).text == solution and set(row[end:]) == {EOS}


def test_one_batch_in_ten_has_16_end_marks_more_and_one_in_ten_has_32():
    """At sampling time the answer region is longer than the answer."""
    tails = []
    for batch in map(Batches(replace(TINY, rows=2)), range(400)):
        longest = int((batch.targets != EOS).sum(1).max()) + 1  # with its own end mark
        tails.append(batch.targets.shape[1] // 16 - -(-longest // 16))
    share = torch.tensor(tails).bincount(minlength=3) / 400
    assert share.tolist() == pytest.approx([0.8, 0.1, 0.1], abs=0.05) and len(share) == 3


def test_a_smaller_multiple_means_the_same_texts_with_fewer_end_marks():
    saved = 0
    for step in range(20):
        wide, narrow = (Batches(replace(TINY, multiple=m))(step).targets for m in (16, 4))
        L = narrow.shape[1]
        assert L % 4 == 0 and torch.equal(narrow, wide[:, :L]) and set(wide[:, L:].unique().tolist()) <= {EOS}
        saved += wide.shape[1] - L
    assert saved > 0
    with pytest.raises(ValueError, match="multiple=0 must be >= 1"):
        replace(TINY, multiple=0)


def test_masked_batches_hide_what_the_loss_counts_and_nothing_else():
    for step in range(10):
        batch = Batches(TINY)(step)
        assert torch.equal(batch.inputs == MASK, batch.weight) and not (batch.targets == MASK).any()
        assert torch.equal(batch.inputs[~batch.weight], batch.targets[~batch.weight])


def hidden(answer_only, **recipe):
    """Give targets and the masked positions left and right of the answer mark, for ten steps of a recipe."""
    batches = Batches(replace(TINY, answer_only=answer_only, **recipe))
    for batch in map(batches, range(10)):
        right = (batch.targets == ANSWER).cumsum(1).bool()
        yield batch.targets, batch.weight & ~right, batch.weight & right


def test_an_answer_only_row_keeps_its_prompt():
    assert not any(left.any() for _, left, _ in hidden(((0, 1.0),)))
    assert any(right.any() for _, _, right in hidden(((0, 1.0),)))


def test_other_rows_hide_the_prompt_too_but_never_the_begin_and_answer_marks():
    rows = list(hidden(((0, 0.0),)))
    assert any(left.any() for _, left, _ in rows)
    assert not any((left | right)[(x0 == BOS) | (x0 == ANSWER)].any() for x0, left, right in rows)


def test_the_share_of_answer_only_rows_changes_at_its_step():
    left = [left.any().item() for _, left, _ in hidden(((0, 0.0), (5, 1.0)))]
    assert any(left[:5]) and not any(left[5:])


def test_a_suffix_row_hides_its_answer_from_a_point_to_the_end():
    cuts = set()
    for x0, left, right in hidden(((0, 1.0),), suffix=((0, 1.0),)):
        assert not left.any()
        for row, hides in zip(x0.tolist(), right.tolist(), strict=True):
            cut = hides.index(True)
            assert all(hides[cut:]) and row.index(ANSWER) < cut <= row.index(EOS)  # at least the end mark is asked for
            cuts.add((cut - row.index(ANSWER)) / (row.index(EOS) - row.index(ANSWER)))
    assert min(cuts) < 0.3 and max(cuts) > 0.7  # early and late in the answer


def test_rows_with_masks_in_the_prompt_are_never_cut():
    plain, cut = (Batches(replace(TINY, answer_only=((0, 0.0),), suffix=((0, s),))) for s in (0.0, 1.0))
    assert all(same_batch(plain(step), cut(step)) for step in range(5))


def test_next_token_targets_are_shifted_and_end_with_the_first_end_mark():
    causal, full = Batches(replace(TINY, attention="causal")), Batches(TINY)
    for step in range(10):
        batch, texts = causal(step), full(step).targets  # the twins read the same problems
        L = batch.targets.shape[1]
        assert torch.equal(batch.inputs, texts[:, :L]) and torch.equal(batch.targets, texts[:, 1 : L + 1])
        assert bool((texts[:, L + 1 :] == EOS).all())  # only padding is left out
        for row, weight in zip(batch.targets, batch.weight, strict=True):
            counted = row[weight].tolist()
            assert counted.count(EOS) == 1 and counted[-1] == EOS
            assert counted == row[: len(counted)].tolist()


# ------------------------------------------------------------------------------------------------ packed rows

PACKED = replace(TINY, context=256, max_sequence_length=256, rows=8)


def parts_of(row: list[int]) -> list[tuple[list[int], list[int]]]:
    """Cut a packed row at its start marks, each part again at its answer mark: question and answer ids."""
    starts = [i for i, id in enumerate(row) if id == BOS] + [len(row)]
    parts = [row[a + 1 : b] for a, b in zip(starts, starts[1:], strict=False)]
    return [(p[: p.index(ANSWER)], p[p.index(ANSWER) + 1 :]) if ANSWER in p else (p, []) for p in parts]


@pytest.mark.parametrize("context", [40, 96, 256])
def test_a_packed_row_is_full_and_starts_with_a_start_mark(context):
    config = replace(PACKED, context=context)
    for step in (0, 7, 8):
        full, causal = Batches(config)(step), Batches(replace(config, attention="causal"))(step)
        assert full.inputs.shape == full.targets.shape == full.weight.shape == (8, context)
        assert causal.inputs.shape == causal.targets.shape == causal.weight.shape == (8, context - 1)
        assert bool((full.targets[:, 0] == BOS).all()) and torch.equal(causal.inputs[:, 0], full.targets[:, 0])
        assert not (full.targets == MASK).any()


def test_a_packed_row_holds_whole_training_problems_one_after_another():
    batches, texts, cut = Batches(PACKED), [], 0
    for step in range(8):
        for row in batches(step).targets.tolist():
            parts = parts_of(row)
            assert len(parts) >= 3
            for question, answer in parts[:-1]:
                solved = solve(batches.tokenizer.decode(question))
                assert answer[-1] == EOS and batches.tokenizer.decode(answer[:-1]) == solved.text
                assert split_of(solved.skeleton) == "train"
                texts.append(tuple(question))
            cut += EOS not in parts[-1][1]
    assert cut > 40  # most rows end in the middle of a problem
    assert len(set(texts)) > 0.98 * len(texts)  # different seeds may tell one short story twice


def test_packed_rows_read_their_problems_whole_wherever_they_are_cut():
    short, long = (Batches(replace(PACKED, context=c))._packed(5 * 256 // c, 5) for c in (64, 256))
    assert short == long[:64]  # row 20 of 64 tokens and row 5 of 256 begin with the same seed


def test_an_answer_only_packed_row_hides_parts_of_every_answer_and_of_no_question():
    batches, hidden_in = Batches(replace(PACKED, answer_only=((0, 1.0),))), []
    for batch in map(batches, range(8)):
        assert torch.equal(batch.inputs == MASK, batch.weight)
        assert torch.equal(batch.inputs[~batch.weight], batch.targets[~batch.weight])
        for row, weight in zip(batch.targets.tolist(), batch.weight.tolist(), strict=True):
            inside, problem, seen = False, -1, set()
            for id, counted in zip(row, weight, strict=True):
                problem += id == BOS
                inside = inside and id != BOS
                assert inside or not counted
                if counted:
                    seen.add(problem)
                inside = inside or id == ANSWER
            hidden_in.append((seen, problem))
    assert {p for seen, _ in hidden_in for p in seen} >= {0, 1, 2, 3}
    assert sum(set(range(last)) <= seen for seen, last in hidden_in) > len(hidden_in) / 2  # all but the cut one


def test_other_packed_rows_hide_questions_of_every_problem_but_no_mark():
    batches, questions = Batches(replace(PACKED, answer_only=((0, 0.0),))), set()
    for batch in map(batches, range(8)):
        marks = (batch.targets == BOS) | (batch.targets == ANSWER)
        assert not (batch.weight & marks).any()
        started, answered = ((batch.targets == id).cumsum(1) for id in (BOS, ANSWER))
        questions |= set(started[batch.weight & (answered < started)].tolist())
    assert questions >= {1, 2, 3, 4}


def test_every_next_token_of_a_packed_row_counts():
    batches = Batches(replace(PACKED, attention="causal"))
    for batch in map(batches, range(3)):
        assert bool(batch.weight.all()) and torch.equal(batch.inputs[:, 1:], batch.targets[:, :-1])
        assert bool(((batch.targets == EOS).sum(1) >= 2).all())


def test_a_row_of_one_problem_is_treated_as_before_rows_could_hold_several():
    """Oracle: the rules for one problem, right of its answer mark and up to its first end mark."""
    batches = Batches(replace(TINY, answer_only=((0, 1.0),)))
    for step in range(10):
        x0, draws = batches(step).targets, [torch.Generator().manual_seed(step) for _ in range(2)]
        batch = batches._masked(x0, step, draws[0])
        torch.rand(len(x0), generator=draws[1])  # which rows mask the answer only: all
        t = low_discrepancy_times(len(x0), generator=draws[1])
        right = torch.arange(x0.shape[1])[None] > (x0 == ANSWER).int().argmax(1)[:, None]
        xt, masked = forward_process(x0, t, MASK, maskable=right, generator=draws[1])
        assert torch.equal(batch.inputs, xt) and torch.equal(batch.weight, masked)
        assert torch.equal(batches._next_token(x0).weight, (x0 == EOS).cumsum(1)[:, 1:] <= 1)


@pytest.mark.parametrize("context", [-1, 97])
def test_a_context_outside_the_model_is_refused(context):
    with pytest.raises(ValueError, match=rf"context={context} must lie in 0\.\.96"):
        replace(TINY, context=context)


def test_packed_rows_refuse_suffix_masking():
    with pytest.raises(ValueError, match="suffix and salient masks are defined for one problem a row"):
        replace(TINY, context=96, suffix=((0, 0.0), (10, 0.5)))
    assert replace(TINY, context=96, suffix=((0, 0.0),)).context == 96


# ------------------------------------------------------------------------------------------------ recipe and optimizer


def test_a_recipe_survives_the_trip_through_toml(tmp_path):
    config = replace(TINY, answer_only=((0, 0.5), (30, 0.9)), lr_plan=((0, 1.0), (9, 0.5)), lr=1e-3)
    assert TrainConfig.read(write_toml(tmp_path / "a.toml", config)) == config


def test_an_unknown_key_is_named_with_the_known_ones(tmp_path):
    (tmp_path / "a.toml").write_text('name = "a"\nlearning_rate = 1\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"a\.toml: unknown keys learning_rate; known: .*\blr\b.*\brows\b"):
        TrainConfig.read(tmp_path / "a.toml")


@pytest.mark.parametrize("value", ["[[0, 1.0], [inf, 0.0]]", "[[nan, 1.0]]", "[[0, true]]", "[[0, nan]]", "[" * 5000])
def test_a_plan_that_is_no_plan_is_one_error_with_the_name_of_the_file(value, tmp_path):
    (tmp_path / "a.toml").write_text(f'name = "a"\nlr_plan = {value}\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"a\.toml: "):
        TrainConfig.read(tmp_path / "a.toml")


def test_the_shipped_twins_share_size_problems_and_optimizer():
    names, data = ("llada-mini", "llama-mini"), Path(__file__).parents[2] / "data"
    mini, twin = (asdict(TrainConfig.read(data / name / "training.toml")) for name in names)
    assert (mini["name"], twin["name"]) == names and (mini["attention"], twin["attention"]) == ("full", "causal")
    different = {k for k in mini if mini[k] != twin[k]}
    assert different <= {"name", "attention", "answer_only", "suffix", "tokens", "lr_plan"}


def test_the_second_pair_differs_in_what_makes_a_twin_and_was_one_run_until_then():
    data = Path(__file__).parents[2] / "data"
    mini, twin = (asdict(TrainConfig.read(data / name / "training.toml")) for name in ("llada-mini-b", "llama-mini-b"))
    different = {k for k in mini if mini[k] != twin[k]}
    assert different == {"name", "attention", "answer_only", "suffix", "salient", "causal_steps"}
    logs = [
        [json.loads(line) for line in (data / name / "log.jsonl").read_text(encoding="utf-8").splitlines()]
        for name in ("llada-mini-b", "llama-mini-b")
    ]
    same = [[(e["step"], e["tokens"], e["loss"]) for e in log if e["step"] <= mini["causal_steps"]] for log in logs]
    assert same[0] == same[1] and len(same[0]) == mini["causal_steps"] // 20


def test_the_same_seed_gives_the_same_start_and_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    a, b, c = (build_model(replace(TINY, seed=s)).state_dict() for s in (1, 1, 2))
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not torch.equal(a["model.transformer.wte.weight"], c["model.transformer.wte.weight"])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_parameter_is_optimized_once(optimizer):
    model = build_model(TINY)
    optimizers = build_optimizers(model, replace(TINY, optimizer=optimizer))
    held = [id(p) for o in optimizers for group in o.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters())


def test_an_unknown_optimizer_is_named():
    with pytest.raises(ValueError, match="'sgd' is unknown; known: muon, adamw"):
        replace(TINY, optimizer="sgd")


@pytest.mark.parametrize(
    "asked, can, used", [(0, 0, "float32"), (0, 1, "float32"), (1, 0, "float32"), (1, 1, "bfloat16")]
)
def test_bfloat16_is_used_where_it_is_asked_for_and_the_machine_has_it(asked, can, used, monkeypatch, tmp_path):
    monkeypatch.setattr(training, "multiplies_bf16", lambda device: bool(can))
    config, seen = replace(TINY, bf16=bool(asked)), []
    run = Run(config, tmp_path)
    run.model.model.transformer["ff_out"].register_forward_hook(lambda module, ids, out: seen.append(out.dtype))
    run.run(stop_after=1, say=lambda line: None)
    assert seen == [getattr(torch, used)] and run.log[-1]["precision"] == used
    line = describe(config)
    assert used in line and ("no bfloat16" in line) == bool(asked and not can)


@pytest.mark.skipif(
    platform.machine() != "x86_64" or not Path("/proc/cpuinfo").exists(), reason="2026-11-28: x86 Linux"
)
def test_a_processor_multiplies_bfloat16_when_its_flags_say_so():
    flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    assert multiplies_bf16("cpu") == bool(flags & {"avx512_bf16", "amx_bf16"})
    assert not multiplies_bf16("mps")


def test_the_learning_rate_rises_over_steps_and_falls_to_zero_over_tokens():
    config = replace(TINY, warmup=10, tokens=1000)
    assert [schedule(0, step, config) for step in (0, 4, 9, 50)] == [0.1, 0.5, 1.0, 1.0]
    assert [schedule(tokens, 50, config) for tokens in (0, 250, 1000, 1200)] == [1.0, 0.75, 0.0, 0.0]
    factors = [schedule(10 * step, step, config) for step in range(100)]
    peak = factors.index(max(factors))
    assert factors[: peak + 1] == sorted(factors[: peak + 1]) and factors[peak:] == sorted(factors[peak:], reverse=True)


def test_a_plan_joins_its_points_by_straight_lines_and_stays_at_the_last():
    config = replace(TINY, warmup=1, lr_plan=((0, 1.0), (100, 0.5), (200, 0.5), (400, 0.1)))
    assert [schedule(t, 9, config) for t in (0, 50, 150, 300, 900)] == pytest.approx([1.0, 0.75, 0.5, 0.3, 0.1])


# ------------------------------------------------------------------------------------------------ the loop


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_loss_starts_at_a_uniform_guess_and_falls(optimizer, tmp_path):
    run = Run(replace(TINY, optimizer=optimizer, rows=16, lr=3e-3, tokens=100_000), tmp_path)
    losses = [run.train_step() for _ in range(30)]
    per_token = [float(total / count) for total, count in losses]
    assert per_token[0] == pytest.approx(math.log(run.model.config.vocab_size), abs=0.1)  # nats of a uniform guess
    assert sum(per_token[-5:]) < 0.8 * sum(per_token[:5])


@pytest.mark.parametrize("attention", ["full", "causal"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_killed_run_resumes_to_the_same_weights(optimizer, attention, tmp_path):
    config = replace(TINY, optimizer=optimizer, attention=attention)
    whole = trained(config, tmp_path / "whole", 12)
    killed = trained(config, tmp_path / "killed", 5)
    for _ in range(2):
        killed.train_step()  # two steps that die with the process
    resumed = trained(config, tmp_path / "killed", 12)  # step 8 begins a new pool of problems
    assert same_weights(whole, resumed) and not same_weights(whole, killed)
    assert (resumed.step, resumed.tokens) == (whole.step, whole.tokens) == (12, whole.log[-1]["tokens"])
    assert [(e["step"], e["loss"]) for e in resumed.log] == [(e["step"], e["loss"]) for e in whole.log]


def test_a_kill_while_the_state_is_written_leaves_the_one_before(tmp_path, monkeypatch):
    whole = trained(TINY, tmp_path / "whole", 6)
    run = trained(TINY, tmp_path / "killed", 3)
    run.train_step()

    def killed(state, path):
        Path(path).write_bytes(b"half a st")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(torch, "save", killed)
        run.save()
    again = Run(TINY, tmp_path / "killed")
    assert again.resume() and again.step == 3
    assert same_weights(whole, trained(TINY, tmp_path / "killed", 6))


@pytest.mark.parametrize("asked", [True, False])
def test_the_model_is_compiled_where_the_recipe_says_so(asked, tmp_path, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda model, **options: compiled.append(model) or model)
    run = Run(replace(TINY, compile=asked), tmp_path)
    assert compiled == [run.model] * asked


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_finishes_its_step_saves_and_goes_on_to_the_same_weights_and_log(number, tmp_path):
    config = replace(TINY, log_every=5, optimizer="muon")
    whole, run = trained(config, tmp_path / "whole", 10), Run(config, tmp_path / "stopped")
    step = run.train_step

    def interrupted():
        if run.step == 6:  # between two entries of the log
            os.kill(os.getpid(), number)
        return step()

    run.train_step = interrupted
    before = signal.getsignal(number)
    with guard.Interruption() as stop:
        run.run(stop=lambda: stop.signal, say=lambda line: None)
    assert stop.signal == number and run.step == 7 and signal.getsignal(number) is before
    resumed = trained(config, tmp_path / "stopped", 10)
    assert same_weights(whole, resumed)
    assert [(e["step"], e["loss"]) for e in resumed.log] == [(e["step"], e["loss"]) for e in whole.log]


def test_a_second_interruption_acts_at_once_unless_a_launcher_repeats_it():
    with pytest.raises(KeyboardInterrupt), guard.Interruption():
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
    with guard.Interruption(patient=True) as stop:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
    assert stop.signal == signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_says_that_it_goes_on(number, tmp_path, monkeypatch, capsys):
    config, step = write_toml(tmp_path / "tiny.toml", TINY), Run.train_step

    def interrupted(run):
        if run.step == 2:
            os.kill(os.getpid(), number)
        return step(run)

    monkeypatch.setattr(Run, "train_step", interrupted)
    command = ["train", "--config", str(config), "--out", str(tmp_path / "run")]
    assert cli.main(command) == 128 + number
    out = capsys.readouterr()
    assert "interrupted after step 3" in out.out and "the same command goes on" in out.out and not out.err
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["state.pt"]  # no half-trained model is exported
    assert cli.main([*command, "--stop-after", "5"]) == 0
    assert "going on from step 3" in capsys.readouterr().out


def spoiled(whole: bytes) -> dict[str, bytes]:
    """Break the bytes of a state."""
    pickled = io.BytesIO()
    torch.save({"config": {}}, pickled)
    listed = io.BytesIO()
    torch.save([1, 2], listed)
    flipped = bytearray(whole)
    with zipfile.ZipFile(io.BytesIO(whole)) as records:
        largest = max(records.infolist(), key=lambda record: record.file_size)
        data = records.read(largest)
    flipped[whole.index(data) + len(data) // 2] ^= 1  # inside a tensor, which torch.load reads without a word
    return {"cut": whole[: len(whole) // 2], "short": whole[:-10], "empty": b"", "text": b"not a state"} | {
        "flipped": flipped, "keys": pickled.getvalue(), "list": listed.getvalue()}  # fmt: skip


@pytest.mark.parametrize("kind", ["cut", "flipped", "short", "empty", "text", "keys", "list"])
def test_a_damaged_state_is_one_line_with_its_file_and_what_to_do(kind, tmp_path):
    run = Run(TINY, tmp_path)
    run.save()
    run.state_path.write_bytes(spoiled(run.state_path.read_bytes())[kind])
    with pytest.raises(ValueError, match=r"state\.pt is damaged.*delete it.*--out") as error:
        Run(TINY, tmp_path).resume()
    assert "\n" not in str(error.value)


def test_a_state_of_another_size_is_refused_in_one_line(tmp_path):
    run = Run(TINY, tmp_path)
    run.save()
    state = torch.load(run.state_path, weights_only=True)
    state["model"].popitem()
    torch.save(state, run.state_path)
    with pytest.raises(ValueError, match="damaged"):
        Run(TINY, tmp_path).resume()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="2026-11-28: a full disk is played by Linux' /dev/full")
def test_a_full_disk_is_one_line_and_keeps_the_state_before(tmp_path):
    run = Run(TINY, tmp_path)
    part = run.state_path.with_suffix(".part")
    part.symlink_to("/dev/full")
    with pytest.raises(OSError, match="step 0 could not be saved .*nothing was saved before"):
        run.save()
    assert not part.is_symlink()
    run = trained(TINY, tmp_path, 3)
    run.train_step()
    part.symlink_to("/dev/full")
    with pytest.raises(OSError, match="step 4 could not be saved .*saved before is kept") as error:
        run.save()
    assert "\n" not in str(error.value)
    again = Run(TINY, tmp_path)
    assert again.resume() and again.step == 3


def test_a_run_without_a_state_starts_at_step_0(tmp_path):
    run = Run(TINY, tmp_path)
    assert run.resume() is False and run.step == 0


@pytest.mark.parametrize("key, value", [("lr", 1e-2), ("rows", 2), ("seed", 5), ("answer_only", ((0, 0.1),))])
def test_a_state_of_another_recipe_is_refused_by_the_name_of_the_key(key, value, tmp_path):
    Run(TINY, tmp_path).save()
    with pytest.raises(ValueError, match=f"other values of {key};"):
        Run(replace(TINY, **{key: value}), tmp_path).resume()


def test_a_run_that_starts_causal_ends_as_a_diffusion_model(tmp_path):
    causal, full = replace(TINY, attention="causal"), replace(TINY, causal_steps=2)
    first, twin = Run(full, tmp_path / "a"), Run(causal, tmp_path / "b")
    seen = []
    first.model.register_forward_pre_hook(lambda model, inputs: seen.append(model.config.attention))
    for _ in range(2):
        torch.testing.assert_close(first.train_step(), twin.train_step())
    assert seen == ["full"] * 2  # whoever looks at the model, even meanwhile, sees what it is for
    assert not torch.allclose(first.train_step(), twin.train_step())


def test_a_state_from_before_an_option_existed_goes_on_with_its_default(tmp_path):
    run = Run(TINY, tmp_path)
    run.save()
    state = torch.load(run.state_path, weights_only=True)
    del state["config"]["context"]
    torch.save(state, run.state_path)
    assert Run(TINY, tmp_path).resume()
    with pytest.raises(ValueError, match="other values of context;"):
        Run(replace(TINY, context=32), tmp_path).resume()


def test_what_changes_no_weight_may_change_between_runs(tmp_path):
    Run(TINY, tmp_path).save()
    assert Run(replace(TINY, save_every=1.0, eval_every=7, log_every=3), tmp_path).resume()


def test_a_run_ends_with_its_budget_and_writes_down_what_it_saw(tmp_path):
    lines, modes, seen = [], [], []

    def evaluate(model: LLaDAModelLM) -> dict:
        seen.append((run.step, model.training))
        return {"exact_match": 0.25}

    run = Run(replace(TINY, tokens=1200, eval_every=2), tmp_path)
    model = run.run(evaluate=evaluate, say=lambda line: lines.append(line) or modes.append(run.model.training))
    assert not model.training and run.tokens >= 1200 > run.log[-2]["tokens"]
    steps = sorted({*range(2, run.step + 1, 2), run.step})
    assert seen == [(step, False) for step in steps]  # every second step and the last, in evaluation mode
    assert [e["step"] for e in run.log if "exact_match" in e] == steps
    assert len(lines) == run.step and all(modes)  # evaluation over, training goes on in training mode
    assert all("loss" in x and "tokens/s" in x and "min left" in x for x in lines)


def test_an_exported_run_is_a_checkpoint_with_log_and_curve(tmp_path):
    run = trained(TINY, tmp_path / "run", 3)
    run.export(tmp_path / "model")
    loaded = load(tmp_path / "model").model.state_dict()
    checkpoint.save(run.model, build_tokenizer(), tmp_path / "saved")
    for file in (tmp_path / "saved").iterdir():  # one saver for all models
        assert (tmp_path / "model" / file.name).read_bytes() == file.read_bytes()
        assert (tmp_path / "model" / file.name).stat().st_mode == file.stat().st_mode
    assert all(torch.equal(loaded[k], v) for k, v in run.model.state_dict().items())
    assert stored_log(tmp_path / "model") == run.log
    assert (tmp_path / "model" / "loss.png").exists()


@pytest.mark.parametrize("more", [{}, {"exact_match": 0.5}])
def test_the_curve_of_a_log_is_a_picture(more, tmp_path):
    log = [{"step": i, "tokens": 1000 * i, "seconds": i, "loss": 5.0 / i} | more for i in range(1, 5)]
    plot_log(log, "tiny", tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG\r\n")


# ------------------------------------------------------------------------------------------------ several processes


def test_rows_must_divide_among_the_processes(monkeypatch, tmp_path):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(ValueError, match="rows=4 does not divide among 3 processes"):
        Run(TINY, tmp_path)


def launched(*arguments: str) -> str:
    """Run a command on two processes and return what it says."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "dlmlab"]
    done = subprocess.run(
        [*launcher, *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=600,
    )
    assert done.returncode == 0, done.stderr  # all of it: the launcher's own report comes last
    return done.stdout


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_two_processes_give_the_weights_of_one(optimizer, tmp_path):
    # AdamW alone forgives a gradient of the wrong size; a clip amid the norms of these steps, 1.1 to 4.0, does not.
    config = write_toml(tmp_path / "tiny.toml", replace(TINY, rows=8, log_every=10, clip=2.5, optimizer=optimizer))
    arguments = ["train", "--config", str(config), "--stop-after", "20", "--out"]
    assert cli.main([*arguments, str(tmp_path / "one")]) == 0
    launched(*arguments, str(tmp_path / "two"))
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    start = build_model(TINY).state_dict()
    for key in one:
        assert (one[key] - two[key]).norm() <= 1e-4 * one[key].norm(), key
        assert (one[key] - start[key]).norm() > 1e-2 * start[key].norm(), key  # and both have learned something
    logs = [stored_log(tmp_path / name) for name in ("one", "two")]
    assert [e["step"] for e in logs[1]] == [10, 20]
    assert [e["loss"] for e in logs[0]] == pytest.approx([e["loss"] for e in logs[1]], rel=1e-3)


# ------------------------------------------------------------------------------------------------ blocks and experts

EXPERTS = replace(
    TINY, family="llada2_moe", attention="block:8", n_layers=2, n_kv_heads=1, experts=4, expert_groups=2,
    groups_per_token=1, expert_hidden_size=8, corrupt=((0, 0.2),), balance=0.01,
)  # fmt: skip


def test_a_run_with_experts_resumes_to_the_same_weights(tmp_path):
    whole = trained(EXPERTS, tmp_path / "whole", 6)
    trained(EXPERTS, tmp_path / "parts", 3)
    assert same_weights(whole, trained(EXPERTS, tmp_path / "parts", 6))
    start = build_model(EXPERTS).state_dict()
    moved = [k for k, v in whole.model.state_dict().items() if not torch.equal(v, start[k])]
    assert any("expert_bias" in k for k in moved) and any("experts.3.up_proj" in k for k in moved)


def test_a_block_learns_from_the_clean_blocks_before_it():
    """The loss of a step is that of every block decoded alone: clean text before it, itself noised."""
    for config in (replace(TINY, attention="block:8"), EXPERTS):
        model, batch = build_model(config).eval(), Batches(config)(0)
        for weight in model.parameters():  # at its start a model hardly looks at the text
            weight.data.mul_(5.0)
        sums = training.learn(model, [], batch, clip=1e9, paired=True, edits=(0.0, 0.0))
        xt, x0, expected = batch.inputs, batch.targets, 0.0
        for b in range(0, xt.shape[1], 8):
            text = torch.cat([x0[:, :b], xt[:, b : b + 8]], 1)
            with torch.no_grad():
                logits = model(text).logits[:, b:]
            here = batch.weight[:, b : b + 8]
            expected += float(torch.nn.functional.cross_entropy(logits[here], x0[:, b : b + 8][here], reduction="sum"))
        assert float(sums[0]) == pytest.approx(expected, rel=2e-5) and float(sums[1]) == int(batch.weight.sum())
        other = float(training.learn(model, [], batch, clip=1e9, edits=(0.0, 0.0))[0])  # the control: noise before it
        assert other != pytest.approx(expected, rel=5e-4)


@pytest.mark.parametrize("edits", [(1.0, 0.1), (0.5, 0.0), (0.0, 0.0)])
def test_wrong_and_kept_tokens_weigh_what_the_recipe_says(edits):
    model, batch = build_model(EXPERTS).eval(), Batches(EXPERTS)(1)
    training.learn(model, [], batch, clip=1e9, paired=True, edits=edits)
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    logits = model(batch.inputs, clean=batch.targets).logits
    means = [
        torch.nn.functional.cross_entropy(logits[where], batch.targets[where])
        for where in (batch.weight, batch.corrupted, batch.kept)
    ]
    (means[0] + edits[0] * means[1] + edits[1] * means[2]).backward()
    for name, p in model.named_parameters():
        if p.grad is not None:
            torch.testing.assert_close(found[name], p.grad, rtol=1e-3, atol=1e-6, msg=name)


def test_the_recipe_of_the_toy_is_the_model_it_says():
    config = TrainConfig.read(checkpoint.DATA / "llada2-mini-toy" / "training.toml")
    model = build_model(config)
    assert 2.5e6 < sum(p.numel() for p in model.parameters()) < 12e6 / 4  # at most 12 MB in float32
    assert (model.config.num_experts, model.config.num_experts_per_tok, model.config.attention) == (8, 2, "block:8")
    shipped = checkpoint.load("llada2-mini-toy").model
    assert shipped.config.to_dict() | {"dtype": None} == model.config.to_dict()
    assert shipped.state_dict().keys() == model.state_dict().keys()
    small = TrainConfig.read(checkpoint.DATA / "llada-small" / "training.toml")
    sizes = [inspect.describe("", build_model(c).config).active for c in (config, small)]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.001)  # parameters that a token reads
    assert {k for k, v in asdict(small).items() if asdict(config)[k] != v} == {
        "name",
        "family",
        "attention",
        "mlp_hidden_size",
    }
