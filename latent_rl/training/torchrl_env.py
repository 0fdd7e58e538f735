"""The vector environment as a TorchRL environment."""

from __future__ import annotations

from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torchrl.data import Binary, Bounded, Categorical, Composite, TensorSpec, Unbounded
from torchrl.envs import EnvBase

from latent_rl.envs import BatchEnv
from latent_rl.envs.mdp import Anything, Below, Flag, Key, Within


class LatentRecursionTorchEnv(EnvBase):
    """A `LatentRecursionVectorEnv` or `CandidateVectorEnv` for TorchRL's collectors; batch size `[num_envs]`.

    Observation, privileged and action keys stand at the root of the tensordict, next to `reward`, `done`, `terminated`
    and `truncated` (each `[num_envs, 1]`) under `"next"`. Token keys are categorical indices, int64 `[num_envs, L]`.

    TorchRL's own `GymWrapper` would take actions and the reset mask through numpy and encode every tensor of every
    step anew. All tensors here are right as they come, so this class passes them on as they are, and partial resets,
    which happen in almost every step of a batch, write only once.

    Args:
        env: the vector environment.
    """

    def __init__(self, env: BatchEnv) -> None:
        super().__init__(device=env.device, batch_size=(env.num_envs,))
        self._env = env
        keys = env.dynamics.keys_of
        self.observation_spec = self._composite([*keys("observed"), *keys("privileged")])
        self.action_spec = self._composite(keys("action"))
        self._action_keys = [key.name for key in keys("action")]
        column = (*self.batch_size, 1)
        self.reward_spec = Unbounded(shape=column, dtype=torch.float32, device=self.device)
        ends = {
            key: Categorical(2, shape=column, dtype=torch.bool, device=self.device)
            for key in ("done", "terminated", "truncated")
        }
        self.done_spec = Composite(ends, shape=self.batch_size, device=self.device)

    @property
    def vector(self) -> BatchEnv:
        """The environment itself, which holds the running episodes."""
        return self._env

    def observe(self) -> TensorDict:
        """The running episodes, as a reset that begins none would give them."""
        episodes = self._env.episodes
        return self._running(episodes.observation, episodes.info)

    def maybe_reset(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Start new episodes in the rows of `tensordict` (a result of `step_mdp`) that are done.

        The vector environment returns whole batches whose other rows are as they were, so there is nothing to merge.
        """
        done = tensordict.get("done")
        alone = self._env.team is None  # in a team the others may have rows that are done
        if alone and not self._env.masked_resets and not done.any():
            return tensordict
        return tensordict.update(self._begin(options={"reset_mask": done.reshape(self.batch_size)}))

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        action = {key: tensordict.get(key) for key in self._action_keys}
        observation, reward, terminated, truncated, info = self._env.step(action)
        flags = {"terminated": terminated, "truncated": truncated, "done": terminated | truncated}
        return self._tensordict({**observation, **info}, {"reward": reward, **flags})

    def _reset(self, tensordict: TensorDictBase | None = None, **kwargs: Any) -> TensorDictBase:
        mask = tensordict.get("_reset", None) if tensordict is not None else None
        if mask is not None:
            kwargs["options"] = {**(kwargs.get("options") or {}), "reset_mask": mask.reshape(self.batch_size)}
        return self._begin(**kwargs)

    def _set_seed(self, seed: int | None) -> None:
        # As Gymnasium has it: a seed takes effect with the reset that it is given to.
        self.reset(seed=seed)

    def _begin(self, **kwargs: Any) -> TensorDict:
        return self._running(*self._env.reset(**kwargs))

    def _running(self, observation: dict[str, torch.Tensor], info: dict[str, torch.Tensor]) -> TensorDict:
        running = torch.zeros(self.batch_size, dtype=torch.bool, device=self.device)
        flags = dict.fromkeys(("terminated", "truncated", "done"), running)
        return self._tensordict({**observation, **info}, flags)

    def _tensordict(self, values: dict[str, torch.Tensor], columns: dict[str, torch.Tensor]) -> TensorDict:
        """A tensordict of `values` and, with the trailing dimension that TorchRL expects, of `columns`."""
        source = {**values, **{key: column.unsqueeze(-1) for key, column in columns.items()}}
        return TensorDict(source, self.batch_size, device=self.device)

    def _composite(self, keys: list[Key]) -> Composite:
        """Specs from the contract. Converting the Gymnasium spaces would build one spec a row and cell."""
        specs = {key.name: self._spec(key) for key in keys}
        return Composite(specs, shape=self.batch_size, device=self.device)

    def _spec(self, key: Key) -> TensorSpec:
        form = {"shape": (*self.batch_size, *key.shape), "dtype": key.dtype, "device": self.device}
        match key.kind:
            case Below(count):
                return Categorical(count, **form)
            case Within(low, high):
                return Bounded(low, high, **form)
            case Flag():
                return Binary(**form)
            case Anything():
                return Unbounded(**form)
