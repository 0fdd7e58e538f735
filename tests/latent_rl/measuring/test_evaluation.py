"""An evaluation of all steps tells what stopping by the q head would have come to."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
import torch
from tiny_models import oracle, tiny_config

from latent_rl.agents import AgreeHalt, ConfidentHalt, NeverHalt
from latent_rl.measuring import own_stop
from latent_rl.measuring.evaluation import CONFIDENCES, evaluate
from latent_rl.measuring.ledger import Ledger
from latent_rl.storage import History, Spent
from latent_rl.training.parts import build_puzzle, build_reasoner

STEPS = 5


@pytest.fixture
def measured(tmp_path):
    config = tiny_config(tmp_path)
    puzzle = build_puzzle(config)
    torch.manual_seed(0)
    unsure = build_reasoner(config, puzzle, torch.device("cpu"))
    with torch.no_grad():
        unsure.q_head.weight.normal_(std=2.0)

    def measure(name, halting=None):
        model = oracle(config).reasoner if name == "oracle" else unsure
        ledger = Ledger()
        watch = ledger.watch(model.network)
        test = puzzle.instances("test")
        found = evaluate(model, puzzle, test, max_steps=STEPS, batch_size=4, ledger=ledger, halting=halting)
        watch.remove()
        return found

    return measure


@pytest.mark.parametrize("name", ["oracle", "unsure"])
def test_a_stop_that_was_computed_is_the_stop_that_would_have_been(measured, name) -> None:
    early = measured(name).early_stops
    assert [stop.threshold for stop in early] == list(CONFIDENCES)
    for stop in early:
        found = measured(name, ConfidentHalt(max_steps=STEPS, exploration=0.0, threshold=stop.threshold))
        assert stop.passes_per_puzzle == pytest.approx(found.passes_per_puzzle)
        assert stop.steps == pytest.approx(sum(found.active_by_step))
        assert (stop.exact_accuracy, stop.solved_rate) == (found.exact_accuracy, found.solved_rate)
    assert len({stop.passes_per_puzzle for stop in early}) > 1, "thresholds that all stop at once would prove nothing"


def test_where_a_rule_stopped_puzzles_nothing_is_said_of_other_stops(measured) -> None:
    assert measured("oracle", AgreeHalt()).early_stops == []
    assert measured("oracle", NeverHalt()).early_stops == measured("oracle").early_stops


def test_early_stops_are_kept_with_the_history(measured) -> None:
    history, again = History(), History()
    history.add(Spent(1, 2.0, 3, 4, 5), measured("oracle"), "test")
    again.load_state_dict(history.state_dict())
    assert again.milestones == history.milestones
    assert asdict(again.milestones[0])["evaluation"]["early_stops"][0]["threshold"] == CONFIDENCES[0]


def test_a_stop_is_chosen_among_those_that_both_splits_have(measured) -> None:
    """A rule that hardly ever stops may have stopped a puzzle of one of them, which then has none by the q head."""
    everything = measured("oracle")
    without = replace(everything, early_stops=[])
    assert own_stop(everything, without).way == own_stop(without, everything).way == "after 3 steps"
