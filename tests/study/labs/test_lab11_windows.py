"""A window denoiser fills a place with what stands, in its list, where the window agrees best."""

import numpy as np
import torch

from dlmlab.study.labs import lab11_corpus as lab
from dlmlab.study.labs import lab11_memory as memory
from dlmlab.study.labs import lab11_windows as windows

V, END, MARK, HIDDEN = 20, 0, 1, 19
LIST = [[5, MARK, 7, 8, 9, END, END], [6, 6, MARK, 7, 3, 9, END]]


def small(rule: str, place: int, k: int, row: list[int], visible: list[int]) -> int:
    rows = torch.full((len(LIST), lab.L), END, dtype=torch.int16)
    rows[:, : len(LIST[0])] = torch.tensor(LIST, dtype=torch.int16)
    made = windows.Windows(rows, torch.tensor([1, 2]), V, END)
    seen = np.zeros(lab.L, bool)
    seen[visible] = True
    return made.fill(np.array(row + [END] * (lab.L - len(row))), seen, place, row.index(MARK), rule, k)


def test_the_same_place_is_counted_from_the_answer_mark():
    assert small("same place", 4, 4, [6, 6, MARK, 7, HIDDEN, 9], [0, 1, 2, 3, 5]) == 3
    assert small("same place", 3, 4, [5, MARK, 7, HIDDEN, 9], [0, 1, 2, 4]) == 8
    assert small("same place", 3, 4, [6, MARK, 7, HIDDEN, 9], [0, 1, 2, 4]) == 3


def test_any_place_finds_what_stands_elsewhere_in_an_answer():
    row, visible = [5, MARK, 2, 2, 8, HIDDEN, 9], [0, 1, 2, 3, 4, 6]
    assert small("any place", 5, 1, row, visible) == 9 and small("same place", 5, 1, row, visible) == END
    assert small("any place", 6, 2, [5, MARK, 2, 2, 7, 3, HIDDEN], [0, 1, 2, 3, 4, 5]) == 9


def test_what_is_hidden_or_further_than_the_nearest_places_does_not_count():
    assert small("same place", 3, 3, [5, MARK, 7, HIDDEN, 3], [0, 1, 2]) == 8
    assert small("same place", 3, 2, [5, MARK, 7, HIDDEN, 3], [0, 1, 2]) == 3  # a tie of both texts: the lower id
    assert windows.near(np.array([1, 1, 1, 0, 0, 1], bool), 3, 3, 2) == [2, 1, 5]
    assert windows.near(np.array([1, 1, 1, 0, 0, 1], bool), 3, 9, 1) == [2]


def test_whole_texts_with_every_place_are_the_nearest_aligned_texts():
    x0 = lab.some(lab.outside(), 64)[:2].long()
    z, visible, judged, _ = memory.hide(x0, 0.5, 0)
    at, (_, mask_id) = memory.answer_starts(lab.texts()), lab.vocabulary()
    for b, start in enumerate(memory.answer_starts(x0).tolist()):
        moved = memory.shifted(lab.texts(), start - at, mask_id).long()
        off = ((moved != z[b]) & visible[b]).sum(1)
        for place in judged[b].nonzero()[:3, 0].tolist():
            votes = torch.bincount(moved[off == off.min(), place], minlength=lab.vocabulary()[0])
            said = windows._list().fill(z[b].numpy(), visible[b].numpy(), place, start, *windows.WHOLE)
            assert int(votes[said]) == int(votes.max())


def test_an_answer_ends_with_its_end_mark_and_its_sums_are_judged():
    said = windows.write(memory.problems("test")[0].question, "same place", 4)
    assert "####" in said and windows.sums(said)
    assert windows.sums("2 + 2 = 5 ; 3 * 3 = 9") == [False, True]
