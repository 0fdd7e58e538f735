"""What our losses share: they use the parameters that they are given, and no value estimator reads their keys."""

from __future__ import annotations

from torchrl.objectives import LossModule


class OwnParametersLoss(LossModule):
    """A loss that needs no second, functional set of parameters: nothing here is trained against a lagging copy."""

    heads: tuple = ()

    def prepare(self, trajectories) -> None:
        """Nothing."""

    @property
    def functional(self) -> bool:
        """False: modules are called with the parameters that they have."""
        return False

    def _forward_value_estimator_keys(self, **kwargs: object) -> None:
        """No value estimator reads the batch under our names: renaming keys does not concern one."""
