"""The model as one ONNX file, and ONNX Runtime reading it.

    onnxfile.export(model, "model.onnx")
    logits = onnxfile.Reader("model.onnx")(ids)

Decisions
* Both packages are extras: `missing` says in one sentence what to install, for writing (`onnx`, `onnxscript`) and for
  running (`onnxruntime`).
* The number of texts and their length stay open in the file (`dynamic_shapes`); a file exported for one length would
  run at that length alone.
* A text is handed over without padding: the mask of a batch is not part of the file (`unpadded`).

Source: documentation of `torch.onnx.export(dynamo=True)` (PyTorch 2.13) and of ONNX Runtime 1.32.
"""

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

WRITING, RUNNING = ("onnx", "onnxscript"), ("onnxruntime",)


def missing(*modules: str) -> str:
    """Say in one sentence what to install of these modules, or of all; "" when they are there."""
    absent = [name for name in modules or (*RUNNING, *WRITING) if importlib.util.find_spec(name) is None]
    return f"{', '.join(absent)} not installed: `pip install {' '.join(absent)}`" if absent else ""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what libraries print, log and warn about to themselves."""
    silent = io.StringIO()
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


class Logits(nn.Module):
    """A model whose result is a tensor: the only kind of function that a file can hold."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        return self.model(ids).logits


def export(model: nn.Module, path: str | Path) -> Path:
    """Write a model, ids (B, L) -> logits (B, L, V), B and L open. Raises `ValueError` where something is
    missing."""
    if sentence := missing(*WRITING):
        raise ValueError(sentence)
    B, L = torch.export.Dim("B", min=1, max=1024), torch.export.Dim("L", min=2, max=model.config.max_sequence_length)
    with quiet():
        torch.onnx.export(
            Logits(model).eval(), (torch.ones(2, 16, dtype=torch.long),), str(path), dynamo=True,
            dynamic_shapes=({0: B, 1: L},), input_names=["ids"], output_names=["logits"], external_data=False,
        )  # fmt: skip
    return Path(path)


def to_int8(source: str | Path, target: str | Path) -> Path:
    """Let ONNX Runtime rewrite a file with matrices in int8, inputs scaled at every call (its `quantize_dynamic`)."""
    if sentence := missing("onnxruntime", "onnx"):
        raise ValueError(sentence)
    with quiet():
        from onnxruntime.quantization import QuantType, quantize_dynamic

        quantize_dynamic(str(source), str(target), weight_type=QuantType.QInt8)
    return Path(target)


class Reader:
    """A file that ONNX Runtime runs, as a denoiser: ids (B, L) -> logits (B, L, V), float32.

    Raises `ValueError` with the sentence of `missing`.
    """

    def __init__(self, path: str | Path, *, threads: int = 1):
        if sentence := missing(*RUNNING):
            raise ValueError(sentence)
        import onnxruntime

        how = onnxruntime.SessionOptions()
        how.intra_op_num_threads, how.inter_op_num_threads, how.log_severity_level = threads, 1, 4
        self.session = onnxruntime.InferenceSession(str(path), how, providers=["CPUExecutionProvider"])
        (self.input,) = (one.name for one in self.session.get_inputs())

    def __call__(self, ids: Tensor) -> Tensor:
        return torch.from_numpy(self.session.run(None, {self.input: ids.numpy()})[0])


def unpadded(read: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor | None], Tensor]:
    """Make a denoiser with an attention mask of one that knows none: each row is read by itself, without its padding;
    the logits of the padding are 0."""

    def denoise(ids: Tensor, valid: Tensor | None = None) -> Tensor:
        if valid is None or bool(valid.all()):
            return read(ids)
        rows = [read(row[some][None])[0] for row, some in zip(ids, valid, strict=True)]
        out = torch.zeros(*ids.shape, rows[0].shape[-1])
        for line, some, found in zip(out, valid, rows, strict=True):
            line[some] = found
        return out

    return denoise
