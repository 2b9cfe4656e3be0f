"""What is published of networks with exact conditions on interface problems: errors, times, and settings of Adam.

M.-C. Lai, Y. Song, X. Yuan, H. Yue, T. Zeng, SIAM J. Sci. Comput. 47 (2025), arXiv 2308.06709. Errors and times are
those of the stored outputs of the authors' notebooks, tianyouzeng/PINNs-interface-optimal-control, July 2024, each of
one seed; they are read as what they measure, which the remarks say, and norms that were divided by other numbers of
points than they have are corrected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

LEARNED = dict.fromkeys(("factor", "lifting", "kink"), "learned")
SOFT = {"training": "collocation", "weight": 1.0}
QUARTER = "relative, on a quarter of the square"

ADAM: dict[str, dict[str, Any]] = {  # weights of fluxes are those of fluxes over the larger kappa
    "circle": {},
    "unbounded": {},
    "beta 5": {"weights": (3, 25, 1, 25), "refinement": 6000},
    "star": {
        "widths": (100, 100, 100), "weights": (1, 100, 1, 300),
        "rates": ((0, 1e-2), (4_000, 3e-3), (10_000, 1e-3), (20_000, 3e-4)),
    },
    "control": {"weights": (1, 100, 1, 100), "rates": ((0, 5e-3), (5_000, 1e-3), (15_000, 5e-4), (30_000, 1e-4))},
    "heat": {
        "widths": (100, 100, 100), "weights": (1, 9, 1, 9),
        "rates": ((0, 3e-3), (3_000, 1e-3), (10_000, 5e-4), (20_000, 1e-4)),
    },
}  # fmt: skip
POINTS = {"star": 16_384, "heat": 4_096}  # in the interior, and 1024 for other cases


@dataclass(frozen=True)
class Published:
    """Errors of u and y for a case, after so many minutes on a GPU; the options of our counterpart."""

    case: str
    kind: str
    control: float
    state: float
    minutes: float
    remark: str
    options: Mapping[str, Any] = field(default_factory=dict)


PUBLISHED = (
    Published("circle", "exact", 1.6e-4, np.nan, 10.5, QUARTER),
    Published("circle", "soft", 1.85e-3, np.nan, 12.4, QUARTER, SOFT),
    Published("circle", "learned", 7.37e-4, 2.72e-3, 26.6, "relative", LEARNED),
    Published("unbounded", "exact", 1.7e-4, np.nan, 10.5, QUARTER),
    Published("unbounded", "soft", 2.98e-3, np.nan, 12.4, QUARTER, SOFT),
    Published("beta 5", "exact", 1.35e-4, 2.90e-4, 14.0, "relative, from norms over the square"),
    Published("beta 5", "learned", 1.10e-3, 1.25e-3, 26.6, "relative, from norms over the square", LEARNED),
    Published("star", "exact", 0.17, np.nan, 31.3, "at least, by the maximum of the control in a figure"),
    Published("control", "exact", 9.4e-5, np.nan, 10.1, "relative, on the circle"),
    Published("heat", "exact", 1.58e-4, np.nan, 21.4, "absolute, on a quarter of the square and up to t = 1"),
)
