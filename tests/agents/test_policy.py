from __future__ import annotations

import copy
import pickle

import pytest
import torch
from small import CELLS, STEPS, WIDTH, small_batch, small_reasoner

from latent_rl.agents import ConfidentHalt, NeverHalt, RecursionPolicy, StepGraph, recurse


def weights_grad(policy):
    gradient = {name: weight.grad for name, weight in policy.named_parameters() if weight.grad is not None}
    policy.zero_grad()
    return gradient


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
@pytest.mark.parametrize("keep_graph", [False, True])
def test_writes_its_out_keys(shape, keep_graph):
    policy = RecursionPolicy(small_reasoner(), graph=StepGraph() if keep_graph else None)
    batch = small_batch(*shape)
    given = set(batch.keys())
    with torch.no_grad():
        out = policy(batch.select(*policy.in_keys))
    assert set(out.keys()) - set(policy.in_keys) == set(policy.out_keys) and set(policy.in_keys) <= given
    assert out.batch_size == shape
    assert out["next_y"].shape == out["next_z"].shape == (*shape, CELLS + 1, WIDTH)
    assert out["answer"].shape == (*shape, CELLS) and out["halt"].shape == shape
    assert out["next_y"].dtype == out["next_z"].dtype == torch.float32
    assert out["answer"].dtype == out["halt"].dtype == torch.int64


def test_batch_shape_does_not_matter():
    policy, batch = RecursionPolicy(small_reasoner()), small_batch(2, 3)
    grid, flat = policy(batch.clone()), policy(batch.reshape(-1).clone())
    for key in policy.out_keys:
        assert torch.equal(grid[key].flatten(0, 1), flat[key])


def test_kept_graph_has_the_gradient_of_a_plain_step():
    """Collected under no_grad, the step still teaches every weight what a plain forward and backward would."""
    batch = small_batch(3)
    fused = RecursionPolicy(small_reasoner(), graph=StepGraph())
    with torch.no_grad():
        written = fused(batch.clone())
        assert not torch.is_grad_enabled()
    output = fused.graph.take()
    assert not any(written[key].requires_grad for key in fused.out_keys)
    assert torch.equal(written["next_y"], output.y) and torch.equal(written["answer"], output.logits.argmax(-1))
    (output.logits.square().mean() + output.q.square().mean()).backward()
    ours = weights_grad(fused)

    plain = RecursionPolicy(small_reasoner())
    step = plain.reasoner.step(*(batch[key] for key in plain.in_keys))
    (step.logits.square().mean() + step.q.square().mean()).backward()
    theirs = weights_grad(plain)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    trained = {name for name in ours if ours[name].abs().sum() > 0}
    assert {"reasoner.embed_tokens.weight", "reasoner.output_head.weight", "reasoner.q_head.weight"} <= trained


def test_output_is_handed_out_once_and_the_latest():
    policy = RecursionPolicy(small_reasoner(), graph=StepGraph())
    with pytest.raises(RuntimeError, match="no step output to take"):
        policy.graph.take()
    policy(small_batch(2, seed=1))
    written = policy(small_batch(3, seed=2))
    assert torch.equal(policy.graph.take().y, written["next_y"])
    with pytest.raises(RuntimeError, match="handed out once"):
        policy.graph.take()


def test_nothing_is_recorded_without_a_graph_to_keep_it():
    policy = RecursionPolicy(small_reasoner())
    with torch.no_grad():
        assert not policy(small_batch(2))["next_y"].requires_grad


def test_inference_mode_cannot_keep_a_graph():
    policy = RecursionPolicy(small_reasoner(), graph=StepGraph())
    with torch.inference_mode(), pytest.raises(RuntimeError, match="inference mode"):
        policy(small_batch(2))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda policy: pickle.loads(pickle.dumps(policy))])
def test_copies_leave_the_graph_behind(duplicate):
    policy = RecursionPolicy(small_reasoner(), graph=StepGraph())
    written = policy(small_batch(2))
    twin = duplicate(policy)
    with pytest.raises(RuntimeError, match="no step output"):
        twin.graph.take()
    assert torch.equal(policy.graph.take().y, written["next_y"])
    assert torch.equal(twin(small_batch(2))["next_y"], written["next_y"])


