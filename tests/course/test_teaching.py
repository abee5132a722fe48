"""What a teacher is given holds: every notebook has a guide whose minutes add up and whose places exist, and every
misconception a check that names it, a hint, a sentence and an exam item."""

import re

import pytest

from dlmlab import paths
from dlmlab.course import contents, exercises, predictions, teaching
from tests.mutants import ANSWERS
from tests.notebooks import gates_text
from tests.notebooks.cells import headings, read

ROOT = paths.checkout()
NOTEBOOKS = paths.notebooks(ROOT)
PAGES = sorted((ROOT / "teaching").rglob("*.md"))
ASKED = exercises.registry() | predictions.registry()
EXERCISE = re.compile(r"\bexercises? (\d+\.\d+)", re.IGNORECASE)


def guide_problems(guide: str, titles: list[str], number: str) -> list[str]:
    """List what is wrong with a guide to the notebook with these headings."""
    problems = [f"no section {name!r}" for name in teaching.SECTIONS if f"\n## {name}\n" not in guide]
    if problems:
        return problems
    places = [guide.index(f"\n## {name}\n") for name in teaching.SECTIONS]
    problems += [] if places == sorted(places) else ["the sections are not in their order"]
    for total in (50, 90):
        problems += [f"{total} minutes: {p}" for p in plan_problems(teaching.plan(guide, total), total, titles)]
    prompts = re.findall(r"(?m)^\*\*\d\. .+?\*\*\n\*Answer\.\* \S", teaching.section(guide, "Discussion"), re.DOTALL)
    problems += [] if len(prompts) >= 3 else [f"{len(prompts)} discussions with an answer, three are needed"]
    for kind, place in (("stuck", "Where people get stuck"), ("points", "Rubric")):
        problems += [] if f"<!--teaching:{kind}:{number}-->" in teaching.section(guide, place) else [f"no {kind} table"]
    rubric = teaching.section(guide, "Rubric")
    problems += [f"no sample for {grade}" for grade in ("9 to 10", "7 to 8", "5 to 6") if f"**{grade}.**" not in rubric]
    return problems


def plan_problems(plan: list[tuple[int, int, str, str]], total: int, titles: list[str]) -> list[str]:
    """List what is wrong with a plan: marks that do not join, places that are not there, exercises without time."""
    if not plan:
        return ["there is no plan"]
    marks = [0, *(stop for _, stop, _, _ in plan)]
    problems = [] if marks[-1] == total else [f"the plan ends at {marks[-1]}"]
    for expected, (start, stop, what, where) in zip(marks, plan, strict=False):
        problems += [] if start == expected and start < stop else [f"{start} to {stop} does not follow {expected}"]
        problems += [f"{title!r} is no heading" for title in re.findall(r"\*(.+?)\*", where) if title not in titles]
        asked = EXERCISE.findall(where)
        problems += [f"exercise {id} is unknown" for id in asked if id not in ASKED]
        needed = sum(ASKED[id].minutes for id in asked if id in ASKED)
        problems += [f"{what!r} has {stop - start} minutes, needs {needed}"] if stop - start < needed else []
        problems += [] if asked or "*" in where else [f"{what!r} does not say where"]
    return problems


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_has_a_guide_that_can_be_taught_from(path):
    guide = teaching.guide(path)
    assert guide.exists(), f"{path.name} has no guide: write {guide.relative_to(ROOT)}"
    text, titles = guide.read_text(encoding="utf-8"), [title for _, title in headings(read(path))]
    assert f"../../notebooks/{path.name}" in text
    assert guide_problems(text, titles, path.name[:2]) == []


def test_there_is_no_guide_without_a_notebook():
    stems = {path.stem for path in NOTEBOOKS}
    assert {path.stem for path in (ROOT / "teaching" / "guides").glob("*.md")} == stems


