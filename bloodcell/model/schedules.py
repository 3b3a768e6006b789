"""Learning-rate schedules; each is a function of the optimizer and the number of steps of the whole run."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR, ReduceLROnPlateau


def warmup_cosine(optimizer: Optimizer, total_steps: int, warmup: float = 0.05) -> LRScheduler:
    """Rise linearly over a share of the steps, then fall to zero along a half cosine.

    Args:
        optimizer: Holds the highest learning rate.
        total_steps: Optimizer steps of the run.
        warmup: Share of the steps to rise in, 0 to 1.

    Returns:
        A scheduler to be stepped after each batch.
    """
    rise = max(1, round(warmup * total_steps))

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, total_steps - rise))))

    return LambdaLR(optimizer, factor)


def one_cycle(optimizer: Optimizer, total_steps: int, rise: float = 0.3) -> LRScheduler:
    """Follow Smith's one cycle up to the optimizer's learning rate and down again.

    Args:
        optimizer: Holds the highest learning rate.
        total_steps: Optimizer steps of the run.
        rise: Share of the steps to rise in, 0 to 1.

    Returns:
        A scheduler to be stepped after each batch.
    """
    highest = [group["lr"] for group in optimizer.param_groups]
    # One spare step: Lightning steps once more after the last batch than OneCycleLR allows.
    return OneCycleLR(optimizer, highest, total_steps=total_steps + 1, pct_start=rise)


def plateau(
    optimizer: Optimizer, total_steps: int, factor: float = 0.5, patience: int = 5, mode: str = "max"
) -> ReduceLROnPlateau:
    """Multiply the learning rate whenever the monitored metric has not improved for some epochs.

    Args:
        optimizer: Holds the first learning rate.
        total_steps: Unused; every schedule has this argument.
        factor: What to multiply by.
        patience: Epochs without improvement to wait for.
        mode: ``max`` or ``min``, the direction of improvement.

    Returns:
        A scheduler to be stepped after each epoch with the metric.
    """
    return ReduceLROnPlateau(optimizer, mode="min" if mode == "min" else "max", factor=factor, patience=patience)
