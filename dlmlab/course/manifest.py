"""`data/MANIFEST.json` and the model cards: what lies in `data/`, how it was made, under which licence, with which
checksum.

`python -m dlmlab manifest` writes both after data has changed; a test compares the checksums with the files.
"""

import json
from pathlib import Path

from dlmlab.measure import store
from dlmlab.measure.evaluate import Proportion
from dlmlab.network import inspect
from dlmlab.network.checkpoint import read_config, sha256, shipped
from dlmlab.objective.batches import TrainConfig
from dlmlab.paths import DATA, to_write
from dlmlab.study import nb00_leak, nb09_again

HOW = {
    "llada-mini/": "python -m dlmlab train --config data/llada-mini/training.toml --export data/llada-mini",
    "llama-mini/": "python -m dlmlab train --config data/llama-mini/training.toml --export data/llama-mini",
    "llada-mini-b/": (
        "python -m dlmlab train --config data/llada-mini-b/training.toml --half --export data/llada-mini-b"
    ),
    "llama-mini-b/": (
        "python -m dlmlab train --config data/llama-mini-b/training.toml --half --export data/llama-mini-b"
    ),
    "llada2-mini-toy/": (
        "python -m dlmlab train --config data/llada2-mini-toy/training.toml --export data/llada2-mini-toy"
    ),
    "llada-small/": "python -m dlmlab train --config data/llada-small/training.toml --export data/llada-small",
    "mini-gsm/": "python -m dlmlab data",
    "corpus/": 'python -c "from dlmlab.study.labs import lab11_corpus; lab11_corpus.ship()"',
    "sweep/": "written by hand",
    "wild/": "written by hand",
    "published/": "written by hand",
    "bottles/": 'python -c "from dlmlab.study import nb03_bottles; nb03_bottles.ship()"',
    "ledger.json": "python -m dlmlab refresh",
    "timing.json": "python -m dlmlab refresh",
    "bench.json": "python -m dlmlab bench",
    "load.json": "python -m dlmlab load --kernels N --notebook NN",
    "speedrun.json": "python -m dlmlab speedrun --recipe NAME --seed N",
    "speedrun/": "written by hand",
    "leaderboard.json": "python -m dlmlab leaderboard enter FILE",
}
SECOND = nb09_again.SECOND  # first run -> second
FIRST = {b: a for a, b in SECOND.items()}
KINDS = {
    "full": "masked diffusion (full attention)",
    "block": "block diffusion (attention to its own block and those before it)",
    "causal": "autoregressive (causal attention)",
}
LIVE = {
    "MANIFEST.json",
    "ledger.json",
    "timing.json",
    "bench.json",
    "leaderboard.json",
    "load.json",
    "speedrun.json",
}  # change by run: no checksum


def how(name: str) -> str:
    """Name the command that makes a file of `data/`. Raises `ValueError` for a file that nothing makes."""
    if name.startswith("results/"):
        return f"python -m dlmlab measure {Path(name).stem}"
    for prefix, command in HOW.items():
        if name.startswith(prefix):
            return "written by hand" if name.endswith(".toml") else command
    raise ValueError(f"data/{name} has no entry in dlmlab.manifest.HOW: how is it made?")


def entries(folder: Path = DATA) -> dict[str, dict]:
    """Describe every file of `data/`, by name."""
    files = (p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    names = sorted(p.as_posix() for p in files if not any(part.startswith(".") for part in p.parts))
    return {
        name: {
            "sha256": sha256(folder / name),
            "bytes": (folder / name).stat().st_size,
            "licence": "CC-BY-4.0",
            "made_by": how(name),
        }
        for name in names
        if name not in LIVE
    }


def beside(name: str) -> str:
    """Compare a second run with the first by number of equations, as Markdown; "" for a model without a first run."""
    if name not in FIRST:
        return ""
    both = (FIRST[name], name)
    found = [store.load(DATA / n / "evaluation.json", None) for n in both]
    shares = [
        {k: Proportion(*v) for k, v in f["by_steps"].items()} | {"all": Proportion(f["hits"], f["n"])} for f in found
    ]
    lines = ["## Beside the first run", "", f"| equations | {both[0]} | {both[1]} |", "|---|---|---|"]
    lines += [f"| {k} | {shares[0][k]} | {shares[1][k]} |" for k in shares[0]]
    return "\n".join([*lines, "", ""])


def model_card(name: str) -> str:
    """Write the card of a shipped model from its recipe, its log and its evaluation."""
    folder = DATA / name
    config = TrainConfig.read(folder / "training.toml")
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    test = store.load(folder / "evaluation.json", None)
    share = Proportion(test["hits"], test["n"])
    steps = "\n".join(f"| {k} | {Proportion(*v)} | {v[1]} |" for k, v in sorted(test["by_steps"].items()))
    kind = KINDS[config.attention.partition(":")[0]]
    notes = folder / "NOTES.md"
    model = inspect.describe(name, read_config(folder))
    experts = f", of which a token reads {model.active:,}" if config.family == "llada2_moe" else ""
    published = "LLaDA2.x (arXiv 2512.15745)" if experts else "LLaDA-8B (arXiv 2502.09992)"
    texts, first, other = nb00_leak.texts_of(name), nb00_leak.FIRST, (SECOND | FIRST).get(name)
    shared = name != first and config.seed == TrainConfig.read(DATA / first / "training.toml").seed
    among = f", the first {texts / nb00_leak.texts_of(first):.1%} of those of {first}" if shared else ""
    runs = (
        f"one, of one seed; {other} is one of another seed, with other tokens and another recipe (notebook 09)"
        if other
        else "one, of one seed: how far another would end elsewhere was not measured"
    )
    start = f"{config.causal_steps:,} causal steps first" if config.causal_steps else "none: `causal_steps` is 0"
    precision = f", {log[-1]['precision']}" if "precision" in log[-1] else ""  # logs from before it was written down
    return f"""# {name}

{kind.capitalize()}, {model.parameters:,} parameters{experts}:
width {config.d_model}, {config.n_layers} layers, {config.n_heads} heads. The architecture and the tensor names are
those of {published}. It answers mini-GSM word problems and nothing else.

| | |
|---|---|
| made by | `{HOW[name + "/"]}` |
| data | fresh mini-GSM problems every step, seed {config.seed}; no skeleton of a held-out split, some cores (below) |
| tokens seen | {log[-1]["tokens"]:,} in {log[-1]["step"]:,} steps of {config.rows} rows |
| texts seen | {texts:,}{among} |
| causal start | {start} |
| runs | {runs} |
| training time | {log[-1]["seconds"] / 60:.0f} minutes on two cores that also did other work{precision} |
| exact match, test split, one token per step | {share} of {share.n} problems |
| sha256 of model.safetensors | `{sha256(folder / "model.safetensors")}` |
| licence | CC BY 4.0 |

| equations | exact match | problems |
|---|---|---|
{steps}

![Training loss against tokens](loss.png)

{nb00_leak.told(name)}

{beside(name)}{notes.read_text(encoding="utf-8") if notes.exists() else ""}"""


def write(folder: Path = DATA) -> None:
    """Write the model cards, then the manifest."""
    for name in shipped():
        card = to_write(folder / name / "README.md")
        card.write_text(model_card(name).rstrip() + "\n", encoding="utf-8", newline="\n")
    store.save(folder / "MANIFEST.json", entries(folder), indent=1, sort_keys=True)