GOOD = "\n".join(
    [
        *("# Guide", "", "## Before class", "", "## 50 minutes", "", "| 0 | 20 | Talk. | *Recap* |"),
        *("| 20 | 50 | Do. | exercise 1.1 |", "", "## 90 minutes", "", "| 0 | 90 | Talk. | *Recap* |", ""),
        *("## Live demo", "", "## Discussion", "", *(f"**{n}. Why?**\n*Answer.* So." for n in (1, 2, 3)), ""),
        *(
            "## Where people get stuck",
            "",
            "<!--teaching:stuck:01-->",
            "",
            "## Rubric",
            "",
            "<!--teaching:points:01-->",
        ),
        *("**9 to 10.** a", "**7 to 8.** b", "**5 to 6.** c", ""),
    ]
)


@pytest.mark.parametrize(
    "old, new, problem",
    [
        ("## Live demo", "## Demo", "no section 'Live demo'"),
        ("| 20 | 50 | Do.", "| 25 | 50 | Do.", "does not follow 20"),
        ("| 20 | 50 | Do.", "| 20 | 45 | Do.", "ends at 45"),
        ("| 0 | 20 | Talk. | *Recap* |\n| 20", "| 0 | 45 | Talk. | *Recap* |\n| 45", "has 5 minutes, needs 10"),
        ("| *Recap* |\n| 20", "| *Recapitulation* |\n| 20", "'Recapitulation' is no heading"),
        ("| *Recap* |\n| 20", "| the board |\n| 20", "does not say where"),
        ("exercise 1.1", "exercise 1.99", "exercise 1.99 is unknown"),
        ("*Answer.* So.\n\n## Where", "So.\n\n## Where", "2 discussions with an answer"),
        ("<!--teaching:stuck:01-->", "<!--teaching:stuck:02-->", "no stuck table"),
        ("**7 to 8.**", "**7.**", "no sample for 7 to 8"),
    ],
)
def test_a_guide_that_cannot_be_taught_from_is_found(old, new, problem):
    assert guide_problems(GOOD, ["Recap"], "01") == [] and GOOD.count(old) == 1
    assert any(problem in found for found in guide_problems(GOOD.replace(old, new), ["Recap"], "01"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_minutes_a_notebook_states_hold_its_exercises(path):
    """What is over is for its experiment, which has no check."""
    _, stated = teaching.minutes(path)
    needed = sum(e.minutes for e in ASKED.values() if e.notebook == path.name[:2])
    assert needed <= stated <= needed + 20


# ------------------------------------------------------------------------------------------------ misconceptions


@pytest.mark.parametrize("m", teaching.misconceptions(), ids=lambda m: f"{m.exercise}-{m.mutant}")
def test_a_misconception_is_checked_hinted_at_taught_and_examined(m):
    wrong = {fn.__name__: words for fn, words in ANSWERS[m.exercise].MUTANTS.items()}
    assert wrong.get(m.mutant) == m.says, f"the wrong answers of {m.exercise} are {', '.join(wrong)}"
    assert 1 <= m.hint <= len(exercises.registry()[m.exercise].hints)
    assert m.believes.endswith(".") and m.say.endswith((".", "?")) and "|" not in m.believes + m.say
    assert m.exam.startswith(f"X{int(m.notebook)}") and f"\n### {m.exam}\n" in exam()
    (guide,) = (ROOT / "teaching" / "guides").glob(f"{m.notebook}_*.md")
    assert m.say in guide.read_text(encoding="utf-8"), "the guide is not filled: python -m dlmlab pages"


def exam() -> str:
    return (ROOT / "teaching" / "exam.md").read_text(encoding="utf-8")


def test_every_exercise_of_a_notebook_has_a_misconception():
    placed = {id for path in NOTEBOOKS for id in contents.USE.findall(contents.code(path))}
    known = {m.exercise for m in teaching.misconceptions()}
    assert placed & exercises.registry().keys() - known == set(), "add them to teaching/misconceptions.toml"


def test_every_exam_item_asks_for_a_misconception_and_has_a_solution():
    items = re.split(r"(?m)^### ", exam())[1:]
    known = {m.exam for m in teaching.misconceptions()}
    assert known <= {item.partition("\n")[0] for item in items}
    for item in items:
        again = item.partition("\n")[0] in known or any(f"prediction {id}" in item for id in predictions.registry())
        assert again, f"nothing that the course met before: {item[:40]}"
        assert re.search(r"\*\*\d points?\.\*\*", item) and "<details><summary>Solution</summary>\n\n" in item


def test_an_entry_with_a_missing_or_unknown_key_is_an_error(tmp_path):
    path = tmp_path / "m.toml"
    path.write_text('[[misconception]]\nexercise = "1.1"\nbeleives = "x"\n', encoding="utf-8")
    with pytest.raises(TypeError, match="beleives"):
        teaching.misconceptions(path)


def test_a_section_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match="no section '50 minutes'"):
        teaching.plan("# Guide\n", 50)


# ------------------------------------------------------------------------------------------------ the other pages


def test_every_complaint_has_an_answer_and_what_it_names_is_there():
    text = (ROOT / "teaching" / "complaints.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\| *(\d+) \| (.+?) \| (.+?) \| (.+?) \|$", text)
    assert [int(number) for number, *_ in rows] == list(range(1, 26))
    for _, _, answer, held in rows:
        assert answer.startswith(("Answered: ", "In part: ", "Declined: "))
        files = re.findall(r"`([^`]+)`", held)
        assert files and all((ROOT / file).exists() for file in files), held


def test_every_path_leads_through_notebooks_that_exist_and_the_long_one_through_all():
    text = teaching.section((ROOT / "teaching" / "README.md").read_text(encoding="utf-8"), "Paths")
    rows = re.findall(r"(?m)^\| (one day|three weeks|eight weeks) \| .+? \| (.+?) \|", text)
    named = {name: " ".join(w for n, w in rows if n == name) for name, _ in rows}
    seen = {name: set(re.findall(r"\b\d\d\b(?!\.| minutes)", words)) for name, words in named.items()}
    there = {path.name[:2] for path in NOTEBOOKS}
    assert seen.keys() == {"one day", "three weeks", "eight weeks"} and all(found <= there for found in seen.values())
    assert seen["eight weeks"] == there, "the path of eight weeks leaves out a notebook"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_resolve_and_headings_are_in_order(page):
    text = page.read_text(encoding="utf-8")
    for link in gates_text.LINK.finditer(gates_text.without_code(text)):
        target = link[1] or link[2]
        if not re.match(r"[a-z]+:|//", target):
            file, _, anchor = target.partition("#")
            there = (page.parent / file) if file else page
            assert there.exists(), f"{target}: no such file"
            assert not anchor or anchor in gates_text._anchors(there), f"{target}: no such heading"
    levels = [len(marks) for marks in re.findall(r"(?m)^(#+) ", text)]
    assert levels[0] == 1 and all(b <= a + 1 for a, b in zip(levels, levels[1:], strict=False))


def typed_results(text: str) -> list[str]:
    """List what reads like a result and is no span; sample answers and exam items make their own numbers up."""
    text = re.sub(r"(?s)<!--(teaching|table):.*?<!--/\1-->", "", text)
    text = re.sub(r"(?ms)^\* \*\*\d+ to \d+\.\*\*.*?(?=^\* \*\*|^#|\Z)", "", gates_text.SPAN.sub("", text))
    text = re.sub(r"\b\d+\.\d+\b", lambda id: "" if id[0] in ASKED else id[0], text)
    found = []
    for sentence in gates_text.sentences(text):
        if match := gates_text.RESULT.search(gates_text.SETTING.sub("", gates_text.NUMBERING.sub("", sentence))):
            found.append(f"{match[0]}: {' '.join(sentence.split())[:90]}")
    return found


@pytest.mark.parametrize("page", [p for p in PAGES if p.stem != "exam"], ids=lambda page: page.stem)
def test_a_measured_number_is_quoted_and_never_typed(page):
    assert typed_results(page.read_text(encoding="utf-8")) == []


def test_a_typed_result_is_found():
    assert typed_results("It answers 93 % of them.") and typed_results("Twice as fast.")
    assert not typed_results("It answers <!--ledger:a:.0%-->93%<!--/--> of them in 50 minutes.")
