"""Random hidden layers: of such a network only the outer weights are sought."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arrays import Array
from .functions.ansatz import Ansatz
from .functions.sampling import around
from .networks.layer import Layer

CLUSTERED = 0.4  # of the features, where there are places with clusters
STEEPEST = 30.0  # slope of features there


def random_features(
    ansatz: Ansatz, count: int, scale: float, generator: np.random.Generator, near: Sequence[Sequence[float]] = ()
) -> Layer:
    """Neurons whose planes w . x + b = 0 meet the domain, each in a random point and time.

    The directions of w are uniform on the sphere, its lengths from 0.3 to 1.7 times the scale. Around the places
    `near`, where functions are not smooth, a part of them is clustered, with lengths up to thirty.
    """
    domain = ansatz.domain
    lengths = scale * generator.uniform(0.3, 1.7, count)
    low, high = np.array(domain.box).T[:, :, None]
    centres = low + (high - low) * generator.uniform(size=(2, count))
    if near:
        clustered = round(CLUSTERED * count)
        centres[:, :clustered] = around(domain, clustered, generator, near)
        lengths[:clustered] = np.exp(generator.uniform(np.log(1.5), np.log(STEEPEST), clustered))
    times = generator.uniform(size=count)
    if domain.span is None:
        inputs = ansatz.value(domain.places(centres)).inputs
    else:
        begin, end = domain.span
        at = [domain.places(centres[:, [j]], begin + (end - begin) * times[j]) for j in range(count)]
        inputs = np.hstack([ansatz.value(places).inputs for places in at])
    return through(inputs, lengths, generator)


def through(inputs: Array, lengths: Array, generator: np.random.Generator) -> Layer:
    """Neurons whose planes w . x + b = 0 meet the inputs (d, M), with |w| = lengths (M,) and directions at random."""
    directions = generator.standard_normal(inputs.shape)
    weights = lengths * directions / np.linalg.norm(directions, axis=0)
    return Layer(weights, -(weights * inputs).sum(axis=0))
