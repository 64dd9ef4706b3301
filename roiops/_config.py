"""What was built, and how many threads it uses."""

from __future__ import annotations

from roiops import _check, _cpu, _gpu


def backends() -> tuple[str, ...]:
    """Names of the backends usable here: "reference" (plain NumPy), "cpu" (compiled) and, where its
    kernels can run on GPU 0, "cuda". (To know that, a CUDA context is opened there.)"""
    return ("reference", "cpu") if _without_cuda() else ("reference", "cpu", "cuda")


def show_config() -> str:
    """A few lines for a bug report: backends, instruction set in use, threads, the GPU or why there
    is none."""
    return (
        f"backends: {', '.join(backends())}\n"
        f"cpu instruction set: {_cpu.active_isa()}\n"
        f"threads: {get_num_threads()}\n"
        f"cuda: {_without_cuda() or 'kernels for ' + _gpu.load().architectures}"
    )


def _without_cuda() -> str | None:
    """Why the kernels cannot run on GPU 0; None if they can."""
    try:
        _gpu.core(0)
    except RuntimeError as error:
        return str(error).removeprefix("roiops: ")
    return None


def set_num_threads(threads: int) -> None:
    """Number of threads of operators on NumPy arrays, from 1 to 4096. (On torch tensors
    ``torch.get_num_threads()`` decides.) The result of an operator does not depend on it.

    Raises:
        TypeError, ValueError: not an int in that range.
    """
    _cpu.set_num_threads(_check.whole("set_num_threads", "threads", threads, 1, 4096))


def get_num_threads() -> int:
    """Number of threads of operators on NumPy arrays; at first the cores this process may use."""
    return _cpu.num_threads()
