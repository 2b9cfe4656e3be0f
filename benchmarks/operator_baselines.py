"""What learned predictions are compared with: the mean, ridge regression, POD coefficients by ridge, and FNO."""

from __future__ import annotations

from importlib.util import find_spec
from time import process_time

import numpy as np


def relative_errors(found, wanted):
    """||found - wanted|| / ||wanted|| of each sample (count,), functions (count, ..)."""
    axes = tuple(range(1, wanted.ndim))
    return np.sqrt(((found - wanted) ** 2).sum(axis=axes) / (wanted**2).sum(axis=axes))


def gradient_errors(found, wanted, spacing):
    """The same in H1, by differences of values at all nodes, the boundary included."""

    def squares(values):
        total = (values**2).sum(axis=tuple(range(1, values.ndim)))
        for axis in range(1, values.ndim):
            slopes = np.diff(values, axis=axis) / spacing
            total = total + (slopes**2).sum(axis=tuple(range(1, values.ndim)))
        return total

    return np.sqrt(squares(found - wanted) / squares(wanted))


def mean_prediction(inputs, outputs, tests):
    """The mean of the training outputs."""
    return np.broadcast_to(outputs.mean(axis=0), (len(tests), *outputs.shape[1:]))


class Ridge:
    """y = mean + X w with a penalty that is chosen on the last tenth of the training data, out of 21."""

    penalties = np.geomspace(1e-4, 1e6, 21)

    def __init__(self, inputs, outputs, modes=None):
        flat, y = inputs.reshape(len(inputs), -1), outputs.reshape(len(outputs), -1)
        self.center, self.scale, self.mean = flat.mean(axis=0), flat.std() or 1.0, y.mean(axis=0)
        self.shape, self.basis = outputs.shape[1:], np.linalg.svd(y - self.mean, full_matrices=False)[2][:modes]
        x, z = self._normalised(inputs), (y - self.mean) @ self.basis.T
        own = len(x) - max(len(x) // 10, 1)
        errors = [self._held_out(x[:own], z[:own], x[own:], y[own:], penalty) for penalty in self.penalties]
        self.penalty = float(self.penalties[int(np.argmin(errors))])
        self.weights = self._solve(x, z, self.penalty)

    def __call__(self, inputs):
        y = self.mean + self._normalised(inputs) @ self.weights @ self.basis
        return y.reshape(len(inputs), *self.shape)

    def _normalised(self, inputs):
        return (inputs.reshape(len(inputs), -1) - self.center) / self.scale

    @staticmethod
    def _solve(x, z, penalty):
        """(X'X + penalty I) w = X'z, by the smaller of both Gram matrices."""
        if len(x) < x.shape[1]:
            return x.T @ np.linalg.solve(x @ x.T + penalty * np.eye(len(x)), z)
        return np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ z)

    def _held_out(self, x, z, test, wanted, penalty):
        return relative_errors(self.mean + test @ self._solve(x, z, penalty) @ self.basis, wanted).mean()


def pod_floor(outputs, wanted, modes):
    """The best that any coefficients of so many POD modes of the training outputs can do."""
    y, tests = outputs.reshape(len(outputs), -1), wanted.reshape(len(wanted), -1)
    basis = np.linalg.svd(y - y.mean(axis=0), full_matrices=False)[2][:modes]
    return (y.mean(axis=0) + (tests - y.mean(axis=0)) @ basis.T @ basis).reshape(wanted.shape)


def has_fno():
    """Whether the package neuraloperator is there."""
    return find_spec("neuralop") is not None


def fno(inputs, outputs, tests, seed, epochs, width=24, modes=16, batch=16, rate=2e-3, loss="H1", device="cpu"):
    """FNO of neuraloperator, one-cycle schedule, relative L2 or H1 loss; predictions, parameters, processor seconds.

    On all nodes, with the same units and boundary values as the other networks. Modes are of both signs.
    """
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from neuralop.models import FNO
    import torch

    def tensor(array):
        return torch.as_tensor(array, dtype=torch.float32, device=device)

    start = process_time()
    torch.manual_seed(seed)
    network = FNO(n_modes=(modes, modes), hidden_channels=width, in_channels=1, out_channels=1, n_layers=4).to(device)
    center, scale, unit = inputs.mean(), inputs.std() or 1.0, np.sqrt((outputs**2).mean())
    x, y = tensor((inputs - center) / scale)[:, None], tensor(outputs)[:, None, 1:-1, 1:-1]
    optimiser = torch.optim.Adam(network.parameters(), rate, weight_decay=1e-5)
    steps = epochs * -(-len(x) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, steps, pct_start=0.2, div_factor=2)
    spacing = 1.0 / (x.shape[-1] - 1)

    def squares(values):
        padded = torch.nn.functional.pad(values, [1] * 4)
        total = padded.square().sum((1, 2, 3))
        if loss == "H1":
            for axis in (2, 3):
                total = total + (padded.diff(dim=axis) / spacing).square().sum((1, 2, 3))
        return total

    for _ in range(epochs):
        for part in torch.randperm(len(x)).split(batch):
            error = (squares(unit * network(x[part])[..., 1:-1, 1:-1] - y[part]) / squares(y[part])).sqrt().mean()
            optimiser.zero_grad()
            error.backward()
            optimiser.step()
            schedule.step()
    with torch.no_grad():
        found = np.zeros((len(tests), *outputs.shape[1:]))
        new = tensor((tests - center) / scale)[:, None]
        found[:, 1:-1, 1:-1] = (
            unit * torch.cat([network(part) for part in new.split(64)])[:, 0, 1:-1, 1:-1].cpu().numpy()
        )
    parameters = sum(weight.numel() * (2 if weight.is_complex() else 1) for weight in network.parameters())
    return found, parameters, process_time() - start
