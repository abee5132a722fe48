"""A fingerprint holds what durations depend on, and reads the same twice."""

import json
import platform

import torch

from dlmlab.measure import hardware


def test_a_fingerprint_is_that_of_this_machine_and_can_be_stored():
    found = hardware.fingerprint()
    assert found == hardware.fingerprint() == json.loads(json.dumps(found))
    assert found["torch"] == torch.__version__ and found["threads"] == torch.get_num_threads()
    assert set(found) == {"processor", "cores", "threads", "capability", "torch", "python"}  # as in data/bench.json


def test_a_system_without_cpuinfo_is_named_by_platform(monkeypatch):
    class Missing:
        def __init__(self, path: str):
            raise OSError(path)

    monkeypatch.setattr(hardware, "Path", Missing)
    assert hardware.fingerprint()["processor"] == (platform.processor() or platform.machine())
