"""The pages to read without a kernel: what they are built from, and what the built ones are like."""

import re
import subprocess
from html.parser import HTMLParser
from importlib.metadata import distributions
from pathlib import Path
from urllib.parse import unquote

import nbformat
import nbformat.v4 as v4
import pytest
from packaging.utils import canonicalize_name
from packaging.version import Version

from dlmlab import cli, paths
from dlmlab.course import site
from tests import browser
from tests.notebooks.cells import read
from tests.test_environment import oldest_python, refusing

ROOT = paths.checkout()
NOTEBOOKS = paths.notebooks(ROOT)
URL = "https://github.com/owner/name"
BOOK = ROOT / ".venv-site" / "bin" / "jupyter-book"


def shown(*alts: str, widget: bool = False) -> nbformat.NotebookNode:
    outputs = [
        v4.new_output(
            "display_data",
            {"image/png": "aGk=", "text/plain": f"<figure: {alt}>"},
            metadata={"image/png": {"alt": alt}},
        )
        for alt in alts
    ]
    if widget:
        outputs.append(v4.new_output("display_data", {site.WIDGET: {"model_id": "0"}, "text/plain": "Player(a 0..3)"}))
    return v4.new_notebook(cells=[v4.new_code_cell("1", outputs=outputs)], metadata={"widgets": {"x": 1}})


def test_alternative_texts_stand_where_the_pages_are_made_from():
    nb = shown("Bars of something.")
    made = site.page(nb)
    assert made.cells[0].metadata["mystnb"] == {"image": {"alt": "Bars of something."}}
    assert "text/plain" not in made.cells[0].outputs[0].data, "else the page says everything twice"
    assert "mystnb" not in nb.cells[0].metadata and "widgets" in nb.metadata, "the notebook itself stays as it is"


def test_every_figure_of_a_cell_has_its_own_text():
    nb = shown("A.", "B.", widget=True)
    first, second = site.page(nb).cells
    assert [cell.metadata["mystnb"]["image"]["alt"] for cell in (first, second)] == ["A.", "B."]
    assert first.source == "1" and second.source == "" and second.metadata["tags"] == ["remove-input"]
    assert [len(first.outputs), len(second.outputs), len(nb.cells[0].outputs)] == [1, 2, 3]


def test_a_widget_leaves_the_text_of_what_it_is():
    made = site.page(shown(widget=True))
    assert site.WIDGET not in made.cells[0].outputs[0].data and "widgets" not in made.metadata
    assert made.cells[0].outputs[0].data["text/plain"].startswith("Player(a 0..3): moves where a kernel runs")


def test_services_are_linked_for_a_repository_and_said_what_they_need():
    page = site.running(["01_sampling"], URL)
    assert "colab.research.google.com/github/owner/name/blob/main/notebooks/01_sampling.ipynb" in page
    assert "mybinder.org/v2/gh/owner/name/main?urlpath=lab%2Ftree%2Fnotebooks%2F01_sampling.ipynb" in page
    assert "needs a Google account and the network" in page and "image of about 2 GB" in page
    assert f"url: '{URL}'" in site.config(URL + ".git") and "colab_url" in site.config(URL)
    page = site.running(["01_sampling"], None)
    assert "colab.research" not in page and "no links" in page and "launch_buttons" not in site.config(None)


@pytest.mark.parametrize("address", ["owner/name", "https://example.org/owner/name", "https://github.com/owner", ""])
def test_an_address_that_is_none_is_refused(address, tmp_path, capsys):
    assert cli.main(["site", "--out", str(tmp_path / "new"), "--repository", address]) == 2
    assert "https://github.com/OWNER/NAME is needed" in capsys.readouterr().err and not (tmp_path / "new").exists()


def test_every_page_is_listed_and_what_is_listed_is_there(tmp_path, capsys):
    assert cli.main(["site", "--out", str(tmp_path / "site")]) == 0
    assert "pages in" in capsys.readouterr().out
    listed = re.findall(r"(?:file|root): (\S+)", (tmp_path / "site" / "_toc.yml").read_text(encoding="utf-8"))
    written = site.write(tmp_path / "site")  # a second time into the same folder
    assert sorted(listed) == sorted(name.rpartition(".")[0] for name in written)
    assert {f"notebooks/{path.name}" for path in NOTEBOOKS} < set(written)
    assert {f"teaching/guides/{path.stem}.md" for path in NOTEBOOKS} <= set(written)


def test_a_folder_of_somebody_else_is_left_alone(tmp_path, capsys):
    (tmp_path / "thesis.tex").touch()
    assert cli.main(["site", "--out", str(tmp_path)]) == 2
    assert "holds something else" in capsys.readouterr().err and (tmp_path / "thesis.tex").exists()


# ------------------------------------------------------------------------------------------------ the built pages


class Page(HTMLParser):
    """Read what a page's article holds: levels of headings, images with their texts, links, names; and all sources."""

    def __init__(self, text: str):
        super().__init__()
        self.levels, self.images, self.links, self.names, self.sources, self._inside = [], [], [], set(), [], 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.names |= {attrs["id"]} if "id" in attrs else set()
        self._inside += tag == "article"
        if tag in ("script", "link", "img") and (attrs.get("rel") != "canonical"):
            self.sources.append(attrs.get("src") or attrs.get("href") or "")
        if self._inside:
            if re.fullmatch(r"h[1-6]", tag):
                self.levels.append(int(tag[1]))
            if tag == "img":
                self.images.append(attrs.get("alt") or "")
            if tag == "a":
                self.links.append(attrs.get("href") or "")

    def handle_endtag(self, tag):
        self._inside -= tag == "article"


