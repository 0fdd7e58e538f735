"""Training from the rule alone: no key is read, the reward decides, passes are counted, a killed run goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from programs import Program
from small_runs import SMALL, same_weights, small_run, weights
from toy_puzzle import Backwards

from latent_rl.config import load_config
from latent_rl.envs import register_puzzle, registered_ids
from latent_rl.train import main
from latent_rl.training import assemble

SCHEMES = ["exit", "grpo"]


class Graded(Backwards):
    """Counts the letters that are not where they belong."""

    def violations(self, inputs, answers):
        return (answers != inputs.flip(-1)).sum(-1).float()


class Garbled(Graded):
    """The same puzzles, every answer key replaced by another puzzle's."""

    def instances(self, split):
        found = super().instances(split)
        return replace(found, solution=found.solution.roll(1, 0))


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_figures: None) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("Graded", "Garbled"):
        if f"tests/{name}-v0" not in registered_ids():
            register_puzzle(f"tests/{name}-v0", f"test_rule_alone:{name}")


def trained(name: str, scheme: str, *settings: str, updates: int = 12) -> dict[str, torch.Tensor]:
    options = "env.options={train: 300, test: 50}"
    return weights(small_run(name, f"scheme={scheme}", "env.id=tests/Graded-v0", options, *settings, updates=updates))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_answer_keys_may_hold_anything(scheme: str) -> None:
    honest = trained("honest", scheme)
    garbled = trained("garbled", scheme, "env.id=tests/Garbled-v0", "env.options={train: 300, test: 50}")
    assert same_weights(honest, garbled)


# Of two letters, some answers of a group are right from the start.
EASY = ["env.options={train: 14, test: 5, length: 2}", "network.mixer=mlp", "network.positions=none"]


