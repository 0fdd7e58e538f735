"""The terms of the loss: who may name them, what a mistake is told, and what earlier versions called them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from tiny_models import save_untrained, tiny_config

from latent_rl.agents import LOSSES
from latent_rl.config import dump, flatten, load_config, load_resolved, merge, validate_saved
from latent_rl.config.loading import scheme_names
from latent_rl.config.schema import DeductionConfig, LossConfig
from latent_rl.config.terms import MOVED
from latent_rl.errors import UserError
from latent_rl.measuring import has_continue_value, value_head_is_trained
from latent_rl.storage import load_model

RETURN = ["collector.mode=replay", "loss.terms.solved=null", "loss.terms.return.weight=0.5"]


def write_old(path: Path, loss: str, collector: str = "{mode: fused, num_envs: 64}") -> Path:
    """A run's config.yaml as it was before losses were terms, without the sections that have not changed since."""
    path.write_text(
        f"""
name: run
scheme: pi
seed: 0
env:
  id: latent_rl/Sudoku-v0
  options: {{size: 6, train: 50000, test: 1000}}
  max_steps: 6
  terminate_on_solved: 0.9
network: {{width: 64, layers: 2, heads: 4, mixer: mlp, positions: none, cycles: 1, inner_updates: 2}}
loss:
{loss}
collector: {collector}
optimizer: {{name: adamw, lr: 0.004, betas: [0.9, 0.95], ema_decay: 0.99}}
budget: {{updates: 60, passes: null, seconds: null}}
"""
    )
    return path


SOLVED = """
  targets: diffusion
  cross_entropy: softmax
  step_weights: linear
  value:
    target: solved
    weight: 0.3
    continue_weight: 0.5
    stop_gradient: true
    estimator: td_lambda
    gamma: 1.0
    lmbda: 0.95
"""


def test_a_run_of_an_earlier_version_is_read_and_can_be_resumed(tmp_path: Path) -> None:
    path = write_old(tmp_path / "config.yaml", SOLVED)
    config = load_resolved(path, ["loss.terms.continue.weight=0.4"])
    flat = {key: value for key, value in flatten(config).items() if key.startswith("loss.")}
    assert flat == {
        "loss.terms.policy.weight": 1.0,
        "loss.terms.policy.targets": "diffusion",
        "loss.terms.policy.cross_entropy": "softmax",
        "loss.terms.policy.step_weights": "linear",
        "loss.terms.solved.weight": 0.3,
        "loss.terms.solved.stop_gradient": True,
        "loss.terms.solved.judged_by": "key",
        "loss.terms.continue.weight": 0.4,
    }
    assert config.optimizer.lr == 0.004 and config.name == "run"


def test_an_earlier_run_with_a_return_means_what_it_meant(tmp_path: Path) -> None:
    loss = SOLVED.replace("target: solved", "target: return").replace("continue_weight: 0.5", "continue_weight: 0.0")
    path = write_old(tmp_path / "config.yaml", loss.replace("td_lambda", "gae"), "{mode: replay}")
    terms = load_resolved(path).loss.terms
    assert terms["solved"] is None and "continue" not in terms
    assert terms["return"].model_dump() == {
        "weight": 0.3,
        "distance": "smooth_l1",
        "estimator": "gae",
        "gamma": 1.0,
        "lmbda": 0.95,
    }


def test_the_settings_of_then_and_now_differ_in_the_judge_alone(tmp_path: Path) -> None:
    loss = """
  targets: terminal
  cross_entropy: stablemax
  step_weights: uniform
  value: {target: solved, weight: 0.5, continue_weight: 0.5, stop_gradient: false, estimator: td_lambda, gamma: 1.0}
"""
    then, now = load_resolved(write_old(tmp_path / "config.yaml", loss)), load_config("sudoku-6x6")
    found = then.loss.model_dump()
    assert found["terms"]["solved"].pop("judged_by") == "key"
    assert LossConfig(terms=merge(found["terms"], {"solved": {"judged_by": "rule"}})) == now.loss


def test_restarts_of_older_runs_change_nothing_still() -> None:
    saved = load_config("sudoku-4x4", ["scheme=deduce"]).model_dump(mode="json")
    assert validate_saved(saved).deduction == DeductionConfig()
    del saved["deduction"]["restart_floor"]
    assert validate_saved(saved).deduction == DeductionConfig(restart_floor=0.0)
    del saved["deduction"]["restart_decay"]
    assert validate_saved(saved).deduction.restart_decay == 1.0


def test_a_checkpoint_is_read_without_looking_losses_up(tmp_path: Path) -> None:
    saved = yaml.safe_load(write_old(tmp_path / "config.yaml", SOLVED).read_text())
    assert validate_saved(saved).loss.weight("solved") == 0.3
    today = load_config("sudoku-4x4").model_dump(mode="json")
    today["loss"]["terms"]["not_installed_here:Loss"] = {"weight": 0.1}
    assert validate_saved(today).loss.weight("not_installed_here:Loss") == 0.1


