"""The script for a GPU runs its steps on a CPU, and says so when one of them fails."""

import runpy

import pytest

from dlmlab import paths

SCRIPT = runpy.run_path(str(paths.checkout() / "tools" / "gpu_check.py"))


def test_the_steps_run_without_a_gpu(capsys):
    line = ["--device", "cpu", "--size", "tiny", "--only", "blocks", "decoding"]
    assert SCRIPT["main"](line) == 0
    out = capsys.readouterr().out
    assert "gptq, block by block: seconds a block" in out and "a forward of 128 tokens, 2 layers" in out
    assert out.endswith("all checks passed\n")


@pytest.mark.parametrize("value, failed", [(0.05, False), (0.2, True), (float("nan"), True)])
def test_a_check_fails_above_its_bound(value, failed):
    check = SCRIPT["Check"]("x", value, 0.1)
    assert check.failed == failed and ("FAILED" in str(check)) == failed
    assert not SCRIPT["Check"]("x", value).failed


def test_a_device_that_is_not_here_is_refused():
    with pytest.raises(ValueError, match="--device='cuda:99'"):
        SCRIPT["main"](["--device", "cuda:99"])
