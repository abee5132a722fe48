"""What README and the notebooks quote is what the ledger, the stored tables and the benchmark hold."""

import functools
import re

import pytest

from dlmlab import paths
from dlmlab.course import pages
from tests.notebooks.cells import labelled, read

README = paths.checkout() / "README.md"
READ_ONCE = {name: functools.cache(read) for name, read in pages.headlines().items()}  # for all pages
ENTRIES = {"01.accuracy": {"value": 0.90}, "01.ratio": {"value": 2.5}}
STORED = {"01_x": lambda: {"rule, Fixed(steps=5)": 0.625, "nfe": 5.0}}
BLOCKS = {"a": lambda: "one\ntwo\n", "b": lambda: "three"}
PAGE = "before\n<!--table:a-->\nold\n\n<!--/table-->\nafter <!--table:b-->\n<!--/table-->"


def render(markdown: str) -> str:
    return pages.render(markdown, entries=ENTRIES, stored=STORED, blocks=BLOCKS)


@pytest.mark.parametrize(
    "span, filled",
    [("ledger:01.accuracy:.0%", "90%"), ("ledger:01.ratio:>5.1f", "  2.5"), ("stored:01_x:nfe:.1f", "5.0")]
    + [("stored:01_x:rule, Fixed(steps=5):.1%", "62.5%")],
)
def test_a_number_is_filled_and_the_rest_stays(span, filled):
    assert render(f"| <!--{span}-->?<!--/--> | 7 |") == f"| <!--{span}-->{filled}<!--/--> | 7 |"


def test_a_block_is_filled_and_the_rest_stays():
    page = render(PAGE)
    assert page.startswith("before\n<!--table:a-->\n```\none\ntwo\n```\n<!--/table-->\nafter")
    assert page == render(page)


@pytest.mark.parametrize(
    "span, complaint",
    [("<!--ledger:01.acuracy:.2f-->1<!--/-->", r"01.acuracy is not in the ledger \(near: 01.accuracy\)")]
    + [("<!--stored:01_y:nfe:.2f-->1<!--/-->", "stored table '01_y' is unknown; known: 01_x")]
    + [("<!--stored:01_x:nfee:.2f-->1<!--/-->", "01_x has no headline 'nfee'; it has 'nfe'")]
    + [("<!--contents:modules:99-->x<!--/-->", "contents 'modules:99' are unknown; known: modules:00")]
    + [("<!--teaching:stuck:99-->\n<!--/teaching-->", "teaching 'stuck:99' is unknown; known: misconceptions")]
    + [("<!--table:c-->\n<!--/table-->", "table 'c' is unknown; known: a, b")],
)
def test_what_is_not_there_is_refused(span, complaint):
    with pytest.raises(ValueError, match=complaint):
        render(span)


# ------------------------------------------------------------------------------------------------ the course's pages


def quoting_texts() -> dict[str, str]:
    """Collect README, the pages of `teaching/` and the Markdown of each notebook by name."""
    every = paths.notebooks(paths.checkout())
    texts = {path.name: "\n\n".join(cell.source for _, cell in labelled(read(path), "markdown")) for path in every}
    written = pages.files(paths.checkout())
    return texts | {str(p.relative_to(paths.checkout())): p.read_text(encoding="utf-8") for p in written}


@pytest.mark.parametrize("name, text", quoting_texts().items())
def test_quoted_numbers_are_the_measured_ones(name, text):
    assert pages.render(text, stored=READ_ONCE) == text, (
        f"{name} quotes other numbers than were measured: `make refresh`"
    )
    quoted = text.count("<!--ledger:") + text.count("<!--stored:")
    assert quoted == len(pages.NUMBER.findall(text)), f"{name} has a malformed span"