def problems(page: Page) -> list[str]:
    """List what keeps somebody who listens to a page, or has no network, from reading it."""
    found = [f"an image says {alt!r}" for alt in page.images if len(alt.split()) < 2]
    found += [] if page.levels[:1] == [1] and page.levels.count(1) == 1 else [f"headings begin {page.levels[:3]}"]
    pairs = zip(page.levels, page.levels[1:], strict=False)
    found += [f"a heading jumps from {above} to {level}" for above, level in pairs if level > above + 1]
    return found + [f"{source} is fetched" for source in page.sources if re.match(r"https?:|//", source)]


@pytest.mark.parametrize(
    "body, problem",
    [
        ("<h1>a</h1><img src='a.png'>", "an image says ''"),
        ("<h1>a</h1><img src='a.png' alt='plot.png'>", "an image says 'plot.png'"),
        ("<h2>a</h2>", "headings begin [2]"),
        ("<h1>a</h1><h3>b</h3>", "from 1 to 3"),
        ("<h1>a</h1><img src='https://x.org/a.png' alt='a good text'>", "https://x.org/a.png is fetched"),
    ],
)
def test_a_bad_page_is_found(body, problem):
    assert problems(Page("<article><h1>a</h1><h2>b</h2><img src='a.png' alt='bars of a'></article>")) == []
    assert any(problem in found for found in problems(Page(f"<article>{body}</article>")))


@pytest.fixture(scope="module")
def html(tmp_path_factory) -> Path:
    """Build the pages as `make site` does."""
    if not BOOK.exists():
        pytest.skip("Jupyter Book is not installed: make site")
    folder = tmp_path_factory.mktemp("book") / "site"
    site.write(folder, URL)
    done = subprocess.run([BOOK, "build", "-q", "-W", folder], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return folder / "_build" / "html"


@browser.ALL
def test_every_page_can_be_listened_to_and_needs_no_network(html):
    made = {"index", "search", "genindex"}  # by Sphinx, as are the templates under _static
    pages = [p for p in html.rglob("*.html") if p.stem not in made and "_static" not in p.parts]
    assert len(pages) > 2 * len(NOTEBOOKS)
    assert {
        str(p.relative_to(html)): found for p in pages if (found := problems(Page(p.read_text(encoding="utf-8"))))
    } == {}


@browser.ALL
def test_every_link_between_pages_leads_somewhere(html):
    names = {p: Page(p.read_text(encoding="utf-8")) for p in html.rglob("*.html")}
    dead = []
    for path, page in names.items():
        for link in page.links:
            file, _, anchor = unquote(link).partition("#")
            if re.match(r"[a-z]+:", link):
                continue
            there = (path.parent / file).resolve() if file else path
            if not there.exists() or (anchor and there in names and anchor not in names[there].names):
                dead.append(f"{path.name}: {link}")
    assert dead == []


@browser.ALL
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_figure_of_a_notebook_is_on_its_page_with_its_text(path, html):
    wanted = [
        output.metadata["image/png"]["alt"]
        for cell in read(path).cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    text = (html / "notebooks" / f"{path.stem}.html").read_text(encoding="utf-8")
    assert Page(text).images == wanted and "widget-view" not in text


@browser.ALL
def test_pages_can_be_searched_and_formulas_are_shown_without_fetching_anything(html):
    index = (html / "searchindex.js").read_text(encoding="utf-8")
    assert "sink" in index and "03_attention_sinks" in index
    text = (html / "notebooks" / "02_training_objective.html").read_text(encoding="utf-8")
    assert "<math" in text and "MathJax" not in text and "colab.research.google.com/github/owner/name" in text


RULES = ["color-contrast", "heading-order", "image-alt", "page-has-heading-one", "link-name", "document-title"]
CHECKED = ("README", "notebooks/00_start_here", "teaching/guides/01_sampling", "running")


@browser.ALL
def test_contrast_and_headings_pass_an_accessibility_checker(html):
    """axe-core, on pages that hold between them everything the theme can show: tables, code, output, figures, lists."""
    with browser.page(viewport={"width": 1400, "height": 900}) as page:
        axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe: pip install '.[browser]'")

        def violations() -> dict[str, list[str]]:
            found = axe.Axe().run(page, options={"runOnly": {"type": "rule", "values": RULES}}).response
            assert {v["id"] for v in found["passes"]} >= {"color-contrast", "heading-order"}, "axe looked at nothing"
            return {v["id"]: [node["html"][:120] for node in v["nodes"]][:5] for v in found["violations"]}

        found = {}
        for name in CHECKED:
            page.goto(f"{(html / name).as_uri()}.html")
            found |= {name: bad} if (bad := violations()) else {}
        assert found == {}
        page.evaluate("document.querySelector('article p').style.color = '#bbbbbb'")
        assert "color-contrast" in violations(), "grey on white is not seen"


def test_what_the_pages_are_built_with_is_pinned():
    lines = (ROOT / "requirements-site.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.\-]+==\S+", pin) for pin in pins)
    assert {"jupyter-book", "latex2mathml", "sphinx-book-theme"} <= {pin.partition("==")[0] for pin in pins}
    installed = [str(path) for path in ROOT.glob(".venv-site/lib/python*/site-packages")]
    pinned = {canonicalize_name(name): Version(version) for name, _, version in (pin.partition("==") for pin in pins)}
    assert refusing(pinned, oldest_python(), distributions(path=installed)) == []
