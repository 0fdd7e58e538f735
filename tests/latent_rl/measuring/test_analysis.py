"""What an analysis measures, held against models whose answers are known, and what it makes of the numbers."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest
import torch
from loop import learn
from tiny_models import TEST_PUZZLES, oracle, save_untrained, tiny_config
from torch.nn import functional

from latent_rl import analyze as program
from latent_rl import cli
from latent_rl.agents import StepOutput, advantage_margin, recurse
from latent_rl.cli import known_instances
from latent_rl.envs import IGNORE, Instances
from latent_rl.errors import UserError
from latent_rl.measuring.analysis import GUIDANCE_WEIGHTS, Analysis, analyze, relative_distance
from latent_rl.measuring.evaluation import evaluate
from latent_rl.measuring.ledger import Ledger
from latent_rl.measuring.stopping import value_is_judged_by
from latent_rl.reporting.analysis import findings, report
from latent_rl.reporting.analysis_figures import calibration, improvement
from latent_rl.reporting.metrics import evaluation_metrics
from latent_rl.reporting.run_results import result_figures
from latent_rl.storage.checkpoint import load_model
from latent_rl.train import measure
from latent_rl.training import assemble
from latent_rl.training.parts import build_puzzle


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory, cache):
    run_dir = tmp_path_factory.mktemp("run")
    save_untrained(run_dir, tiny_config(cache))
    return run_dir


def measured(model, steps: int = 3, batch_size: int = 4, measure=analyze, **options):
    """An analysis or evaluation of a model, and the network passes that it cost."""
    puzzle, ledger = build_puzzle(model.config), Ledger()
    watch = ledger.watch(model.reasoner.network)
    found = measure(
        model.reasoner,
        puzzle,
        puzzle.instances("test"),
        max_steps=steps,
        batch_size=batch_size,
        ledger=ledger,
        **options,
    )
    watch.remove()
    return found, ledger.forward["eval"]


def example(**changes) -> Analysis:
    """Four steps of 3 passes, everything else 0.5 unless it is given."""
    lists = {one.name: [0.5] * 4 for one in fields(Analysis) if one.name != "puzzles"}
    lists["margin_quantiles_by_step"] = [[0.1, 0.2, 0.3, 0.4, 0.5]] * 4
    lists["guidance_weights"] = [0.0, 1.0, 2.0]
    lists["guided_accuracy_by_step"] = lists["guided_cells_by_step"] = [[0.5] * 3] * 4
    lists["reliability"] = [[4000.0, 0.5, 0.5, 0.5]]
    lists["continue_reliability"] = [[3000.0, 0.5, 0.5]]
    return Analysis(**{"puzzles": 1000, **lists, "passes_by_step": [3.0, 6.0, 9.0, 12.0], **changes})


def test_it_agrees_with_evaluation_and_costs_the_same(cache) -> None:
    for model in (oracle(tiny_config(cache)), oracle(tiny_config(cache, "network.feed=answer"))):
        (found, passes), (evaluated, eval_passes) = measured(model), measured(model, measure=evaluate)
        assert passes == eval_passes == 9 * TEST_PUZZLES
        assert found.passes_by_step == [3, 6, 9]
        for name in ("accuracy", "solved", "cells", "dead_share", "margin"):
            name = f"{name}_by_step"
            assert getattr(found, name) == pytest.approx(getattr(evaluated, name), rel=1e-5), name
        assert found.puzzles == evaluated.puzzles == TEST_PUZZLES


def test_batches_make_no_difference(run_dir) -> None:
    model = load_model(run_dir)
    (one, passes), (all, same) = measured(model, batch_size=1), measured(model, batch_size=100)
    assert passes == same
    for field in fields(Analysis):
        torch.testing.assert_close(
            torch.tensor(getattr(one, field.name)), torch.tensor(getattr(all, field.name)), rtol=1e-4, atol=1e-6
        )


def test_margins_and_distances_are_those_between_successive_steps(run_dir) -> None:
    model = load_model(run_dir)
    test = build_puzzle(model.config).instances("test")
    found, _ = measured(model)
    y, z = model.reasoner.initial_latents(len(test))
    reference = model.reasoner.decode(y).detach()
    for step, output in enumerate(recurse(model.reasoner, test.inputs, test.puzzle_id, 3)):
        margin = advantage_margin(reference, output.logits, test.solution)
        assert found.margin_by_step[step] == pytest.approx(float(margin.mean()), rel=1e-5)
        assert found.margin_quantiles_by_step[step][2] == pytest.approx(float(margin.quantile(0.5)), rel=1e-5)
        assert found.dead_share_by_step[step] == pytest.approx(float((margin <= 1e-4).float().mean()))
        assert found.y_distance_by_step[step] == pytest.approx(float(relative_distance(y, output.y).mean()), rel=1e-5)
        assert found.z_distance_by_step[step] == pytest.approx(float(relative_distance(z, output.z).mean()), rel=1e-5)
        y, z, reference = output.y, output.z, output.logits


def test_the_value_heads_word_is_held_against_the_truth(cache) -> None:
    """The oracle says 12%, 50% and 88%, and is wrong, wrong and right; by the end it is always right."""
    found, _ = measured(oracle(tiny_config(cache)))
    rows = {round(row[1], 2): row for row in found.reliability if row[0]}
    assert rows.keys() == {0.12, 0.5, 0.88}
    assert [row[0] for row in found.reliability if row[0]] == [TEST_PUZZLES] * 3
    assert [rows[sure][2] for sure in (0.12, 0.5, 0.88)] == [0, 0, 1] and all(row[3] == 1 for row in rows.values())
    assert found.calibration_error_by_step == pytest.approx([0.1192, 0.5, 0.1192], abs=1e-4)
    assert found.calibration_error == pytest.approx((0.1192 + 0.5 + 0.1192) / 3, abs=1e-4)
    text = " ".join(findings(found))
    assert "the value head expects 50.0% to be right, and 33.3% are" in text and "cannot be taken at its word" in text
    assert found.continue_calibration_error is None and "continue value" not in text


def test_what_was_taught_by_the_key_is_held_against_the_key(cache, monkeypatch) -> None:
    """As TRM is: here a rule that nothing satisfies, where every answer equals the key in the end."""
    model = oracle(tiny_config(cache))
    puzzle = build_puzzle(model.config)
    monkeypatch.setattr(type(puzzle), "is_solved", lambda self, inputs, answers: torch.zeros(len(answers)).bool())
    by_rule, by_key = (measured(model, judged_by=judge)[0] for judge in ("rule", "key"))
    assert [row[2] for row in by_rule.reliability if row[0]] == [0, 0, 0]
    assert [row[2] for row in by_key.reliability if row[0]] == [0, 0, 1]
    judges = [value_is_judged_by(oracle(tiny_config(cache, f"scheme={scheme}"))) for scheme in ("pi", "trm")]
    assert judges == ["rule", "key"]


def test_puzzles_without_a_known_answer_are_left_out(cache) -> None:
    """What is told of steps is told of all puzzles, what is told of answers of those with a key."""
    model = oracle(tiny_config(cache))
    test = build_puzzle(model.config).instances("test")
    some = Instances(test.inputs, test.solution.clone(), test.puzzle_id)
    some.solution[:2] = IGNORE
    assert len(known_instances(some)) == TEST_PUZZLES - 2
    found = evaluate(model.reasoner, build_puzzle(model.config), some, max_steps=3, batch_size=4, ledger=Ledger())
    assert found.puzzles == TEST_PUZZLES - 2 and found.active_by_step == [1.0, 1.0, 1.0]
    assert found.accuracy_by_step == [0.0, 0.0, 1.0] and len(found.early_stops) > 0
    some.solution[:] = IGNORE
    with pytest.raises(UserError, match="no answer to these puzzles is known"):
        known_instances(some)


def test_the_continue_value_is_held_against_the_end(cache) -> None:
    """The oracle's continue logit is 0 after every step, and it is right in the end: 50% off, the last step aside."""
    found, _ = measured(oracle(tiny_config(cache)), has_continue_value=True)
    assert [row for row in found.continue_reliability if row[0]] == [[2 * TEST_PUZZLES, 0.5, 1.0]]
    assert found.continue_calibration_error == 0.5
    assert "The continue value is off by 50.0%" in " ".join(findings(found))
    assert "50.0% of the continue value" in calibration(found).axes[0].get_title()


