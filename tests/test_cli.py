"""The command line: every command is reachable, a mistake is one line and exit status 2."""

import json

import pytest

from dlmlab import cli, doctor

TINY = """
name = "tiny"
d_model = 16
n_heads = 2
n_layers = 1
mlp_hidden_size = 24
tokens = 2000
rows = 4
compile = false
bf16 = false
log_every = 1
eval_every = 1000
"""


def test_a_mistake_is_one_line_and_status_2(capsys):
    assert cli.main(["evaluate", "no-such-model"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("dlmlab evaluate: no checkpoint 'no-such-model'") and error.count("\n") == 1


def test_two_commit_rules_at_once_are_refused(capsys):
    assert cli.main(["evaluate", "--threshold", "0.9", "--factor", "1"]) == 2
    assert "at most one of" in capsys.readouterr().err


def test_an_unknown_experiment_lists_the_known_ones(capsys):
    assert cli.main(["measure", "nothing"]) == 2
    assert "01_sampling" in capsys.readouterr().err


def test_generate_answers_and_judges(capsys):
    question = "Ben has 8 marbles. Cara has twice as many as Ben. How many marbles does Cara have?"
    assert cli.main(["generate", question, "--threshold", "0.9", "--gen-length", "10", "--grid"]) == 0
    out = capsys.readouterr().out
    assert "▢" in out and "8 * 2 = 16 ; #### 16" in out and "final answer right" in out


def test_evaluate_prints_intervals_and_writes_numbers(tmp_path, capsys):
    path = tmp_path / "numbers.json"
    assert cli.main(["evaluate", "llada-mini", "--limit", "4", "--steps", "2", "--json", str(path)]) == 0
    numbers = json.loads(path.read_text(encoding="utf-8"))
    assert numbers["n"] == 4 and numbers["mean_nfe"] == 2
    assert "exact match" in capsys.readouterr().out


def test_train_exports_a_model_that_evaluates(tmp_path, capsys):
    (tmp_path / "tiny.toml").write_text(TINY, encoding="utf-8")
    run, model = tmp_path / "run", tmp_path / "model"
    assert cli.main(["train", "--config", str(tmp_path / "tiny.toml"), "--out", str(run), "--export", str(model)]) == 0
    assert {"model.safetensors", "config.json", "log.jsonl", "loss.png"} <= {p.name for p in model.iterdir()}
    assert "tokens/s" in capsys.readouterr().out
    assert cli.main(["evaluate", str(model), "--limit", "2", "--steps", "1"]) == 0


def test_the_doctor_projects_by_the_speed_of_a_forward(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "forward_milliseconds", lambda rounds=9: 30.0)
    timing = tmp_path / "timing.json"
    timing.write_text(json.dumps({"forward_ms": 10.0, "notebooks": {"00_start_here.ipynb": 12.0}}), encoding="utf-8")
    report = doctor.report(timing)
    assert "3.0 x" in report and "36 s" in report and "torch" in report


def test_timings_of_a_machine_of_another_speed_are_dropped(tmp_path, monkeypatch):
    timing = tmp_path / "timing.json"
    monkeypatch.setattr(doctor, "forward_milliseconds", lambda rounds=9: 10.0)
    doctor.write_timing({"a": 1.0}, timing)
    doctor.write_timing({"b": 2.0}, timing)
    assert json.loads(timing.read_text(encoding="utf-8"))["notebooks"] == {"a": 1.0, "b": 2.0}
    monkeypatch.setattr(doctor, "forward_milliseconds", lambda rounds=9: 30.0)
    doctor.write_timing({"b": 6.0}, timing)
    assert json.loads(timing.read_text(encoding="utf-8"))["notebooks"] == {"b": 6.0}


@pytest.mark.parametrize(
    "command", ["doctor", "train", "generate", "evaluate", "prune", "measure", "refresh", "manifest", "data"]
)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help"])
    assert stop.value.code == 0 and f"dlmlab {command}" in capsys.readouterr().out


def test_prune_writes_a_model_that_loads(tmp_path, capsys):
    arguments = ["--method", "sink-wanda", "--sparsity", "0.5", "--texts", "2", "--out", str(tmp_path)]
    assert cli.main(["prune", *arguments]) == 0
    out = capsys.readouterr().out
    assert "zeros in the blocks 50.0% (before 0.0%)" in out and "packed" in out
    assert (
        cli.main(
            [
                "generate",
                "Ben has 8 marbles. Cara has 2 more than Ben. How many marbles does Cara have?",
                "--model",
                str(tmp_path),
                "--steps",
                "4",
                "--gen-length",
                "10",
            ]
        )
        == 0
    )


@pytest.mark.parametrize(
    "arguments, text",
    [
        (["--method", "dllm_unstruct"], "method 'dllm_unstruct' is unknown"),
        (["--method", "wanda", "--pattern", "2:4", "--sparsity", "0.4"], "not sparsity=0.4"),
        (["--method", "wanda", "--split", "test"], "only 'calibration' is allowed"),
        (["--method", "wanda", "--model", "llama-mini", "--calibration", "grid"], "never sees masks"),
    ],
)
def test_prune_refuses_instead_of_saving_the_dense_model(tmp_path, capsys, arguments, text):
    out = tmp_path / "out"
    assert cli.main(["prune", "--sparsity", "0.5", "--texts", "2", "--out", str(out), *arguments]) == 2
    assert text in capsys.readouterr().err and not out.exists()