@pytest.mark.parametrize("key", MOVED)
def test_an_old_key_is_told_its_new_name(key: str) -> None:
    with pytest.raises(UserError) as caught:
        load_config("sudoku-4x4", [f"{key}=1"])
    assert str(caught.value) == f"unknown config key {key!r}; it is now {MOVED[key]}"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("loss.terms.slved.weight=1", r"loss.terms: unknown loss 'slved'; did you mean 'solved'\?"),
        ("loss.terms.slved=null", r"loss.terms: unknown loss 'slved'; did you mean 'solved'\?"),
        ("loss.terms.solved.stop_grad=true", r"loss.terms.solved: unknown option 'stop_grad'; .* 'stop_gradient'\?"),
        ("loss.terms.solved.wieght=1", r"loss.terms.solved: unknown option 'wieght'; did you mean 'weight'\?"),
        ("loss.terms.solved.weight=-1", r"loss.terms.solved.weight: .*greater than or equal to 0, got -1"),
        ("loss.terms.solved.stop_gradient=perhaps", r"loss.terms.solved: stop_gradient: .*boolean.*got 'perhaps'"),
        ("loss.terms.solved=0.3", r"loss.terms.solved: .*got 0.3"),
        ("loss.terms.policy.cross_entropy=hinge", r"policy: cross_entropy: .*'stablemax' or 'softmax', got 'hinge'"),
        ("loss.terms.policy.max_steps=3", r"loss.terms.policy: unknown option 'max_steps'"),
        ("loss.terms.policy.targets={name: terminl}", r"targets: unknown target generator 'terminl'; .* 'terminal'\?"),
        ("loss.terms.policy.targets={name: diffusion, x: 1}", r"targets: unknown option 'x'"),
        ("loss.terms.policy.targets={x: 1}", r"needs its name, as in \{name: diffusion\}"),
        ("loss.terms={return: {gamma: 2}}", r"loss.terms.return: gamma: .*less than or equal to 1, got 2"),
        ("loss.terms={return: {estimator: tdlambda}}", r"unknown estimator 'tdlambda'; did you mean 'td_lambda'\?"),
        ("loss.terms={'no_such_module:Loss': {}}", r"loss 'no_such_module:Loss' cannot be imported: No module named"),
        ("loss.terms={'math:sqrt': {}}", r"loss 'math:sqrt' is no subclass of .*RecursionLoss"),
        ("loss.terms={policy: null, solved: null, continue: null}", r"loss: no term has a weight above 0"),
    ],
)
def test_mistakes_are_told_in_one_line(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_config("sudoku-4x4", [override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("scheme", scheme_names())
def test_a_run_keeps_every_option_and_reads_it_back(tmp_path: Path, scheme: str) -> None:
    deduces = load_config("sudoku-4x4", [f"scheme={scheme}"]).env.state == "candidates"
    # Steps over candidates have no return to learn from.
    config = load_config("sudoku-4x4", [f"scheme={scheme}", *([] if deduces else RETURN)])
    path = tmp_path / "config.yaml"
    path.write_text(dump(config))
    assert load_resolved(path) == config
    for name, term in config.loss.terms.items():
        if term is not None:
            assert term.options == LOSSES[name].check_options(term.options)
    assert flatten(config)["loss.terms.solved"] is None
    if deduces:
        assert flatten(config)["loss.terms.keep.right"] == 4.0
    else:
        assert flatten(config)["loss.terms.return.lmbda"] == 0.95


def test_a_scheme_that_names_one_term_keeps_the_others(tmp_path: Path) -> None:
    scheme = tmp_path / "mine.yaml"
    scheme.write_text("loss: {terms: {continue: {weight: 0.1}}}\n")
    loss = load_config("sudoku-4x4", [f"scheme={scheme}"]).loss
    assert (loss.weight("policy"), loss.weight("solved"), loss.weight("continue")) == (1.0, 0.5, 0.1)


def test_a_model_file_of_an_earlier_version_loads(tmp_path: Path) -> None:
    file = save_untrained(tmp_path / "run", tiny_config(tmp_path / "cache"))
    content = torch.load(file, weights_only=True)
    content["config"]["loss"] = yaml.safe_load(f"loss:{SOLVED}")["loss"]
    torch.save(content, file)
    trained = load_model(tmp_path / "run")
    assert value_head_is_trained(trained) and has_continue_value(trained)
    assert trained.config.loss.terms["policy"].options["targets"] == "diffusion"
    content["config"]["loss"]["value"] |= {"target": "return", "continue_weight": 0.0}
    torch.save(content, file)
    trained = load_model(tmp_path / "run")
    assert not value_head_is_trained(trained) and not has_continue_value(trained)


def test_a_group_of_one_answer_teaches_nothing_unless_a_critic_expects_something() -> None:
    with pytest.raises(UserError, match="answers.group=1: a single answer is no better than the mean of its group"):
        load_config("sudoku-4x4", ["scheme=grpo", "answers.group=1"])
    load_config("sudoku-4x4", ["scheme=grpo", "answers.group=1", "loss.terms.answer.advantage=critic"])
