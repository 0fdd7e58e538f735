"""Losses, gradients and one optimizer step equal those of the official code."""

from __future__ import annotations

import pytest
import torch
from golden_files import arrays, first_observation, reasoner_of, setting
from tensordict import TensorDict

from latent_rl.agents import (
    PolicyImprovementLoss,
    RecursionPolicy,
    SolvedValueLoss,
    StepGraph,
    TargetGenerator,
    TerminalTargets,
)
from latent_rl.agents.losses.policy_improvement import cell_cross_entropy
from latent_rl.agents.official import our_name

EXACT = {"rtol": 1e-6, "atol": 0, "check_dtype": False}


class FixedTargets(TargetGenerator):
    """Targets that the batch brings along: the path that the official code drew."""

    in_keys = ("fixed_targets",)

    def __call__(self, tensordict):
        return tensordict["fixed_targets"]


@pytest.fixture(scope="module")
def policy():
    return RecursionPolicy(reasoner_of("trm_att"))


@pytest.fixture
def head_batch():
    """What the official loss head was given, with gradients wanted."""
    golden = arrays("losses")
    batch = TensorDict({"logits": golden["logits"], "solution": golden["labels"]}, batch_size=[8])
    batch["answer"] = golden["logits"].argmax(-1)
    batch["q"] = torch.stack((golden["q_halt_logits"], torch.zeros(8)), dim=-1)
    batch["step"] = golden["steps"]
    batch["ends_when_solved"] = torch.zeros(8, dtype=torch.bool)
    return golden, batch


@pytest.mark.parametrize("kind", ["stablemax", "softmax"])
def test_cross_entropy_of_every_cell(kind):
    golden = arrays("losses")
    loss = cell_cross_entropy(golden["logits"], golden["labels"], kind)
    tolerance = {"rtol": 1e-12, "atol": 1e-14} if kind == "stablemax" else {"rtol": 1e-6, "atol": 1e-7}
    torch.testing.assert_close(loss, golden[f"{kind}_per_token"], **tolerance)


def test_loss_head(policy, head_batch):
    golden, batch = head_batch
    batch["logits"].requires_grad_()
    batch["q"].requires_grad_()
    lm = PolicyImprovementLoss(targets=TerminalTargets(max_steps=16), max_steps=16)(batch)["loss_policy"]
    halt = SolvedValueLoss(policy.reasoner, judged_by="key")(batch)["loss_value"]
    # The official head sums over sequences, ours average.
    torch.testing.assert_close(8 * lm, golden["lm_loss"], **EXACT)
    torch.testing.assert_close(8 * halt, golden["q_halt_loss"], **EXACT)
    loss = 8 * (lm + 0.5 * halt)
    torch.testing.assert_close(loss, golden["loss"], **EXACT)
    loss.backward()
    torch.testing.assert_close(batch["logits"].grad, golden["grad_logits"], rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(batch["q"].grad[:, 0], golden["grad_q_halt_logits"], rtol=1e-5, atol=1e-9)
    assert not batch["q"].grad[:, 1].any()


def test_metrics_of_halted_sequences(policy, head_batch):
    golden, batch = head_batch
    halted = batch[golden["halted"]]
    improvement = PolicyImprovementLoss(targets=TerminalTargets(max_steps=16), max_steps=16)(halted)
    value = SolvedValueLoss(policy.reasoner, judged_by="key")(halted)
    count = golden["metric_count"]
    assert count < len(halted), "the sequence of ignored cells must be among them"
    torch.testing.assert_close(count * improvement["cell_accuracy"], golden["metric_accuracy"], **EXACT)
    torch.testing.assert_close(count * improvement["exact_accuracy"], golden["metric_exact_accuracy"], **EXACT)
    torch.testing.assert_close(count * value["value_accuracy"], golden["metric_q_halt_accuracy"], **EXACT)


@pytest.mark.parametrize("mode", ["fused", "replay"])
def test_one_training_step(mode):
    golden, settings = arrays("trm_att_train_step"), setting("trm_att_train_step", "optimizer_json")
    reasoner = reasoner_of("trm_att")
    policy = RecursionPolicy(reasoner, graph=StepGraph() if mode == "fused" else None)
    batch = first_observation(reasoner, golden)
    batch["solution"] = golden["labels"]
    batch["ends_when_solved"] = torch.zeros(batch.shape, dtype=torch.bool)
    if mode == "fused":
        with torch.no_grad():
            policy(batch)
        output = policy.graph.take()
        batch.update({"logits": output.logits, "q": output.q})
    else:
        batch = policy.replay(batch)
    lm = PolicyImprovementLoss(targets=TerminalTargets(max_steps=16), max_steps=16)(batch)["loss_policy"]
    halt = SolvedValueLoss(policy.reasoner, judged_by="key")(batch)["loss_value"]
    loss = lm + 0.5 * halt
    for ours, name in ((lm, "lm_loss"), (halt, "q_halt_loss"), (loss, "loss")):
        torch.testing.assert_close(4 * ours, golden[name], rtol=0, atol=1e-5, check_dtype=False)
    loss.backward()

    # The puzzle embedding is a buffer with an optimizer of its own.
    by_puzzle = torch.zeros(5, 64).index_add(0, golden["puzzle_identifiers"], golden["puzzle_emb_local_grad"])
    ids, gradient = reasoner.embed_puzzle.take_gradient()
    assert ids.tolist() == golden["puzzle_identifiers"].unique().tolist()
    torch.testing.assert_close(gradient, by_puzzle[ids], rtol=0, atol=1e-5)
    trained = dict(reasoner.named_parameters())
    official = {our_name(key.removeprefix("grad/")): key for key in golden if key.startswith("grad/")}
    assert official.keys() == trained.keys()
    for name, weight in trained.items():
        torch.testing.assert_close(weight.grad, golden[official[name]], rtol=0, atol=1e-5)

    optimizer = torch.optim.AdamW(
        trained.values(),
        lr=settings["lr"],
        betas=tuple(settings["betas"]),
        eps=settings["eps"],
        weight_decay=settings["weight_decay"],
    )
    optimizer.step()
    for name, weight in trained.items():
        gradient, after = golden[official[name]], golden[official[name].replace("grad/", "after/")]
        # Adam's first step divides a gradient by its own size: where that is rounding noise, so is the step.
        clear = (gradient.abs() > 1e-6) | (gradient == 0)
        torch.testing.assert_close(weight.detach()[clear], after[clear], rtol=0, atol=1e-6)
        torch.testing.assert_close(weight.detach()[~clear], after[~clear], rtol=0, atol=2.1e-3)


def test_dis_losses_on_the_official_path():
    golden = arrays("dis_att")
    policy = RecursionPolicy(reasoner_of("dis_att"))
    loss = PolicyImprovementLoss(targets=FixedTargets(max_steps=6), max_steps=6)
    batch = first_observation(policy.reasoner, golden)
    batch["solution"] = golden["labels"]
    for s in range(1, 7):
        batch["fixed_targets"] = golden["target_path"][:, s]
        per_cell = cell_cross_entropy(golden["logits"][s - 1], golden["target_path"][:, s])
        torch.testing.assert_close(per_cell, golden["stablemax_per_token"][s - 1], rtol=1e-12, atol=1e-14)
        with torch.no_grad():
            found = loss(policy.replay(batch))["loss_policy"]
            torch.testing.assert_close(4 * found, golden["loss"][s - 1], rtol=0, atol=1e-5)
            policy(batch)
        batch.update({"y": batch["next_y"], "z": batch["next_z"], "step": batch["step"] + 1})