def test_replay_repeats_the_step_with_a_graph():
    policy, batch = RecursionPolicy(small_reasoner()), small_batch(2, 3)
    with torch.no_grad():
        policy(batch)
    batch["halt"] = torch.ones_like(batch["halt"])
    again = policy.replay(batch)
    assert again is not batch and not batch["logits"].requires_grad
    assert torch.equal(again["answer"], batch["answer"]) and torch.equal(again["halt"], batch["halt"])
    # Attention without a gradient is torch's own, which rounds in another order.
    for key in ("next_y", "next_z"):
        torch.testing.assert_close(again[key], batch[key], rtol=0, atol=1e-5, check_dtype=False)
    assert again["logits"].requires_grad and again["logits"].shape[:2] == again["q"].shape[:2] == (2, 3)
    assert torch.equal(again["logits"].argmax(-1), again["answer"])


def test_the_policy_halts_by_its_own_confidence():
    reasoner, batch = small_reasoner(), small_batch(64)
    policy = RecursionPolicy(reasoner, ConfidentHalt(max_steps=STEPS, exploration=0.0))
    policy(batch)
    assert torch.equal(batch["halt"].bool(), reasoner.q_logits(batch["next_y"])[:, 0] > 0)
    assert 0 < batch["halt"].sum() < 64


def test_what_a_rule_is_told_of_a_step():
    told = []

    class Recorder(NeverHalt):
        in_keys = ["previous", "answer", "q", "next_y", "step"]

        def decide(self, step):
            told.append(step.copy())
            return super().decide(step)

    reasoner, batch = small_reasoner(), small_batch(2, 2)
    batch["step"] = torch.tensor([[0, 1], [3, 0]])
    RecursionPolicy(reasoner, Recorder(), graph=StepGraph())(batch)
    (seen,) = told
    assert torch.equal(seen["step"], batch["step"].flatten())
    assert seen["q"].shape == (4, 2) and not seen["q"].requires_grad
    before = torch.where(batch["step"][..., None] == 0, batch["inputs"], reasoner_answers(reasoner, batch["y"]))
    assert torch.equal(seen["previous"], before.flatten(0, 1))
    assert torch.equal(seen["answer"], batch["answer"].flatten(0, 1))
    assert torch.equal(seen["next_y"], batch["next_y"].flatten(0, 1))


def reasoner_answers(reasoner, y):
    return reasoner.decode(y.flatten(0, 1)).argmax(-1).unflatten(0, y.shape[:2])


def test_recurse_equals_the_policy_and_spends_only_what_is_asked_for():
    reasoner, batch = small_reasoner(), small_batch(3)
    batch["y"], batch["z"] = reasoner.initial_latents(3)
    batch["step"] = torch.zeros_like(batch["step"])
    passes = []
    reasoner.network.register_forward_hook(lambda module, args, output: passes.append(len(output)))
    outputs = recurse(reasoner, batch["inputs"], batch["puzzle_id"], STEPS)
    first, second = next(outputs), next(outputs)
    assert len(passes) == 2 * reasoner.config.passes_per_step
    assert not first.logits.requires_grad and torch.is_grad_enabled()
    policy = RecursionPolicy(reasoner)
    policy(batch)
    # With a gradient and without one, rounded in another order.
    torch.testing.assert_close(batch["next_y"], first.y, rtol=0, atol=1e-5)
    policy(batch.update({"y": batch["next_y"], "z": batch["next_z"], "step": batch["step"] + 1}))
    torch.testing.assert_close(batch["next_z"], second.z, rtol=0, atol=1e-5)
    assert len(list(outputs)) == STEPS - 2


def test_recurse_names_a_wrong_shape():
    with pytest.raises(ValueError, match=r"inputs must be \[B, 6\] for this reasoner, got \(2, 7\)"):
        next(recurse(small_reasoner(), torch.ones(2, 7, dtype=torch.int64), torch.zeros(2, dtype=torch.int64), 1))
