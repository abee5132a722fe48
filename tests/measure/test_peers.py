"""Other libraries are compared where they are, named where they are not, and never raise."""

import warnings

import pytest
import torch

from dlmlab.measure import peers
from dlmlab.measure.peers import Peer

W = torch.randn(8, 64, generator=torch.Generator().manual_seed(0))
X = torch.randn(5, 64, generator=torch.Generator().manual_seed(1))


def halved(W):
    print("noise of a library")
    warnings.warn("more noise", stacklevel=1)
    return (lambda x: x @ W.T / 2), 7


def broken(W):
    raise RuntimeError("no kernel")


def test_a_library_that_is_there_is_measured(capsys, recwarn):
    (row,) = peers.compare(W, X, (Peer("torch", "torch", "halved", halved),))
    assert row["bytes"] == "7" and float(row["output error"]) == pytest.approx(0.25, rel=0.05)
    assert row["note"].startswith("version ") and capsys.readouterr().out == "" and not recwarn.list


def test_what_is_missing_or_fails_is_a_sentence():
    rows = peers.compare(
        W,
        X,
        (
            Peer("no_such.package", "no-such", "k", halved),
            Peer("torch", "no-such", "k", broken),
            Peer("torch", "torch", "k"),
        ),
    )
    assert rows[0]["note"] == "not installed: pip install no-such"
    assert rows[1]["note"] == "version unknown; did not run here: RuntimeError"
    assert "graphics card" in rows[2]["note"] and rows[2]["bytes"] == ""


def test_every_known_library_gives_a_row_here():
    rows = peers.compare(W, X)
    assert len(rows) == len(peers.PEERS)
    for row, peer in zip(rows, peers.PEERS, strict=True):
        assert row["note"] and (peers.present(peer.module) or row["note"].startswith("not installed"))


def test_bytes_of_a_composed_tensor_are_those_of_its_parts():
    class Two:
        a, b = torch.zeros(3), torch.zeros(2, dtype=torch.int8)

        def __tensor_flatten__(self):
            return ["a", "b"], None

    assert peers.held(torch.zeros(4)) == 16 and peers.held(Two()) == 14
