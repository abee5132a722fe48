"""What machine this is, as far as a number depends on it."""

import os
import platform
from pathlib import Path

import torch


def fingerprint() -> dict:
    """Describe processor, threads and versions; stored with every duration, and no duration is compared across two."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def instructions() -> str:
    """Name the vectors that PyTorch uses here, and what the processor has for products of few bits.

    `vnni` adds up products of int8 in 32 bits, `bf16` multiplies bfloat16, `amx` whole tiles of both.

    >>> instructions().split(";")[1].split(":")[0]
    ' of few bits'
    """
    asked = {
        "vnni": torch.cpu._is_vnni_supported,
        "bf16": torch.cpu._is_avx512_bf16_supported,
        "amx": torch.cpu._is_amx_tile_supported,
    }
    found = ", ".join(name for name, has in asked.items() if has())
    return f"{torch.backends.cpu.get_cpu_capability()}; of few bits: {found or 'none'}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
