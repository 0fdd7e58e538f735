"""Learning to stop beside the network, where the best choice is known in closed form.

Answers are solved after the first step with probability 0.8 and, if not, after the second with probability 0.5; nothing
that the policy sees tells which. So the second step brings a solved answer with probability 0.2 x 0.5 = 0.1, and is
worth a price below 0.1 and none above. Nine of ten episodes end once they are solved: who learned from what is seen of
those too would find 0.2 / (0.2 + 0.8 x 0.1) x 0.5 = 0.36.
"""

from __future__ import annotations

import pytest
import torch
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torchrl.collectors import Collector
from toy_puzzle import Backwards

from latent_rl.agents import HaltingLearner, HaltingPolicy, NeverHalt
from latent_rl.agents.halting.policy import READINGS, halting_actor
from latent_rl.envs import LatentRecursionVectorEnv, MDPConfig
from latent_rl.training.halting import ConcurrentHalting
from latent_rl.training.torchrl_env import LatentRecursionTorchEnv

ROWS, WIDTH, STEPS = 64, 4, 2
SOLVED_FIRST, SOLVED_LATER = 0.8, 0.5
WORTH = (1 - SOLVED_FIRST) * SOLVED_LATER


class Chance(TensorDictModuleBase):
    """Answers that are right by chance, never wrong again, and choices of a halting policy that sees nothing."""

    in_keys = ["inputs", "solution", "solved", "step", "y", "z"]
    out_keys = ["answer", "next_y", "next_z", "features", "halt", "halt_log_prob"]

    def __init__(self, policy: HaltingPolicy) -> None:
        super().__init__()
        self.actor = halting_actor(policy)

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        likely = torch.where(tensordict["step"] == 0, SOLVED_FIRST, SOLVED_LATER)
        solved = tensordict["solved"] | (torch.rand_like(likely) < likely)
        tensordict["answer"] = torch.where(solved.unsqueeze(-1), tensordict["solution"], tensordict["inputs"])
        tensordict.update({"next_y": tensordict["y"], "next_z": tensordict["z"]})
        tensordict["features"] = torch.zeros(len(solved), WIDTH + READINGS)
        return self.actor(tensordict)


def probability_of_halt(price: float, phases: int = 25) -> float:
    torch.manual_seed(0)
    policy = HaltingPolicy(WIDTH, hidden=8)
    learner = HaltingLearner(policy, lr=1e-2)
    halting = ConcurrentHalting(learner, NeverHalt(), steps=32, max_steps=STEPS)
    config = MDPConfig(
        width=WIDTH,
        max_steps=STEPS,
        terminate_on_solved=0.9,
        reward=lambda before, after, passes: after.solved.float() - before.solved.float() - price,
    )
    env = LatentRecursionTorchEnv(LatentRecursionVectorEnv(Backwards(), num_envs=ROWS, config=config))
    env.set_seed(0)
    collector = Collector(env, Chance(policy), frames_per_batch=ROWS, total_frames=ROWS * 32 * phases)
    told = [halting.learn(batch) for batch in collector]
    # It learns every 32 steps; whoever asks in between is told of the last time.
    assert told[0] == {} and told[32] is told[40] is told[63] and "halting_entropy" in told[40]
    collector.shutdown()
    return float(policy.probability(torch.zeros(1, WIDTH + READINGS)))


@pytest.mark.parametrize(("price", "stops"), [(2 * WORTH, True), (WORTH / 2, False)])
def test_the_choice_changes_where_it_should(price: float, stops: bool) -> None:
    assert (probability_of_halt(price) > 0.5) == stops
