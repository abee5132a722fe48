"""Damaged copies of a checkpoint: what disks, editors, other tools and strangers do to its files.

`mutants(folder, seed)` yields `(what, file, content)`: one file of the folder and what it holds instead (None: it is
gone). Left out are changes that describe another sound model, such as a `rope_theta` of 5: nothing in a folder tells.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save

Mutant = tuple[str, str, bytes | None]
ODD = [
    None,
    True,
    False,
    0,
    -1,
    2.5,
    1e400,
    float("nan"),
    10**9,
    -(10**9),
    10**400,
    "",
    "x",
    "32",
    [],
    [1],
    {},
    {"a": 1},
]
ANOTHER_MODEL = [("rope_theta", 2.5), ("rope_theta", 10**9)]
CRUMBS = [b"\0", b'"', b"{", b"}", b"[", b"]", b"\\", b"x", b"\xff", b""]
TEXTS = {
    "empty": b"",
    "a list": b"[]",
    "a number": b"5",
    "null": b"null",
    "binary": bytes(range(256)),
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"a":' * 5_000,
    "a byte-order mark": b"\xef\xbb\xbf{}",
    "huge": b'{"a": "' + b"x" * 2**21 + b'"}',
    "utf-16": '{"a": 1}'.encode("utf-16"),
}


def mutants(folder: Path, seed: int) -> Iterator[Mutant]:
    """Yield all kinds of damage, drawn with a seed."""
    draw = random.Random(seed)
    for file in sorted(p.name for p in folder.iterdir()):
        content = (folder / file).read_bytes()
        yield f"{file} is gone", file, None
        yield from torn(file, content, draw)
        if file.endswith(".json"):
            yield from values(file, json.loads(content), draw)
    yield from tensors(folder / "model.safetensors", draw)
    yield from vocabularies(folder / "tokenizer.json", draw)


def torn(file: str, content: bytes, draw: random.Random) -> Iterator[Mutant]:
    """Cut a file, break a character of its text (of a header, where numbers follow), or put something else there."""
    text = len(content) if not file.endswith(".safetensors") else 8 + int.from_bytes(content[:8], "little")
    for _ in range(3):
        cut = draw.randrange(text)
        yield f"{file} cut at {cut}", file, content[:cut]
    breakable = [i for i in range(text) if not chr(content[i]).isalnum() or draw.random() < 0.2]
    breakable = [i for i in breakable if content[i] not in b"0123456789.-"]
    for at in draw.sample(breakable, 8):
        crumb = draw.choice(CRUMBS)
        yield f"{file} has {crumb} at {at}", file, content[:at] + crumb + content[at + 1 :]
    for name, other in TEXTS.items():
        yield f"{file} is {name}", file, other


def values(file: str, good: dict, draw: random.Random) -> Iterator[Mutant]:
    """Give keys odd values, take them out, name them twice."""
    for key in good:
        for odd in draw.sample(ODD, 5):
            if (key, odd) not in ANOTHER_MODEL:
                what = "10**400" if odd == 10**400 else repr(odd)
                yield f"{file}: {key} = {what}", file, dumped(good | {key: odd})
        yield f"{file} without {key}", file, dumped({k: v for k, v in good.items() if k != key})
    key = draw.choice(list(good))
    yield f"{file}: {key} twice", file, dumped(good).rstrip(b"}") + b"," + dumped({key: 5})[1:]


def dumped(value: dict) -> bytes:
    """Write JSON, also with an integer of 401 digits."""
    text = json.dumps({k: "GIANT" if v == 10**400 else v for k, v in value.items()})
    return text.replace('"GIANT"', "1" + "0" * 400).encode()


def tensors(file: Path, draw: random.Random) -> Iterator[Mutant]:
    """Spoil one tensor: a value, the type, the shape, the name."""
    good = load_file(file)
    types = [torch.int64, torch.int32, torch.uint8, torch.bool, torch.complex64, torch.float8_e4m3fn, torch.float8_e5m2]
    for name in draw.sample(sorted(good), 4):
        W = good[name]
        spoilt = {str(kind): W.to(kind) for kind in types}
        for value in (float("nan"), float("inf"), float("-inf"), 1e39):
            spoilt[f"float64 with {value}"] = at_random(W.double(), value, draw)
        spoilt |= {"float16 with inf": at_random(W.half(), float("inf"), draw), "flat": W.flatten()[1:], "zero": W[:0]}
        spoilt |= {"scalar": W.flatten()[0], "batched": W[None].clone()}
        for what, T in spoilt.items():
            yield f"{name} {what}", file.name, save(good | {name: T.contiguous()})
        rest = {k: v for k, v in good.items() if k != name}
        yield f"{name} missing", file.name, save(rest)
        yield f"{name} renamed", file.name, save(rest | {name + "x": W})
        yield f"{name} twice", file.name, save(good | {name + "x": W.clone()})


def packed(folder: Path, seed: int) -> Iterator[Mutant]:
    """Spoil what a packed checkpoint has besides: bytes of codes, scales and zero points, their names, shapes and
    types, and what the config says of a matrix."""
    draw = random.Random(seed)
    good, config = load_file(folder / "model.safetensors"), json.loads((folder / "config.json").read_bytes())
    for name in sorted(k for k in good if k.rsplit(".", 1)[1] in ("codes", "scale", "zero")):
        T = good[name]
        raw = T.clone().view(torch.uint8)
        at, bit = draw.randrange(raw.numel()), 1 << draw.randrange(8)
        raw.view(-1)[at] ^= bit
        rest = {k: v for k, v in good.items() if k != name}
        other = torch.float32 if T.dtype == torch.float16 else torch.int32
        for what, tensors in {
            f"bit {bit} of byte {at}": rest | {name: raw.view(T.dtype)},
            "missing": rest,
            "renamed": rest | {name + "s": T},
            "twice": good | {name + "2": T.clone()},
            "short": rest | {name: T[:-1].clone()},
            "turned over": rest | {name: T.flip(0)},
            str(other): rest | {name: T.to(other)},
            "with another axis": rest | {name: T[None].clone()},
        }.items():
            yield f"{name} {what}", "model.safetensors", save({k: v.contiguous() for k, v in tensors.items()})
    for name, values in config["quantization"].items():
        key = draw.choice(sorted(values))
        nested = [values | {key: draw.choice([*ODD, "fp32", "mean", "tensor", 2, 16])} for _ in range(4)]
        for new in (*nested, {k: v for k, v in values.items() if k != key}, draw.choice(ODD)):
            described = config["quantization"] | {name: new}
            yield (
                f"{name} is {str(new)[:200]}",
                "config.json",
                json.dumps(config | {"quantization": described}).encode(),
            )


def at_random(W: torch.Tensor, value: float, draw: random.Random) -> torch.Tensor:
    """Put a value at a random place of a copy."""
    W = W.clone()
    W.view(-1)[draw.randrange(W.numel())] = value
    return W


def vocabularies(file: Path, draw: random.Random) -> Iterator[Mutant]:
    """Swap, lose, repeat and push away the ids of a tokenizer."""

    def changed(vocab: dict | None = None, **parts) -> bytes:
        good = json.loads(file.read_bytes())
        if vocab is not None:
            good["model"]["vocab"] = vocab
        return json.dumps(good | parts).encode()

    good = json.loads(file.read_bytes())
    vocab = good["model"]["vocab"]
    for _ in range(6):
        a, b = draw.sample(sorted(vocab), 2)
        yield f"ids of {a} and {b} swapped", file.name, changed(vocab | {a: vocab[b], b: vocab[a]})
        yield f"no {a}", file.name, changed({k: v for k, v in vocab.items() if k != a})
        yield f"{a} has the id of {b}", file.name, changed(vocab | {a: vocab[b]})
        for i in (len(vocab), 10**6, 2**32 - 1, -1, 2**40, 1.5, "1", None):
            yield f"id of {a} is {i}", file.name, changed(vocab | {a: i})
        yield f"one more than {a}", file.name, changed(vocab | {a + "'": len(vocab)})
    for part in ("normalizer", "pre_tokenizer", "model", "added_tokens", "decoder", "post_processor"):
        for odd in (None, {}, [], {"type": "Lowercase"}, {"type": "BPE", "vocab": {}, "merges": []}):
            yield f"tokenizer {part} = {odd}", file.name, changed(**{part: odd})
