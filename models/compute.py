"""Where a trained network computes, and in which precision: settings of the evaluation and of a loaded model.

`auto` takes a GPU where torch has one, and fp32. fp32 gives the same numbers on every device, but for the order of sums
(docs/evaluation.md); bf16 does not, and has to be asked for.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.errors import ModelError

if TYPE_CHECKING:
    from models.method import Method

AUTO, FP32, BF16 = "auto", "fp32", "bf16"
PRECISIONS = (AUTO, FP32, BF16)


@dataclass(frozen=True)
class Compute:
    """A device and a precision."""

    device: str = AUTO  # auto, cpu, cuda, cuda:1, ...
    precision: str = AUTO  # one of PRECISIONS

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ModelError(f"precision is `{self.precision}`, but must be one of {', '.join(PRECISIONS)}.")

    def resolve(self) -> Compute:
        """The same without `auto`; ModelError for a device that this machine does not have."""
        import torch

        device = self.device
        if device == AUTO:
            device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError, NotImplementedError):  # torch raises each for a device that is not there
            raise ModelError(
                f"device is `{self.device}`, which torch cannot use on this machine; set it to `cpu`, or to `auto` for "
                "a GPU where there is one."
            ) from None
        return Compute(device, FP32 if self.precision == AUTO else self.precision)

    def place(self, method: Method) -> Method:
        """Move the network to the device, where it computes in the precision from now on."""
        chosen = self.resolve()
        method.precision = chosen.precision
        return method.to(chosen.device)

    @property
    def description(self) -> str:
        """Such as `cuda (NVIDIA H200), fp32`."""
        import torch

        chosen = self.resolve()
        device = torch.device(chosen.device)
        name = f" ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else ""
        return f"{chosen.device}{name}, {chosen.precision}"


AUTOMATIC = Compute()


def full_convolutions() -> AbstractContextManager[None]:
    """Convolutions on a GPU in all bits of their fp32 inputs, as on the CPU. By default cuDNN shortens them (TF32)."""
    from torch.backends import cudnn

    context: AbstractContextManager[None] = cudnn.flags(enabled=cudnn.enabled, allow_tf32=False)
    return context
