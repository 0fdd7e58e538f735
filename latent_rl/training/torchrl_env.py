"""The vector environment as a TorchRL environment."""

from __future__ import annotations

from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torchrl.data import Binary, Bounded, Categorical, Composite, TensorSpec, Unbounded
from torchrl.envs.libs.gym import GymWrapper

from latent_rl.envs import LatentRecursionVectorEnv

OBSERVATION_KEYS = ("inputs", "puzzle_id", "y", "z", "step")
"""What a policy may read."""

PRIVILEGED_KEYS = ("solution", "solved", "quality", "episode_seed")
"""What only losses and metrics may read; from the infos of the vector environment."""

ACTION_KEYS = ("next_y", "next_z", "answer", "halt")
"""What a policy writes."""


class LatentRecursionTorchEnv(GymWrapper):
    """A `LatentRecursionVectorEnv` for TorchRL's collectors; batch size `[num_envs]`.

    Observation, privileged and action keys stand at the root of the tensordict, next to `reward`, `done`, `terminated`
    and `truncated` (each `[num_envs, 1]`) under `"next"`. Token keys are categorical indices, int64 `[num_envs, L]`.

    `GymWrapper` would take actions and the reset mask through numpy and encode every tensor of every step anew. All
    tensors here are right as they come, so this class passes them on as they are, and partial resets, which happen
    in almost every step of a batch, write only once.

    Args:
        env: the vector environment.
    """

    def __init__(self, env: LatentRecursionVectorEnv, **kwargs: Any) -> None:
        # TorchRL's metaclass adds a keyword of its own.
        super().__init__(env=env, device=env.device, **kwargs)

    def maybe_reset(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Start new episodes in the rows of `tensordict` (a result of `step_mdp`) that are done.

        The vector environment returns whole batches whose other rows are as they were, so there is nothing to merge.
        """
        done = tensordict.get("done")
        if not done.any():
            return tensordict
        return tensordict.update(self._begin(options={"reset_mask": done.reshape(self.batch_size)}))

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        action = {key: tensordict.get(key) for key in ACTION_KEYS}
        observation, reward, terminated, truncated, info = self._env.step(action)
        flags = {"terminated": terminated, "truncated": truncated, "done": terminated | truncated}
        return self._tensordict({**observation, **info}, {"reward": reward, **flags})

    def _reset(self, tensordict: TensorDictBase | None = None, **kwargs: Any) -> TensorDictBase:
        mask = tensordict.get("_reset", None) if tensordict is not None else None
        if mask is not None:
            kwargs["options"] = {**(kwargs.get("options") or {}), "reset_mask": mask.reshape(self.batch_size)}
        return self._begin(**kwargs)

    def _begin(self, **kwargs: Any) -> TensorDict:
        observation, info = self._env.reset(**kwargs)
        running = torch.zeros(self.batch_size, dtype=torch.bool, device=self.device)
        flags = dict.fromkeys(("terminated", "truncated", "done"), running)
        return self._tensordict({**observation, **info}, flags)

    def _tensordict(self, values: dict[str, torch.Tensor], columns: dict[str, torch.Tensor]) -> TensorDict:
        """A tensordict of `values` and, with the trailing dimension that TorchRL expects, of `columns`."""
        source = {**values, **{key: column.unsqueeze(-1) for key, column in columns.items()}}
        return TensorDict(source, self.batch_size, device=self.device)

    def _make_specs(self, env: LatentRecursionVectorEnv, batch_size: Any = None) -> None:
        """Specs from the dynamics. Converting the Gymnasium spaces would build one spec a row and cell."""
        dynamics, puzzle = env.dynamics, env.puzzle
        rows, cells, latents = (env.num_envs,), (puzzle.seq_len,), dynamics.latent_shape
        place = {"device": self.device}

        def tokens() -> TensorSpec:
            return Categorical(puzzle.vocab_size, shape=(*rows, *cells), dtype=torch.int64, **place)

        def index(count: int) -> TensorSpec:
            return Categorical(count, shape=rows, dtype=torch.int64, **place)

        def latent() -> TensorSpec:
            bound = dynamics.latent_bound
            return Bounded(-bound, bound, shape=(*rows, *latents), dtype=torch.float32, **place)

        observation = {
            "inputs": tokens(),
            "puzzle_id": index(max(1, puzzle.num_puzzle_ids)),
            "y": latent(),
            "z": latent(),
            "step": index(dynamics.max_steps + 1),
        }
        privileged = {
            # Unbounded, because a solution may hold IGNORE, which is no token.
            "solution": Unbounded(shape=(*rows, *cells), dtype=torch.int64, **place),
            "solved": Binary(shape=rows, dtype=torch.bool, **place),
            "quality": Bounded(0.0, 1.0, shape=rows, dtype=torch.float32, **place),
            "episode_seed": Bounded(0, 2**62 - 1, shape=rows, dtype=torch.int64, **place),
        }
        action = {"next_y": latent(), "next_z": latent(), "answer": tokens(), "halt": index(2)}
        self.done_spec = self._make_done_spec()
        self.observation_spec = Composite({**observation, **privileged}, shape=rows, **place)
        self.action_spec = Composite(action, shape=rows, **place)
        self.reward_spec = Unbounded(shape=(*rows, 1), dtype=torch.float32, **place)
