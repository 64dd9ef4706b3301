"""What was built, and how many threads it uses."""

from __future__ import annotations

from roiops import _check, _cpu


def backends() -> tuple[str, ...]:
    """Names of the backends usable here: "reference" (plain NumPy) and "cpu" (compiled)."""
    return ("reference", "cpu")


def show_config() -> str:
    """A few lines for a bug report: backends, instruction set in use, threads."""
    return (
        f"backends: {', '.join(backends())}\n"
        f"cpu instruction set: {_cpu.active_isa()}\n"
        f"threads: {get_num_threads()}"
    )


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
