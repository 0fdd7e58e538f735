"""The network equals the official one, step by step. Tolerances: 1e-5 on logits and q, 5e-5 on latents."""

from __future__ import annotations

import pytest
import torch
from golden_files import arrays, first_observation, reasoner_of, setting

from latent_rl.agents import RecursionPolicy, recurse

CLOSE = {"rtol": 0, "atol": 1e-5}
# After 16 steps the kernels of another kind of CPU differ by up to 2.7e-5 from those that made the files.
CLOSE_LATENTS = {"rtol": 0, "atol": 5e-5}
STEPS = {"trm_att": 16, "trm_mlp": 16, "dis_att": 6}


@pytest.mark.parametrize("name", STEPS)
def test_every_step_equals_the_official_code(name):
    golden, reasoner, steps = arrays(name), reasoner_of(name), STEPS[name]
    assert golden["logits"].shape[0] == steps == setting(name)["halt_max_steps"]
    outputs = list(recurse(reasoner, golden["inputs"], golden["puzzle_identifiers"], steps))
    assert len(outputs) == steps
    for step, output in enumerate(outputs):
        torch.testing.assert_close(output.logits, golden["logits"][step], **CLOSE)
        torch.testing.assert_close(output.q[:, 0], golden["q_halt_logits"][step], **CLOSE)
        torch.testing.assert_close(output.q[:, 1], golden["q_continue_logits"][step], **CLOSE)
    for output, suffix in ((outputs[0], "_step1"), (outputs[-1], "")):
        torch.testing.assert_close(output.y, golden["z_H" + suffix], **CLOSE_LATENTS)
        torch.testing.assert_close(output.z, golden["z_L" + suffix], **CLOSE_LATENTS)


@pytest.mark.parametrize("name", STEPS)
def test_the_policy_takes_the_same_steps(name):
    golden, reasoner = arrays(name), reasoner_of(name)
    policy, observation = RecursionPolicy(reasoner), first_observation(reasoner, golden)
    with torch.no_grad():
        for step in range(STEPS[name]):
            policy(observation)
            assert torch.equal(observation["answer"], golden["logits"][step].argmax(-1))
            observation.update({"y": observation["next_y"], "z": observation["next_z"]})
            observation["step"] += 1
    torch.testing.assert_close(observation["y"], golden["z_H"], **CLOSE_LATENTS)
    torch.testing.assert_close(observation["z"], golden["z_L"], **CLOSE_LATENTS)


def test_dis_is_fed_its_own_answer_and_the_time_from_one():
    golden, reasoner = arrays("dis_att"), reasoner_of("dis_att")
    fed, rows = [], []
    reasoner.embed_tokens.register_forward_pre_hook(lambda module, args: fed.append(args[0]))
    reasoner.embed_step.register_forward_pre_hook(lambda module, args: rows.append(args[0]))
    for _ in recurse(reasoner, golden["inputs"], golden["puzzle_identifiers"], 6):
        pass
    assert torch.equal(torch.stack(fed), golden["fed_inputs"])
    assert torch.equal(torch.stack(rows), golden["timestep_index"])
    assert not torch.equal(golden["fed_inputs"][1], golden["inputs"]), "the golden run must show the difference"


def test_trm_sees_the_puzzle_at_every_step():
    golden, reasoner = arrays("trm_att"), reasoner_of("trm_att")
    fed = []
    reasoner.embed_tokens.register_forward_pre_hook(lambda module, args: fed.append(args[0]))
    for _ in recurse(reasoner, golden["inputs"], golden["puzzle_identifiers"], 3):
        pass
    assert len(fed) == 3 and all(torch.equal(tokens, golden["inputs"]) for tokens in fed)