def test_a_step_that_forgets_shows_in_the_oracle_curve_and_in_the_margin(cache) -> None:
    model = oracle(tiny_config(cache))
    knowing = model.reasoner.step

    def forgetful(inputs, puzzle_id, y, z, step) -> StepOutput:
        """Right at the third step, and the empty puzzle again from the fourth on."""
        output = knowing(inputs, puzzle_id, y, z, step)
        blank = functional.one_hot(inputs, model.reasoner.config.vocab_size).float()
        return output._replace(logits=torch.where(step[:, None, None] >= 3, blank, output.logits))

    model.reasoner.step = forgetful
    found, _ = measured(model, steps=5)
    assert found.accuracy_by_step == [0, 0, 1, 0, 0]
    assert found.oracle_by_step == [0, 0, 1, 1, 1]
    assert found.margin_by_step[1] > 0 and found.margin_by_step[2] > 0 > found.margin_by_step[3]
    assert found.gain_by_step[2] > 0 > found.gain_by_step[3]
    # The fourth step made a right answer wrong; the fifth did nothing on wrong ones.
    assert found.dead_share_by_step[3:] == [1, 1]
    assert found.stuck_share_by_step[3:] == [0, 1]
    assert found.margin_by_step[4] == found.gain_by_step[4] == found.changed_cells_by_step[4] == 0
    assert found.unchanged_share_by_step == [1, 0, 0, 0, 1]
    assert found.dead_from_step == 4


