"""How the values at a cell's four queries become one."""

import torch.nn.functional as F
from torch import Tensor

REDUCTIONS = ('max', 'mean')


def check_reduce(reduce: str) -> None:
    """Check the option ``reduce``.

    Raises:
        ValueError: it is unknown.
    """
    if reduce not in REDUCTIONS:
        raise ValueError(f'reduce must be one of {REDUCTIONS}, got {reduce!r}; '
                         "'max' replaces a stride or a maximum, 'mean' an average pooling")


def reduce_queries(queries: Tensor, reduce: str) -> Tensor:
    """The output, ``(N, C, H_out, W_out)``, from queries of twice its sides."""
    return F.max_pool2d(queries, 2) if reduce == 'max' else F.avg_pool2d(queries, 2)


def reduce_with_indices(queries: Tensor, reduce: str) -> tuple[Tensor, Tensor | None]:
    """The output, and where its maxima lie among the queries; None for the mean."""
    if reduce == 'max':
        return F.max_pool2d(queries, 2, return_indices=True)
    return F.avg_pool2d(queries, 2), None
