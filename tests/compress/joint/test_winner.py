"""A winner is rebuilt from its file to the bit, and a file that is none is refused."""

import json

import pytest
import torch

from dlmlab.compress.joint import winner
from dlmlab.compress.joint.assembly import Assembly, Calibration
from dlmlab.compress.joint.options import SPARSE, Option
from dlmlab.compress.joint.steps import USUAL
from dlmlab.compress.joint.winner import Winner
from tests.tiny import one_thread

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")
CALIBRATION = Calibration(texts=4)
PLACES = {"blocks.0": Option(3, 64), "blocks.3": Option(units="layer"), "blocks.5.ff_out": SPARSE}


def made() -> tuple[Winner, torch.nn.Module]:
    model = Assembly.of("llada-mini", CALIBRATION).model(PLACES)
    return Winner("llada-mini", CALIBRATION, PLACES, USUAL, winner.digest(model), {"bytes": 1.0}), model


def test_the_file_gives_the_model_to_the_bit(tmp_path):
    found, model = made()
    winner.write(found, tmp_path / "winner.json")
    again = winner.read(tmp_path / "winner.json")
    assert again == found
    rebuilt = winner.rebuild(tmp_path / "winner.json")
    assert winner.read(found.plain()) == found
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), rebuilt.parameters(), strict=True))
    changed = winner.read(tmp_path / "winner.json")
    changed.places["blocks.0"] = Option(4, 64)
    with pytest.raises(ValueError, match="has other weights"):
        winner.rebuild(changed)


def test_the_digest_sees_one_bit():
    model = torch.nn.Linear(3, 2)
    before = winner.digest(model)
    with torch.no_grad():
        model.weight[0, 0] = torch.nextafter(model.weight[0, 0], torch.tensor(9.0))
    assert winner.digest(model) != before


def test_a_file_that_is_no_winner_is_refused(tmp_path):
    path = tmp_path / "winner.json"
    for text in ("", "[]", "{}", json.dumps({"model": "a", "calibration": {"texts": 1}, "places": {"blocks.0": 3}})):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match="is no winner"):
            winner.read(path)
