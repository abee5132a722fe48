"""llama.cpp as a guest: its library, where somebody has put one, reads a file of ours and gives logits.

    reader = llamacpp.Reader("model.gguf", vocab_size=333)
    logits = reader(ids)  # (B, L) -> (B, L, V): a denoiser, as `sampling.sample` wants one

Decisions
* The library is no dependency. The variable `DLMLAB_LLAMACPP` names the folder that holds it; `missing` says in one
  sentence what to do.
* It is called through `ctypes`, and structures of C have no names: those below are those of one release, and a library
  of another release is refused. A wrong guess would not fail, it would read other numbers.
* One text a call, all logits, no cache: a masked diffusion model reads the whole text again at every step.
* What it says goes nowhere.

Source: `llama.h` of release 0.5.0 of llama.cpp (MIT); the prebuilt library in the npm package
`@node-llama-cpp/linux-x64` (3.22.1, MIT) is this release.
"""

import ctypes
import os
import platform
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

FOLDER, RELEASE = "DLMLAB_LLAMACPP", "0.5.0"
FILES = {  # what the two libraries are called in that release, by system
    "Linux": ("libggml.v0.5.0.so", "libllama.v0.5.0.so"),
}
KINDS = {"F16": 1, "BF16": 32, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q2_K": 10, "Q4_K_M": 15, "Q6_K": 18}
MOST = 512  # tokens of a text

i8, i32, u32, f32, pointer, flag = (
    ctypes.c_int8, ctypes.c_int32, ctypes.c_uint32, ctypes.c_float, ctypes.c_void_p, ctypes.c_bool,
)  # fmt: skip
SILENT = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, pointer)(lambda level, text, data: None)


def _fields(**types) -> list[tuple[str, type]]:
    return [(name, kind) for names, kind in types.items() for name in names.split("__")]


class ModelParams(ctypes.Structure):
    """`llama_model_params`: how a model is loaded."""

    _fields_ = _fields(
        devices__overrides=pointer, n_gpu_layers__split_mode__load_mode__lazy_mode__main_gpu=i32,
        tensor_split__progress__progress_data__kv_overrides=pointer,
        vocab_only__check_tensors__use_extra_bufts__no_host__no_alloc__load_mtp=flag,
    )  # fmt: skip


class ContextParams(ctypes.Structure):
    """`llama_context_params`: how a model is run."""

    _fields_ = _fields(
        n_ctx__n_batch__n_ubatch__n_seq_max__n_rs_seq__n_outputs_max__n_outputs_max_per_seq=u32,
        n_threads__n_threads_batch__ctx_type__rope_scaling__pooling__attention__flash_attn=i32,
        rope_freq_base__rope_freq_scale__yarn_ext__yarn_attn__yarn_fast__yarn_slow=f32,
        yarn_orig_ctx=u32, defrag=f32, cb_eval__cb_eval_data=pointer, type_k__type_v=i32, abort__abort_data=pointer,
        embeddings__offload_kqv__no_perf__op_offload__swa_full__kv_unified=flag,
        samplers=pointer, n_samplers=ctypes.c_size_t, other=pointer,
    )  # fmt: skip


class Batch(ctypes.Structure):
    """`llama_batch`: tokens, their places, and whose logits are wanted."""

    _fields_ = [
        ("n_tokens", i32), ("token", ctypes.POINTER(i32)), ("embd", pointer), ("pos", ctypes.POINTER(i32)),
        ("n_seq_id", ctypes.POINTER(i32)), ("seq_id", ctypes.POINTER(ctypes.POINTER(i32))),
        ("logits", ctypes.POINTER(i8)),
    ]  # fmt: skip


class QuantizeParams(ctypes.Structure):
    """`llama_model_quantize_params`: which kind a file is rewritten in."""

    _fields_ = _fields(
        nthread__ftype__output_type__embedding_type=i32,
        allow_requantize__quantize_output__only_copy__pure__keep_split__dry_run=flag,
        imatrix__kv_overrides__tt_overrides__prune_layers=pointer, max_buf_size=ctypes.c_size_t,
    )  # fmt: skip


def missing() -> str:
    """Say in one sentence what is needed to run llama.cpp here; "" when it is there."""
    names = FILES.get(platform.system())
    if names is None or platform.machine() not in ("x86_64", "AMD64"):
        return f"no library of llama.cpp {RELEASE} is known for {platform.system()} on {platform.machine()}"
    folder = os.environ.get(FOLDER)
    if folder and all((Path(folder) / name).is_file() for name in names):
        return ""
    return (
        f"llama.cpp {RELEASE} not found: `npm pack @node-llama-cpp/linux-x64@3.22.1`, unpack it, and set {FOLDER} to "
        "its folder bins/linux-x64"
    )


