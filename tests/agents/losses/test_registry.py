"""Losses and targets by name: how one is made, which options it takes, and plug-ins."""

from __future__ import annotations

import pytest
import torch
from small import STEPS, WIDTH, small_batch, small_reasoner
from tensordict import TensorDict
from torchrl.objectives import ValueEstimators
from torchrl.objectives.value import TD1Estimator
from toy_losses import LateTargets, RightShareLoss

from latent_rl.agents import LOSSES, DiffusionTargets, OptionError, RecursionLoss, loss_class, make_targets
from latent_rl.agents.losses.return_value import ESTIMATORS


@pytest.mark.parametrize("name", [*LOSSES, "toy_losses:RightShareLoss"])
def test_every_loss_is_made_from_a_reasoner_with_nothing_but_defaults(name):
    kind = loss_class(name)
    loss = kind.from_reasoner(small_reasoner(), max_steps=STEPS)
    assert isinstance(loss, RecursionLoss) and type(loss) is kind
    assert any(key.startswith("loss_") for key in loss.out_keys)
    assert kind.needs_trajectories() == (name == "return")
    assert bool(loss.heads) == (name in ("return", "toy_losses:RightShareLoss"))
    if not kind.needs_trajectories():
        batch = small_batch(2)
        before = set(batch.keys(True))
        loss.prepare(batch)
        assert set(batch.keys(True)) == before


def test_no_two_losses_report_under_one_key():
    losses = [kind.from_reasoner(small_reasoner(), max_steps=STEPS) for kind in LOSSES.values()]
    keys = [key for loss in losses for key in loss.out_keys]
    assert len(keys) == len(set(keys))


def test_options_come_with_defaults_and_are_checked():
    assert LOSSES["solved"].check_options({}) == {"stop_gradient": False, "judged_by": "rule"}
    assert LOSSES["continue"].check_options({}) == {}
    assert LOSSES["policy"].check_options({"step_weights": "linear"}) == {
        "targets": "terminal",
        "cross_entropy": "stablemax",
        "step_weights": "linear",
    }
    assert LOSSES["return"].check_options({"gamma": "0.5"})["gamma"] == 0.5
    for name, options, message in [
        ("solved", {"stop_grad": 1}, "unknown option 'stop_grad'; did you mean 'stop_gradient'"),
        ("continue", {"x": 1}, "unknown option 'x'; known: weight"),
        ("return", {"lmbda": 2}, "lmbda: input should be less than or equal to 1, got 2"),
        ("policy", {"targets": 3}, "targets: .*got 3"),
    ]:
        with pytest.raises(OptionError, match=message):
            LOSSES[name].from_reasoner(small_reasoner(), max_steps=STEPS, **options)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimators_take_the_constants_they_have(name):
    loss = LOSSES["return"].from_reasoner(small_reasoner(), max_steps=STEPS, estimator=name, gamma=0.5, lmbda=0.25)
    kind, estimator = ESTIMATORS[name]
    assert type(loss.value_estimator) is estimator and loss.value_type == kind
    assert loss.value_estimator.gamma == 0.5
    if kind in (ValueEstimators.TDLambda, ValueEstimators.GAE):
        assert loss.value_estimator.lmbda == 0.25
    assert loss.head.hidden.in_features == WIDTH
    assert ESTIMATORS["td1"] == (ValueEstimators.TD1, TD1Estimator)


def test_a_class_that_is_no_loss_or_nowhere():
    with pytest.raises(OptionError, match="unknown loss 'polcy'; did you mean 'policy'"):
        loss_class("polcy")
    with pytest.raises(OptionError, match="'toy_losses:LateTargets' is no subclass of .*RecursionLoss"):
        loss_class("toy_losses:LateTargets")
    with pytest.raises(OptionError, match="'toy_losses:Nothing' cannot be imported: .*no attribute 'Nothing'"):
        loss_class("toy_losses:Nothing")


def test_a_registered_loss_goes_by_its_name(monkeypatch):
    monkeypatch.setitem(LOSSES, "share", RightShareLoss)
    loss = loss_class("share").from_reasoner(small_reasoner(), max_steps=STEPS, hidden=2)
    assert loss.head[0].out_features == 2


def test_targets_with_options():
    made = make_targets({"name": "toy_losses:LateTargets", "first": 2}, max_steps=STEPS)
    assert isinstance(made, LateTargets) and (made.first, made.max_steps) == (2, STEPS)
    assert make_targets(made, max_steps=9) is made
    assert isinstance(make_targets("diffusion", max_steps=STEPS), DiffusionTargets)
    complete = LOSSES["policy"].check_options({"targets": {"name": "toy_losses:LateTargets"}})
    assert complete["targets"] == {"name": "toy_losses:LateTargets", "first": 1}
    assert LOSSES["policy"].check_options({"targets": {"name": "diffusion"}})["targets"] == "diffusion"
    with pytest.raises(OptionError, match="unknown option 'frist'; did you mean 'first'"):
        make_targets({"name": "toy_losses:LateTargets", "frist": 2}, max_steps=STEPS)
    with pytest.raises(OptionError, match="first: .*integer.*got 'soon'"):
        make_targets({"name": "toy_losses:LateTargets", "first": "soon"}, max_steps=STEPS)


def test_the_policy_loss_trains_toward_the_targets_that_its_option_names():
    targets = {"name": "toy_losses:LateTargets", "first": 1}
    loss = LOSSES["policy"].from_reasoner(small_reasoner(), max_steps=STEPS, targets=targets)
    row = small_batch(1)
    row["solution"] = row["inputs"].roll(1, -1)
    certain = torch.nn.functional.one_hot(row["inputs"], 5) * 1e4
    batches = [TensorDict({**row, "step": torch.tensor([step]), "logits": certain}, [1]) for step in (0, 1)]
    first, second = (loss(batch)["loss_policy"].item() for batch in batches)
    assert first < 0.01 < second
    assert set(loss.in_keys) == {"logits", "inputs", "solution", "step"}
