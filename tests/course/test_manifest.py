"""What lies in data/ is what the manifest says, and its cards say what its files say."""

import json

import pytest

from dlmlab.course import manifest
from dlmlab.network.checkpoint import DATA, shipped


def test_every_file_has_its_checksum_and_its_command():
    stored = json.loads((DATA / "MANIFEST.json").read_text(encoding="utf-8"))
    assert stored == manifest.entries()


def test_a_file_that_nothing_makes_is_refused():
    with pytest.raises(ValueError, match="how is it made"):
        manifest.how("stray.bin")


def test_the_model_cards_are_up_to_date():
    assert shipped() == [
        "llada-mini",
        "llada-mini-b",
        "llada-small",
        "llada2-mini-toy",
        "llama-mini",
        "llama-mini-b",
    ]
    for name in shipped():
        assert (DATA / name / "README.md").read_text(encoding="utf-8") == manifest.model_card(name).rstrip() + "\n"


def test_no_shipped_file_is_larger_than_12_mb():
    assert max(entry["bytes"] for entry in manifest.entries().values()) <= 12 * 2**20