def test_every_notebook_has_its_row_in_readme_with_modules_exercises_and_a_signature_number():
    text = README.read_text(encoding="utf-8")
    for path in paths.notebooks(paths.checkout()):
        (row,) = [line for line in text.splitlines() if line.startswith("|") and f"](notebooks/{path.name})" in line]
        assert all(f"<!--contents:{kind}:{path.name[:2]}-->" in row for kind in ("modules", "exercises"))
        *_, signature = row.rstrip(" |").split(" | ")
        assert pages.NUMBER.search(signature), f"no number of a table or the ledger closes the row of {path.name}"


def test_readme_shows_the_tables_that_were_measured():
    text = README.read_text(encoding="utf-8")
    assert {match["name"] for match in pages.BLOCK.finditer(text)} >= {"exact", "decode", "peers", "train", "speedrun"}
    assert "not measured" not in text


def test_a_section_that_was_not_measured_on_this_machine_says_so(monkeypatch):
    monkeypatch.setattr(pages.bench, "read", dict)
    page = pages.render("<!--table:peers-->\nold numbers\n<!--/table-->")
    assert "peers: not measured on this machine yet (python -m dlmlab bench --only peers)" in page and "old" not in page


def test_writing_changes_every_page_in_place_and_nothing_else(tmp_path, monkeypatch):
    (tmp_path / "teaching" / "guides").mkdir(parents=True)
    written = [tmp_path / "README.md", tmp_path / "teaching" / "guides" / "01_x.md"]
    for page in (*written, tmp_path / "NOTES.md"):
        page.write_text("<!--table:speedrun-->\n<!--/table-->\n", encoding="utf-8")
    monkeypatch.setattr(pages.speedrun, "read", list)
    pages.write(tmp_path)
    assert all("the leaderboard is empty" in page.read_text(encoding="utf-8") for page in written)
    assert "empty" not in (tmp_path / "NOTES.md").read_text(encoding="utf-8")


def test_a_lesson_is_filled_and_the_rest_stays():
    page = render("before\n<!--teaching:points:00-->\nold\n<!--/teaching-->\nafter")
    assert page.startswith("before\n<!--teaching:points:00-->\n| exercise | title |") and page.endswith("-->\nafter")
    assert "Cut an answer at its end mark" in page and "old" not in page and page == render(page)


def results_section(readme: str) -> str:
    """Cut the section `## Results` out of a README; a README without one is an error."""
    match = re.search(r"(?ms)^## Results[^\n]*\n(.*?)(?=^## |\Z)", readme)
    assert match, "README.md has no section '## Results'"
    return match[1]


def loose_numbers(section: str) -> list[str]:
    """List the numbers of a section that stand outside spans, links, code and names such as GSM8K."""
    text = pages.NUMBER.sub("", section)
    text = re.sub(
        r"(?s)```.*?```|`[^`]*`|\[\d\d\]\([^)]*\)|\]\([^)]*\)|<!--.*?-->|https?://\S+|\barXiv:?\s*\d{4}\.\d{4,5}",
        "",
        text,
    )
    text = re.sub(r"\b95\s?% (confidence|interval|Wilson)", "", text)  # the level is a convention, not a result
    return re.findall(r"(?<![\w.\-])\d[\d.,]*(?![\w\-])", text)


def test_every_number_of_the_results_in_readme_is_quoted():
    section = results_section(README.read_text(encoding="utf-8"))
    assert pages.NUMBER.search(section), "the results quote no number at all"
    assert loose_numbers(section) == []


def test_a_typed_number_in_the_results_is_found():
    assert loose_numbers("| random | 93 % | <!--ledger:a:.0%-->91%<!--/--> | 0.5 |") == ["93", "0.5"]
    assert loose_numbers("<!--stored:01_x:rule, Fixed(steps=5):.0%-->63%<!--/--> 7") == ["7"]
    kept = "GSM8K, LLaDA-8B, [01](notebooks/01_x.ipynb), `k = 4`, arXiv 2502.09992, 95 % Wilson interval"
    assert loose_numbers(kept) == []


def test_a_readme_without_results_is_an_error():
    with pytest.raises(AssertionError, match="no section"):
        results_section("# Course\n\n## Start\n")