@cache
def loaded() -> ctypes.CDLL:
    """Load the library and its kernels for this processor. Raises `ValueError` with the sentence of `missing`."""
    if sentence := missing():
        raise ValueError(sentence)
    folder = Path(os.environ[FOLDER]).resolve()
    ggml, lib = (ctypes.CDLL(str(folder / name), mode=ctypes.RTLD_GLOBAL) for name in FILES[platform.system()])
    lib.llama_log_set(SILENT, None)
    ggml.ggml_log_set(SILENT, None)
    ggml.ggml_backend_load_all_from_path.argtypes = [ctypes.c_char_p]
    ggml.ggml_backend_load_all_from_path(os.fsencode(folder))
    lib.llama_backend_init()
    for name, result, *arguments in (
        ("llama_model_default_params", ModelParams),
        ("llama_context_default_params", ContextParams),
        ("llama_model_quantize_default_params", QuantizeParams),
        ("llama_model_load_from_file", pointer, ctypes.c_char_p, ModelParams),
        ("llama_init_from_model", pointer, pointer, ContextParams),
        ("llama_model_quantize", u32, ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(QuantizeParams)),
        ("llama_batch_init", Batch, i32, i32, i32),
        ("llama_encode", i32, pointer, Batch),
        ("llama_decode", i32, pointer, Batch),
        ("llama_get_logits", ctypes.POINTER(f32), pointer),
        ("llama_set_causal_attn", None, pointer, flag),
        ("llama_set_n_threads", None, pointer, i32, i32),
        ("llama_free", None, pointer),
        ("llama_model_free", None, pointer),
        ("llama_batch_free", None, Batch),
        ("llama_print_system_info", ctypes.c_char_p),
    ):
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


def quantize(source: str | Path, target: str | Path, kind: str, threads: int = 1) -> None:
    """Let llama.cpp rewrite a file in one of `KINDS`. Raises `ValueError` for an unknown kind, or when it fails."""
    if kind not in KINDS:
        raise ValueError(f"kind={kind!r} is unknown; known: {', '.join(KINDS)}")
    how = loaded().llama_model_quantize_default_params()
    how.ftype, how.nthread = KINDS[kind], threads
    if loaded().llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(how)):
        raise ValueError(f"llama.cpp did not write {Path(target).name} as {kind}")


class Reader:
    """A file that llama.cpp reads, as a denoiser: ids (B, L) -> logits (B, L, V), float32.

    Raises `ValueError` for a file that it refuses, and for a text longer than `most` tokens.
    """

    def __init__(self, path: str | Path, *, vocab_size: int, threads: int = 1, most: int = MOST, flash: bool = True):
        lib = loaded()
        self.V, self.most = vocab_size, most
        self.model = lib.llama_model_load_from_file(os.fsencode(path), lib.llama_model_default_params())
        if not self.model:
            raise ValueError(f"llama.cpp does not read {Path(path).name}")
        how = lib.llama_context_default_params()
        how.n_ctx = how.n_batch = how.n_ubatch = most
        how.n_threads = how.n_threads_batch = threads
        how.flash_attn = -1 if flash else 0  # its own choice, or attention in plain matrices
        self.context = lib.llama_init_from_model(self.model, how)
        if not self.context:
            raise ValueError(f"llama.cpp makes no context for {Path(path).name}")
        lib.llama_set_causal_attn(self.context, False)
        self.batch = lib.llama_batch_init(most, 0, 1)

    def __call__(self, ids: Tensor) -> Tensor:
        return torch.stack([self.row(row.tolist()) for row in ids])

    def row(self, ids: list[int]) -> Tensor:
        """Read one text: logits (L, V)."""
        if not 1 <= len(ids) <= self.most:
            raise ValueError(f"{len(ids)} tokens are outside 1..{self.most}")
        batch, lib = self.batch, loaded()
        batch.n_tokens = len(ids)
        for i, id in enumerate(ids):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = id, i, 1, 1
            batch.seq_id[i][0] = 0
        if lib.llama_decode(self.context, batch):
            raise ValueError("llama.cpp gave no logits")
        found = lib.llama_get_logits(self.context)
        raw = bytearray(ctypes.string_at(found, 4 * len(ids) * self.V))
        return torch.frombuffer(raw, dtype=torch.float32).view(-1, self.V)

    def close(self) -> None:
        """Give its memory back."""
        lib = loaded()
        lib.llama_batch_free(self.batch)
        lib.llama_free(self.context)
        lib.llama_model_free(self.model)
