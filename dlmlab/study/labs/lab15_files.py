"""Lab 15: files that are read where they were not written: in another process, and with another arithmetic.

"Another arithmetic" is the same model, the same numbers on paper and another way to the same logits: one forward over
the whole text in place of token by token, or another number of rows in a batch. Floats then differ in their last
digits, and so do tables, if they are fine enough.

`15_readers`: texts are written token by token, a stream each, by one process with one thread, and read by another one
that differs in one thing: the rows in a batch, the threads, or the kernels. `avx2`: torch, oneDNN and MKL compute as on
an older processor, which has no wider instructions; on such a machine it is no change. `right`: a digit
for each text, by bits of the tables.
"""

import copy
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import cache

import torch

from dlmlab.measure import codec
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.network.checkpoint import load
from dlmlab.objective import likelihood
from dlmlab.task import layout, tasks

WRITERS = ("token by token", "one forward a text")
READ = """import sys, torch, dlmlab as dl
torch.set_num_threads(int(sys.argv[1]))
sys.stdout.write(dl.lab15_files.text_of(sys.stdin.buffer.read()))"""
READ_STREAMS = """import json, sys, torch, dlmlab as dl
job = json.load(sys.stdin)
torch.set_num_threads(job["threads"])
right = {bits: dl.lab15_files.restored(job["texts"], streams, int(bits), job["batch"])
         for bits, streams in job["streams"].items()}
json.dump(right, sys.stdout)"""
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
READERS = {  # what differs from the writer: rows in a batch, threads, kernels
    "nothing": (None, 1, {}),
    "threads": (None, 2, {}),
    "kernels": (None, 1, AVX2),
    "batch": (1, 1, {}),
}
TEXTS, BITS = 24, (12, 16, 24)


def texts_of(problems: Sequence[tasks.Problem]) -> list[list[int]]:
    """Give the ids of problems as texts, start mark to end mark."""
    return layout.encode_texts(load("llama-mini").tokenizer, problems)


def text_of(data: bytes) -> str:
    """Read a file of `codec.pack`, written with the twin: a line for each question, a line for each solution."""
    model, tokenizer = load("llama-mini")
    marks = {tokenizer.convert_tokens_to_ids("<|answer|>"): "\n", model.config.eos_token_id: "\n"}
    lines = ""
    for text in codec.unpack(model, data, start=tokenizer.bos_token_id):
        for token in text[1:]:
            blank = "" if token in marks or not lines or lines[-1] == "\n" else " "
            lines += blank + marks.get(token, tokenizer.convert_ids_to_tokens(token))
    return lines


def in_another_process(data: bytes) -> str:
    """Read a file in a Python that knows nothing of this one but the bytes and how many threads it computes with: sums
    in other parts are other floats. Raises `CalledProcessError` if it fails."""
    command = [sys.executable, "-c", READ, str(torch.get_num_threads())]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout.decode()


@cache
def twin(dtype: torch.dtype = torch.float32):
    """Give the twin, computing in float32 as shipped or in float64."""
    model = load("llama-mini").model
    return model if dtype == torch.float32 else copy.deepcopy(model).to(dtype)


def written(texts: Sequence[Sequence[int]], how: str, bits: int, model=None) -> list[list[int]]:
    """Write texts, a stream each, in one of `WRITERS`' ways, all in one batch."""
    model, writer = model or twin(), codec.Writer(texts, own=True)
    if how == WRITERS[0]:
        codec.in_turn(model, len(texts), writer, start=texts[0][0], bits=bits)
    else:
        codec.at_once(model, texts, writer, bits=bits)
    return writer.finish()


def restored(texts: Sequence[Sequence[int]], streams: Sequence[list[int]], bits: int, batch: int, model=None) -> str:
    """Read streams token by token, so many rows at a time: a digit for each text, 1 where it came back."""
    model, right = model or twin(), ""
    for at in range(0, len(texts), batch):
        reader = codec.Reader(streams[at : at + batch])
        part = texts[at : at + batch]
        try:
            found = codec.in_turn(model, len(part), reader, start=texts[0][0], bits=bits)
        except ValueError:  # a row found no end: of a batch, none is trusted
            found = [None] * len(part)
        right += "".join(str(int(a == list(b))) for a, b in zip(found, part, strict=True))
    return right


def answers_restored(problems: Sequence[tasks.Problem], order: codec.Order, bits: int, batch: int) -> tuple[int, str]:
    """Write answers with LLaDA-mini in one batch, given the questions and lengths, and read them `batch` at a time.

    Gives the bits of the streams, one a row, and a digit for each text.
    """
    model, tokenizer = load("llada-mini")
    rows = layout.encode_rows(tokenizer, problems, side="right")
    coded = likelihood.up_to_end(rows.x0, rows.answer, tokenizer.eos_token_id)
    valid = rows.valid & (coded | ~rows.answer)
    x = torch.where(coded, tokenizer.mask_token_id, rows.x0)
    codec.any_order(model, x, valid, writer := codec.Writer(rows.x0.tolist(), own=True), order, bits=bits)
    streams, right = writer.finish(), ""
    for at in range(0, len(problems), batch):
        few = slice(at, at + batch)
        back, _ = codec.any_order(model, x[few], valid[few], codec.Reader(streams[few]), order, bits=bits)
        right += "".join(map(str, (back == rows.x0[few]).all(1).int().tolist()))
    return sum(map(len, streams)), right


def run(reader: str, size: int | None = None) -> dict:
    """Write the first texts of the test split with one thread, and read them in another process, for all tables."""
    batch, threads, environment = READERS[reader]
    texts, before = texts_of(tasks.load_split("test")[: size or TEXTS]), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        streams = {str(bits): written(texts, WRITERS[0], bits) for bits in BITS}
    finally:
        torch.set_num_threads(before)
    job = {"threads": threads, "texts": texts, "streams": streams, "batch": batch or len(texts)}
    command = [sys.executable, "-c", READ_STREAMS]
    done = subprocess.run(
        command, input=json.dumps(job), capture_output=True, check=True, encoding="utf-8", env=os.environ | environment
    )
    return {"right": json.loads(done.stdout)}


def came_back(rows: Sequence[dict], reader: str, bits: int) -> int:
    """Count the texts that came back."""
    return select(rows, reader=reader)[0]["right"][str(bits)].count("1")


TABLE = Table(
    "15_readers",
    lambda: [{"reader": reader} for reader in READERS],
    run,
    live=({"reader": "nothing"},),
    size=8,
    headlines=lambda rows: {f"{who}, {bits}": came_back(rows, who, bits) for who in READERS for bits in BITS},
)
