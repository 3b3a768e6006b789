"""What the machine can do at most: large products of square matrices, in float32 and in bfloat16."""

import json
import time

import torch

SIDE = 4096
REPEATS = 5


def product(dtype: torch.dtype) -> float:
    """Measure the best speed of a product of two square matrices, in floating-point operations a second."""
    matrix = torch.randn(SIDE, SIDE).to(dtype)
    seconds = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        matrix @ matrix
        seconds.append(time.perf_counter() - begun)
    return 2 * SIDE**3 / min(seconds)


if __name__ == "__main__":
    print(json.dumps({"float32": product(torch.float32), "bfloat16": product(torch.bfloat16)}))
