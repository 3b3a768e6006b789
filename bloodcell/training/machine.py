"""What the machine can do, and how a process is set up to do it."""

import ctypes
import platform
from typing import Literal

import torch

from bloodcell.common.errors import InputError

# Parameters of glibc's mallopt (malloc.h).
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


# What trains on a device; 16-mixed on a CPU, Lightning would turn into bf16-mixed.
TRAINS: dict[str, tuple[Precision, ...]] = {
    "cpu": ("32-true", "bf16-mixed"),
    "cuda": ("32-true", "bf16-mixed", "16-mixed"),
    "mps": ("32-true",),
}


def find_device(accelerator: str) -> str:
    """Find which of ``cpu``, ``cuda`` and ``mps`` an accelerator of Lightning's is on this machine.

    Raises:
        InputError: If there is no such device.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    wanted = {"auto": ("cuda", "mps", "cpu"), "gpu": ("cuda", "mps")}.get(accelerator, (accelerator,))
    for name in wanted:
        if there.get(name):
            return name
    names = {"gpu": "a GPU", "cuda": "a CUDA device", "mps": "Apple's MPS device"}
    said = names.get(accelerator, "cpu, cuda, gpu, mps or auto")
    raise InputError(f"trainer.accelerator={accelerator}", expected=said, got="none", fix="use trainer=cpu")


def choose_precision(accelerator: str) -> tuple[Precision, str]:
    """Choose the fastest arithmetic of a machine that trains as well as float32 does.

    Weights, their updates and the loss stay in float32 in all of them (mixed precision).

    Args:
        accelerator: ``cpu``, ``cuda`` or ``mps``.

    Returns:
        Lightning's name of the precision, and why.
    """
    if accelerator == "cpu":
        if bf16_on_cpu():
            return "bf16-mixed", "the processor multiplies in bfloat16"
        return "32-true", "the processor has no bfloat16 units"
    if accelerator == "mps":
        return "32-true", "nothing else was tried on MPS"
    if torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False):
        return "bf16-mixed", "the GPU multiplies in bfloat16"
    return "16-mixed", "the GPU has no bfloat16 units"


def bf16_on_cpu() -> bool:
    """Tell whether the processor has instructions that multiply bfloat16, which torch then uses."""
    # torch's own checks, private as they are: its public answer (mkldnn) is yes where it only emulates.
    has = [getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile")]
    return any(check() for check in has if check is not None)


def keep_freed_memory() -> None:
    """Let this process reuse the memory of tensors instead of returning it to the system after every use.

    The system would hand it out again page by page, zeroed, which took a tenth of the time of a small training. Blocks
    above 32 MB, the most that glibc lets anybody choose, go back all the same: kept among small ones, they find no gap
    of their size again, and a net with a dense layer of 50 MB grew to 6 GB within 400 steps. Does nothing where there
    is no glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_THRESHOLD, 32 * 2**20)
    libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