def test_guidance_sweeps_from_the_readout_before_to_the_plain_one_and_beyond(cache) -> None:
    model = oracle(tiny_config(cache))
    found, passes = measured(model)
    assert passes == 9 * TEST_PUZZLES
    assert found.guidance_weights == list(GUIDANCE_WEIGHTS)
    plain = GUIDANCE_WEIGHTS.index(1.0)
    for step in range(3):
        assert found.guided_accuracy_by_step[step][plain] == found.accuracy_by_step[step]
        assert found.guided_cells_by_step[step][plain] == found.cells_by_step[step]
        if step:
            assert found.guided_cells_by_step[step][0] == found.cells_by_step[step - 1]
    # One-hot logits: of the second and third answer the one with the larger share wins.
    assert found.guided_accuracy_by_step[2][1] == 0.0
    assert found.guided_accuracy_by_step[2][3:] == [1.0] * (len(GUIDANCE_WEIGHTS) - 3)


@pytest.mark.parametrize(
    ("accuracies", "enough"),
    [([0.5, 0.8, 0.895, 0.9], 3), ([0.9, 0.9, 0.9, 0.9], 1), ([0.1, 0.2, 0.3, 0.4], 4), ([0.9, 0.2, 0.3, 0.4], 1)],
)
def test_how_many_steps_are_enough(accuracies, enough) -> None:
    assert example(accuracy_by_step=accuracies).enough_steps == enough


@pytest.mark.parametrize(
    ("shares", "first"),
    [([0, 0.6, 0.7, 0.8], 2), ([0.9, 0.6, 0.5, 0.8], 4), ([0.9, 0.9, 0.9, 0.5], None), ([1] * 4, 1)],
)
def test_from_which_step_on_most_are_dead(shares, first) -> None:
    assert example(dead_share_by_step=shares).dead_from_step == first


def test_findings_in_words() -> None:
    found = example(
        accuracy_by_step=[0.5, 0.88, 0.896, 0.9],
        oracle_by_step=[0.5, 0.88, 0.91, 0.92],
        dead_share_by_step=[0.0, 0.6, 0.8, 0.6],
        stuck_share_by_step=[0.0, 0.0, 0.1, 0.1],
        guided_accuracy_by_step=[[0.5] * 3] * 3 + [[0.8, 0.9, 0.96]],
    )
    stopping, lost, dead, guidance, *_ = findings(found)
    assert "9 of the 12 network passes would have sufficed" in stopping and "25% of the compute" in stopping
    assert "at most 2.0 points" in lost and "no accuracy" in lost
    assert "From step 2 on every step is dead" in dead and "50% of the network passes, 10% of them" in dead
    assert "w = 2, wins 6.0 points" in guidance and "more than two standard errors" in guidance
    within = replace(found, guided_accuracy_by_step=[[0.5] * 3] * 3 + [[0.8, 0.9, 0.905]])
    assert "too little to say that guidance helps" in findings(within)[3]
    none = replace(found, guided_accuracy_by_step=[[0.5] * 3] * 3 + [[0.9, 0.9, 0.9]])
    assert "No weight" in findings(none)[3]
    harm = replace(found, accuracy_by_step=[0.5, 0.97, 0.92, 0.9])
    assert "accuracy is highest after step 2 (97.0%) and falls by 7.0 points" in findings(harm)[0]
    every = replace(found, accuracy_by_step=[0.2, 0.4, 0.6, 0.9], dead_share_by_step=[0.0, 0.7, 0.1, 0.2])
    assert "Every step counts" in findings(every)[0]
    assert "improves the policy on 80%" in findings(every)[2] and "on most puzzles: step 2" in findings(every)[2]


