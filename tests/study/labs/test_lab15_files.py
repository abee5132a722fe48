"""Files of lab 15 are read in another process, and by the same arithmetic."""

import subprocess

import pytest
import torch

from dlmlab.measure import codec
from dlmlab.study.labs import lab15_codecs
from dlmlab.study.labs import lab15_files as lab
from dlmlab.task import tasks

PROBLEMS = tasks.load_split("test")[:6]


@pytest.mark.parametrize("threads", (1, 2))
def test_another_process_reads_the_same_bytes(threads):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        data = codec.pack(lab.twin(), lab.texts_of(PROBLEMS))
        assert lab.in_another_process(data).encode() == lab15_codecs.raw(PROBLEMS)
    finally:
        torch.set_num_threads(before)
    assert len(data) < len(lab15_codecs.raw(PROBLEMS)) / 10


def test_another_process_says_when_a_file_is_broken():
    data = bytearray(codec.pack(lab.twin(), lab.texts_of(PROBLEMS[:2])))
    data[codec.HEAD + 1] ^= 64
    with pytest.raises(subprocess.CalledProcessError):
        lab.in_another_process(bytes(data))


@pytest.mark.parametrize("bits", (12, 24))
def test_the_same_arithmetic_restores_all(bits):
    texts = lab.texts_of(PROBLEMS)
    streams = lab.written(texts, "token by token", bits)
    assert lab.restored(texts, streams, bits, len(texts)) == "1" * len(texts)


def test_answers_of_a_masked_model_come_back_in_the_same_batch():
    bits, right = lab.answers_restored(PROBLEMS, codec.Order("confidence", sure=0.9), 16, len(PROBLEMS))
    assert right == "1" * len(PROBLEMS) and bits < 200


def test_readers_that_differ_in_nothing_lose_nothing():
    rows = lab.TABLE.rows()
    for bits in lab.BITS:
        assert lab.came_back(rows, "nothing", bits) == lab.TEXTS
        assert all(0 <= lab.came_back(rows, reader, bits) <= lab.TEXTS for reader in lab.READERS)
