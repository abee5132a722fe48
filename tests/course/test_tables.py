"""The tables of README are those of the stored measurements."""

import pytest

from dlmlab import paths
from dlmlab.course import tables

README = paths.checkout() / "README.md"
PAGE = "before\n<!--table:a-->\nold\n\n<!--/table-->\nafter <!--table:b-->\n<!--/table-->"


def test_a_span_is_filled_and_the_rest_stays():
    page = tables.render(PAGE, {"a": lambda: "one\ntwo\n", "b": lambda: "three"})
    assert page.startswith("before\n<!--table:a-->\n```\none\ntwo\n```\n<!--/table-->\nafter")
    assert page == tables.render(page, {"a": lambda: "one\ntwo\n", "b": lambda: "three"})


def test_an_unknown_table_is_refused():
    with pytest.raises(ValueError, match="table 'b' is unknown; known: a"):
        tables.render(PAGE, {"a": lambda: "x"})


def test_readme_shows_what_was_measured_last():
    text = README.read_text(encoding="utf-8")
    assert {match["name"] for match in tables.SPAN.finditer(text)} >= {"exact", "decode", "twin", "train", "speedrun"}
    assert text == tables.render(text), "README is older than data/bench.json or data/speedrun.json: make refresh"


def test_a_section_that_was_not_measured_on_this_machine_says_so(monkeypatch):
    monkeypatch.setattr(tables.bench, "read", dict)
    page = tables.render("<!--table:twin-->\nold numbers\n<!--/table-->")
    assert "twin: not measured on this machine yet (python -m dlmlab bench --only twin)" in page and "old" not in page


def test_readme_shows_no_table_that_is_missing():
    assert "not measured" not in README.read_text(encoding="utf-8")


def test_writing_changes_the_page_in_place(tmp_path, monkeypatch):
    page = tmp_path / "README.md"
    page.write_text("<!--table:speedrun-->\n<!--/table-->\n", encoding="utf-8")
    monkeypatch.setattr(tables.speedrun, "read", list)
    tables.write(page)
    assert "the leaderboard is empty" in page.read_text(encoding="utf-8")