def test_the_report_has_a_row_a_step() -> None:
    page = report(example(), checkpoint="runs/x/checkpoint/model.pt", puzzle="sudoku-4x4")
    rows = [line for line in page.splitlines() if line.startswith("| ") and line[2].isdigit()]
    assert [row.split("|")[1].strip() for row in rows] == ["1", "2", "3", "4"]
    assert len({line.count("|") for line in page.splitlines() if line.startswith("|")}) == 1


def test_the_improvement_figure_shows_every_value() -> None:
    figure = improvement([3.0, 0.1, -0.02], [0.0, 0.5, 1.0], stuck_shares=[0.0, 0.25, 0.25])
    left, right = figure.axes
    (mean,) = [line for line in left.lines if line.get_label() == "mean"]
    assert list(mean.get_ydata()) == [3.0, 0.1, -0.02]
    low, high = left.get_ylim()
    assert low < -0.02 and high > 3.0
    heights = [[bar.get_height() for bar in group] for group in right.containers]
    assert heights == [[0.0, 0.25, 0.75], [0.0, 0.25, 0.25]]
    assert [text.get_text() for text in right.texts] == ["0%", "50%", "100%"]


def run(*arguments: object) -> None:
    cli.run_program(lambda: program.main([str(argument) for argument in arguments]))


def test_the_program_leaves_report_figures_and_numbers(capsys, run_dir, tmp_path) -> None:
    run(run_dir, "--puzzles", 4, "--steps", 2, "--out", tmp_path / "a" / "b", "--json", tmp_path / "found.json")
    out = tmp_path / "a" / "b"
    found = json.loads((tmp_path / "found.json").read_text())
    assert found == json.loads((out / "analysis.json").read_text())
    assert (found["puzzles"], found["steps"], found["passes_by_step"]) == (4, 2, [3, 6])
    page = (out / "report.md").read_text()
    for name in ("stopping", "improvement", "movement", "guidance"):
        assert f"({name}.png)" in page
        assert (out / f"{name}.png").stat().st_size > 10_000
    shown = " ".join(capsys.readouterr().out.split())
    assert "Dead compute." in shown and "report.md" in shown


def test_one_step_is_enough_for_everything(capsys, run_dir, tmp_path) -> None:
    run(run_dir, "--steps", 1, "--out", tmp_path, "--json", "-")
    captured = capsys.readouterr()
    assert json.loads(captured.out)["steps"] == 1
    assert "a single step" in captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--puzzles", 7], "the test split of sudoku-4x4 has 6 puzzles"),
        (["--steps", 0], "--steps must be at least 1"),
        (["--config", "sudoku-4x4"], "knows its puzzle"),
        (["network.cycles=2"], "network.cycles is settled by training"),
        (["--outt", "x"], "did you mean '--out'"),
    ],
)
def test_mistakes_are_told_in_one_line(capsys, run_dir, arguments, message) -> None:
    with pytest.raises(SystemExit) as exit:
        run(run_dir, *arguments)
    captured = capsys.readouterr()
    assert (exit.value.code, captured.out, captured.err.count("\n")) == (2, "", 1)
    assert message in captured.err


def test_a_folder_that_cannot_be_made(capsys, run_dir, tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit):
        run(run_dir, "--out", tmp_path / "file")
    assert "cannot make the folder" in capsys.readouterr().err


def test_evaluations_in_training_report_the_same_numbers(cache) -> None:
    run = assemble(tiny_config(cache, "tracking.enabled=false", "collector.num_envs=2"))
    learn(run, batches=1)
    found = measure(run, "test")
    metrics = evaluation_metrics(found, run.spent, baseline=336)
    assert metrics["passes/dead_share"] == pytest.approx(sum(found.dead_share_by_step) / 3)
    figures = result_figures(run, found, None)
    assert "improvement_by_step" in figures
    labels = [axes.get_xlabel() for axes in figures["trajectory"].axes if axes.axison]
    assert all("margin" in label for label in labels[1:])