@pytest.mark.parametrize(
    ("scheme", "setting", "changes"),
    [
        ("exit", "env.reward.violation_cost=0", True),
        ("grpo", "env.reward.violation_cost=0", True),
        ("grpo", "env.reward.solve_bonus=50", True),
        # The search only compares: a solved answer is the best of its group at any bonus, and the user is told so.
        ("exit", "env.reward.solve_bonus=50", False),
    ],
)
def test_another_reward_gives_another_policy(
    scheme: str, setting: str, changes: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = trained("a", scheme, *EASY)
    capsys.readouterr()
    assert same_weights(plain, trained("b", scheme, *EASY, setting)) == (not changes)
    assert ("changes nothing in this training" in capsys.readouterr().err) == (not changes)


@pytest.mark.parametrize(
    ("mode", "scheme"),
    [
        ("fused", "exit"),
        ("replay", "grpo"),
        pytest.param("fused", "grpo", marks=pytest.mark.slow),
        pytest.param("replay", "exit", marks=pytest.mark.slow),
    ],
)
def test_a_run_that_was_stopped_ends_in_the_same_weights(scheme: str, mode: str) -> None:
    whole = trained("whole", scheme, f"collector.mode={mode}", updates=12)
    trained("parts", scheme, f"collector.mode={mode}", updates=6)
    main(["--resume", "runs/parts", "budget.updates=12"])
    assert same_weights(whole, weights(Path("runs/parts")))


def test_the_critic_of_the_advantage_goes_on_where_it_was() -> None:
    critic = "loss.terms.answer.advantage=critic"
    whole = trained("whole", "grpo", critic, updates=8)
    trained("parts", "grpo", critic, updates=4)
    main(["--resume", "runs/parts", "budget.updates=8"])
    assert same_weights(whole, weights(Path("runs/parts")))
    assert not same_weights(whole, trained("group", "grpo", updates=8))


def test_what_was_found_is_not_lost_by_a_stop() -> None:
    """Stopped in the middle of the first episodes, when most of what the rest of them learns from is remembered."""
    whole = trained("whole", "exit", updates=7)
    trained("parts", "exit", updates=4)
    main(["--resume", "runs/parts", "budget.updates=7"])
    assert same_weights(whole, weights(Path("runs/parts")))


def test_what_is_remembered_is_learned_from() -> None:
    assert not same_weights(trained("a", "exit"), trained("b", "exit", "answers.memory=0"))


@pytest.mark.parametrize("act", ["sampled", "likeliest"])
def test_both_modes_teach_the_heads_of_the_likeliest_answer(act: str) -> None:
    from loop import learn

    for mode in ("fused", "replay"):
        settings = [*SMALL, "scheme=exit", "env.id=tests/Graded-v0", f"answers.act={act}", f"collector.mode={mode}"]
        run = assemble(load_config("sudoku-4x4", [*settings, "env.options={train: 14, test: 5, length: 2}"]))
        learn(run, 3)
        batch = next(run.collection)
        with run.ledger.phase("update"):
            steps = next(run.experience(batch))
        likeliest = steps["logits"].argmax(-1)
        assert (steps["next", "solved"] == run.puzzle.is_solved(steps["inputs"], likeliest)).all()
        assert (steps["answer"] == likeliest).all() and not (steps["group"][:, 0] == likeliest).all()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_group_costs_no_pass(scheme: str) -> None:
    from loop import learn

    spent = []
    for group in (2, 32):
        settings = [*SMALL, f"scheme={scheme}", "env.id=tests/Graded-v0", f"answers.group={group}"]
        run = assemble(load_config("sudoku-4x4", settings))
        learn(run, 5)
        spent.append(run.ledger.train_passes)
    assert spent == [5 * 8 * 3] * 2


@pytest.mark.parametrize(("puzzle", "said"), [("Graded", False), ("Backwards", True)])
def test_a_rule_that_counts_nothing_is_said_to(puzzle: str, said: bool, capsys: pytest.CaptureFixture[str]) -> None:
    trained("plain", "exit", f"env.id=tests/{puzzle}-v0", "env.options={train: 300, test: 50}", updates=2)
    assert ("counts no violations: only sampled answers that are solved can teach" in capsys.readouterr().err) == said


@pytest.mark.parametrize(
    ("scheme", "updates", "least"), [("exit", 400, 0.5), pytest.param("grpo", 400, 0.5, marks=pytest.mark.slow)]
)
def test_a_small_puzzle_is_learned_from_its_rule(scheme: str, updates: int, least: float) -> None:
    import json

    settings = [
        "env.options={train: 300, test: 50, length: 3}",
        "network={width: 32, mixer: mlp, positions: none}",
        "optimizer={lr: 1e-2, ema_decay: 0.9}",
        "collector.num_envs=32",
    ]
    settings[0] = "env.options={train: 90, test: 20, length: 3}"
    trained("learned", scheme, *settings, updates=updates)
    assert json.loads(Path("runs/learned/summary.json").read_text())["solved_rate"] > least


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["loss.terms.answer.weight=1"], "loss.terms.answer learns from sampled answers: set answers.group"),
        (["loss.terms.policy.targets=search"], "loss.terms.policy, targets search: .* set answers.group"),
        (["scheme=exit", "env.reward={violation_cost: 0, solve_bonus: 0}"], "env.reward: .* worth the same"),
        (["scheme=exit", "answers.group=0"], "answers.group: "),
        (["--config", "arc-mini", "scheme=exit"], "answers.group: arc.* has no rule"),
    ],
)  # fmt: skip
def test_what_cannot_be_learned_is_refused(
    settings: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import re

    line = Program(main).mistake(capsys, *settings, "tracking.enabled=false")
    assert re.search(message, line) and not Path("runs").exists()


@pytest.mark.parametrize(
    ("scheme", "settings", "said"),
    [
        ("exit", [], True),
        ("exit", ["answers.cross_entropy=stablemax", "loss.terms.policy.cross_entropy=stablemax"], False),
        ("pi", [], False),
    ],
)
def test_logits_that_are_read_otherwise_than_they_were_taught_are_said_to_be(
    scheme: str, settings: list[str], said: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    trained("teacher", "pi", updates=1)
    capsys.readouterr()
    trained("pupil", scheme, *settings, "--init", "runs/teacher", updates=1)
    assert ("sampled by softmax from logits that were taught with stablemax" in capsys.readouterr().err) == said
