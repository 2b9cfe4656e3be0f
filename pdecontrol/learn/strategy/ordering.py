"""Orders in which a sequence of linear systems is solved, so that neighbours are alike.

Each system has features, a row of numbers such as its coefficient field, and an order is a path through the rows: the
shorter, the better. Nothing here is random.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn
from scipy.linalg import eigh
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from ...arrays import Array
from ...errors import DataError

Order = NDArray[np.intp]
Metric = Literal["euclidean", "cityblock"]


def greedy(features: Array, metric: Metric = "euclidean") -> Order:
    """q_1 = 1, q_{i+1} = argmin ||x_j - x_{q_i}|| over the j not among q_1, ..., q_i; ties to the lowest j.

    Algorithm 1 of arXiv 2401.09516 (Sorting Krylov Recycling, ICLR 2024) with an infinite first best distance.

    Parameters
    ----------
    features : (n, p), a row x_j for each system.
    metric : "euclidean" or "cityblock".

    Returns
    -------
    order : (n,), a permutation that begins with 0.

    Notes
    -----
    The order is that of a search by brute force: cheap lower bounds of the distances only rule rows out, and
    differences decide among the others. O(n^2 p) operations, but O(n^2) where few directions hold most of the variance.
    Clusters hundreds of times farther apart than wide, and rows that are all equal, cost as much as brute force.

    Examples
    --------
    >>> greedy(np.array([[0.0], [5.0], [1.0], [-2.0]]))
    array([0, 2, 3, 1])
    """
    x, power = _rows(features), _power(metric)
    rows, points, scale = _euclidean_bounds(x) if power == 2 else (x.copy(), x, 1.0)
    left = np.arange(len(x))  # what the rows belong to
    order = np.zeros(len(x), dtype=np.intp)
    here = nearest = 0
    for count in range(len(x) - 1, 0, -1):
        rows[nearest], left[nearest] = rows[count], left[count]  # the last one takes the place of the visited one
        if power == 2:
            bounds = np.einsum("ip,p->i", rows[:count], points[here])  # BLAS may lack SIMD and take twice as long
        else:
            bounds = (1.0 - 1e-12) * cdist(points[here : here + 1], rows[:count], "cityblock")[0]
        nearest = int(bounds.argmin())
        limit = (_distances(x, here, left[nearest : nearest + 1], power)[0] / scale) ** power
        close = np.flatnonzero(bounds <= limit)
        if close.size > 1:
            distances = _distances(x, here, left[close], power)
            tied = close[distances == distances.min()]
            nearest = int(tied[left[tied].argmin()])
        here = int(left[nearest])
        order[-count] = here
    return order


def hilbert(features: Array) -> Order:
    """The order of the rows (n, p) along a Hilbert curve through their six leading principal components.

    O(n log n) operations. The place on the curve is computed as in Skilling, Programming the Hilbert curve, AIP
    Conference Proceedings 707 (2004).

    Examples
    --------
    >>> hilbert(np.array([[0.0, 0.0], [4.0, 1.0], [0.0, 1.0], [4.0, 0.0]]))
    array([0, 2, 1, 3])
    """
    x = _rows(features)
    components = _leading(x - x.mean(axis=0), 6)
    components -= components.min(axis=0)
    bits = min(60 // components.shape[1], 30)
    cells = np.rint(components * ((2**bits - 1) / (components.max() or 1.0))).astype(np.int64)
    return np.argsort(_hilbert_index(cells.T.copy(), bits), kind="stable")


def improve(order: Order, features: Array, metric: Metric = "euclidean") -> Order:
    """A path through the rows (n, p) that is shorter than the given one, if 2-opt finds such a path; never longer.

    Steps (a, b) and (c, d) of the path become (a, c) and (b, d) as long as that makes it shorter. Tried are those where
    a and c, or b and d, are neighbours in the leading principal components. Both ends of the path may change.

    Examples
    --------
    >>> x = np.array([[0.0], [1.0], [-3.0], [5.0]])
    >>> improve(greedy(x), x)
    array([2, 0, 1, 3])
    """
    x, power = _rows(features), _power(metric)
    n = len(x)
    rounding = 1e-12 * path_length(x, order, metric)
    leading = _leading(x - x.mean(axis=0), 64)
    near, far = _neighbours(leading[:, :10], 16)
    link = _distances(x, near, far, power)
    x, leading = (np.pad(rows, ((0, 2), (0, 0)), constant_values=np.nan) for rows in (x, leading))
    path = np.concatenate([[n], _permutation(order, n), [n + 1]])  # with a row before and one after, at no distance
    place = np.argsort(path)
    while True:
        hops = np.nan_to_num(_distances(x, path[:-1], path[1:], power))
        first, last = np.sort([place[near], place[far]], axis=0)
        moves, gains = [], []
        for before in (0, 1):  # the neighbours are a and c, or b and d
            i, j = first - before, last - before
            tried = link < np.maximum(hops[i], hops[j])
            i, j = i[tried], j[tried]
            edges, saved = np.stack([path[i], path[i + 1], path[j], path[j + 1]]), hops[i] + hops[j] - link[tried]
            for rows, norm in ((leading, 2), (x, power)):  # the first distance is cheap, and at most the second
                gain = saved - np.nan_to_num(_distances(rows, edges[1 - before], edges[3 - before], norm))
                shorter = gain > rounding
                edges, saved = edges[:, shorter], saved[shorter]
            moves.append(edges)
            gains.append(gain[shorter])
        best = np.argsort(-np.concatenate(gains), kind="stable")
        if not best.size:
            return path[1:-1]
        for a, b, c, d in np.hstack(moves).T[best]:
            step = place[b] - place[a]
            if abs(step) == 1 and place[d] - place[c] == step:  # no earlier move has removed or turned one of them
                start, stop = sorted([max(place[a], place[b]), max(place[c], place[d])])
                path[start:stop] = path[start:stop][::-1]
                place[path[start:stop]] = np.arange(start, stop)


def path_length(features: Array, order: Order, metric: Metric = "euclidean") -> float:
    """sum_i ||x_{q_{i+1}} - x_{q_i}||, the length of the path q through the rows x (n, p).

    Examples
    --------
    >>> path_length(np.array([[0.0], [5.0], [1.0]]), np.array([0, 2, 1]))
    5.0
    """
    x, power = _rows(features), _power(metric)
    order = _permutation(order, len(x))
    return float(_distances(x, order[:-1], order[1:], power).sum())


def cosine_features(fields: Array, count: int = 8) -> Array:
    """<f, cos_k>, k in {0, ..., count - 1}^d, for fields f on grids: from (n, s, ..., s) to rows (n, count^d).

    The cosines of the discrete transform (type II) are orthonormal: features are no farther apart than fields.

    Examples
    --------
    >>> cosine_features(np.ones((1, 4, 4)), count=2)
    array([[4., 0., 0., 0.]])
    """
    fields = _numbers(fields, "fields")
    if fields.ndim < 2 or not 1 <= count <= min(fields.shape[1:]):
        raise DataError(f"fields: expected shape (n, s, ..., s), s >= count = {count} >= 1, got {fields.shape}.")
    lowest = (slice(None), *[slice(count)] * (fields.ndim - 1))
    return dctn(fields, norm="ortho", axes=range(1, fields.ndim))[lowest].reshape(len(fields), -1)


def principal_features(fields: Array, count: int) -> Array:
    """The scores (n, count) of fields (n, ...) in their leading principal directions, the largest variance first.

    They come from the smaller Gram matrix, that of the rows or that of the columns. In each direction the entry of
    largest magnitude is positive.

    Examples
    --------
    >>> principal_features(np.array([[1.0, 2.0], [1.0, 4.0], [1.0, 6.0]]), count=1)
    array([[-2.],
           [ 0.],
           [ 2.]])
    """
    fields = _numbers(fields, "fields")
    x = _rows(fields.reshape(len(fields), -1), "fields")
    if not 1 <= count <= min(x.shape):
        raise DataError(f"count: {count} principal directions of {x.shape[0]} rows of {x.shape[1]} numbers.")
    x = x - x.mean(axis=0)
    return x @ _directions(x, count)


def _euclidean_bounds(x: Array) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
    """Rows r_j, points s_i and a scale such that r_j . s_i <= ||x_j - x_i||^2 / scale^2, however it is rounded.

    The bound is |y_i|^2 + |y_j|^2 - 2 y_i . y_j with y = x - mean, or its leading components where these hold most of
    the variance, less the rounding errors, which are relative to |y_i|^2 + |y_j|^2.
    """
    y = x - x.mean(axis=0)
    scale = float(np.abs(y).max()) or 1.0
    y = y / scale
    if y.shape[1] > 64:
        leading = _leading(y, 64)
        if np.sum(leading**2) > 0.9 * np.sum(y**2):  # else too many rows remain for the exact differences
            y = leading
    n, p = y.shape
    squares = (1.0 - (p + 8) * np.finfo(np.float32).eps) * np.sum(y**2, axis=1)[:, None] - 1e-30
    ones = np.ones((n, 1))
    rows, points = np.hstack([-2.0 * y, squares, ones]), np.hstack([y, ones, squares])
    return rows.astype(np.float32), points.astype(np.float32), scale


def _leading(x: Array, count: int) -> Array:
    """The components of centred rows in at most so many principal directions, which 128 of the rows tell."""
    return x @ _directions(x[:: -(-len(x) // 128)], count)


def _directions(x: Array, count: int) -> Array:
    """The leading right singular vectors of x (n, p), at most so many, as columns; signs are fixed."""
    gram = x @ x.T if len(x) < x.shape[1] else x.T @ x
    vectors = eigh(gram, subset_by_index=[max(len(gram) - count, 0), len(gram) - 1])[1][:, ::-1]
    if len(x) < x.shape[1]:
        vectors = np.linalg.qr(x.T @ vectors)[0]
    peaks = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], axis=0)
    return vectors * np.where(peaks < 0.0, -1.0, 1.0)


def _hilbert_index(cells: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """The places on the Hilbert curve of cells (d, n) with coordinates 0, ..., 2^bits - 1, which are overwritten."""
    for level in range(bits - 1, 0, -1):
        low = 2**level - 1
        for row in cells:
            upper = row >> level & 1 == 1
            exchanged = np.where(upper, 0, (cells[0] ^ row) & low)
            cells[0] ^= np.where(upper, low, exchanged)
            row ^= exchanged
    cells = np.bitwise_xor.accumulate(cells, axis=0)
    flips = np.zeros_like(cells[0])
    for level in range(1, bits):
        flips ^= np.where(cells[-1] >> level & 1 == 1, 2**level - 1, 0)
    index = np.zeros_like(flips)
    for level in range(bits - 1, -1, -1):
        for row in cells ^ flips:
            index = index << 1 | row >> level & 1
    return index


def _neighbours(x: Array, count: int) -> tuple[Order, Order]:
    """The pairs i, j of rows one of which is among so many nearest ones of the other; each pair once, i < j."""
    n = len(x)
    near = cKDTree(x).query(x, k=range(1, min(n, count + 1) + 1))[1]
    pairs = np.sort([np.repeat(np.arange(n), near.shape[1]), near.ravel()], axis=0)
    i, j = np.divmod(np.unique(n * pairs[0] + pairs[1]), n)
    return i[i < j], j[i < j]


def _distances(x: Array, i: Order | int, j: Order, power: int) -> Array:
    """||x_i - x_j||, in blocks, as the rows may be whole fields."""
    i, block = np.broadcast_to(i, j.shape), max(1, 2**20 // x.shape[1])
    blocks = [slice(k, k + block) for k in range(0, max(len(j), 1), block)]
    return np.concatenate([np.linalg.norm(x[i[part]] - x[j[part]], power, axis=1) for part in blocks])


def _numbers(data: Any, name: str) -> Array:
    """Real finite numbers for each of one or more samples."""
    try:
        raw = np.asarray(data)
        if raw.dtype.kind not in "biuf":  # not None, text or complex numbers
            raise TypeError
        values = raw.astype(float)
    except (TypeError, ValueError):
        raise DataError(f"{name}: expected an array of real numbers, got {type(data).__name__}.") from None
    if values.ndim == 0 or values.size == 0:
        raise DataError(f"{name}: expected at least one number for each of at least one sample, got {values.shape}.")
    bad = ~np.isfinite(values)
    if bad.any():
        first = int(np.argmax(bad.reshape(len(bad), -1).any(axis=1)))
        raise DataError(f"{name}: {bad.sum()} numbers are NaN or infinite, the first in sample {first}.")
    return values


def _rows(features: Any, name: str = "features") -> Array:
    x = np.ascontiguousarray(_numbers(features, name))
    if x.ndim != 2:
        raise DataError(f"{name}: expected shape (n, p), a row of p numbers for each of n samples, got {x.shape}.")
    return x


def _power(metric: str) -> int:
    powers = {"euclidean": 2, "cityblock": 1}
    if metric not in powers:
        raise DataError(f"metric: {metric!r} is unknown, expected one of {', '.join(powers)}.")
    return powers[metric]


def _permutation(order: Any, n: int) -> Order:
    q = np.asarray(order)
    if q.dtype.kind not in "iu" or q.shape != (n,):
        raise DataError(f"order: expected {n} integers, got {q.dtype} of shape {q.shape}.")
    if (np.sort(q) != np.arange(n)).any():
        missing = np.setdiff1d(np.arange(n), q)
        raise DataError(f"order: not a permutation of 0, ..., {n - 1}, {missing[0]} is missing.")
    return q.astype(np.intp)
