"""The evaluation program: what it measures, and what it refuses."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from programs import Program
from tiny_models import TEST_PUZZLES, oracle, save_untrained, tiny_config

from latent_rl.agents import RULES
from latent_rl.evaluate import main
from latent_rl.measuring import stopping_rule
from latent_rl.measuring.evaluation import evaluate
from latent_rl.measuring.ledger import Ledger
from latent_rl.training.parts import build_puzzle


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory, cache):
    run_dir = tmp_path_factory.mktemp("run")
    save_untrained(run_dir, tiny_config(cache))
    return run_dir


@pytest.fixture
def known(monkeypatch, cache):
    model = oracle(tiny_config(cache))
    monkeypatch.setattr("latent_rl.storage.load_model", lambda path, device, **settings: model)
    return model


program = Program(main)


def test_a_model_that_is_right_at_the_third_step(capsys, known, tmp_path) -> None:
    program("anything", "--json", tmp_path / "found.json", "--device", "cpu", "evaluation.batch_size=4")
    found = json.loads((tmp_path / "found.json").read_text())
    test = build_puzzle(known.config).instances("test")
    assert found["eval_puzzles"] == TEST_PUZZLES
    assert found["accuracy_by_step"] == found["solved_by_step"] == [0.0, 0.0, 1.0]
    assert found["cells_by_step"][0] == pytest.approx(float((test.inputs == test.solution).float().mean()))
    assert found["cells_by_step"][0] < found["cells_by_step"][1] < found["cells_by_step"][2] == 1.0
    assert found["eval_passes_per_puzzle"] == 9
    assert found["savings_vs_trm"] == pytest.approx(336 / 9)
    text = " ".join(capsys.readouterr().out.split())
    assert "100.0% exact, 100.0% solved with 9 network passes a puzzle: 37.3x fewer than TRM's 336" in text


def test_puzzles_to_choose_by_are_others_than_those_to_report_on(capsys, known) -> None:
    validation = build_puzzle(known.config).instances("validation")
    known.reasoner.known = validation
    program("anything", "--split", "validation", "--puzzles", 5, "--json", "-")
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert (found["split"], found["eval_puzzles"], found["exact_accuracy"]) == ("validation", 5, 1.0)
    assert "5 validation puzzles" in captured.err
    program("anything", "--json", "-")
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert (found["split"], found["eval_puzzles"], found["exact_accuracy"]) == ("test", TEST_PUZZLES, 0.0)
    assert f"{TEST_PUZZLES} test puzzles" in captured.err


def test_without_validation_puzzles_nothing_takes_their_place(capsys, run_dir) -> None:
    message = program.mistake(capsys, run_dir, "--split", "validation", "env.options.validation=0")
    assert "sudoku-4x4 has no validation split here, and nothing is chosen on test puzzles" in message


def test_accuracies_by_kind(capsys, known) -> None:
    program("anything", "--by", "blanks", "--json", "-", "--puzzles", 5)
    captured = capsys.readouterr()
    kinds = json.loads(captured.out)["by"]["blanks"]
    blanks = (build_puzzle(known.config).instances("test").inputs[:5] == 1).sum(-1)
    assert {kind["name"]: kind["puzzles"] for kind in kinds} == dict(Counter(map(str, blanks.tolist())))
    assert all(kind["exact_accuracy"] == kind["solved_rate"] == 1.0 for kind in kinds)
    assert "by blanks" in captured.err
    assert "of these puzzles is known: blanks" in program.mistake(capsys, "anything", "--by", "rating")
    assert "leave out the options of search" in program.mistake(
        capsys, "anything", "--by", "blanks", "--trajectories", 2
    )


def test_steps_and_puzzles_can_be_chosen(capsys, known) -> None:
    program("anything", "--steps", 5, "--puzzles", 2, "--json", "-", "baseline_passes_per_puzzle=30")
    captured = capsys.readouterr()
    found = json.loads(captured.out)  # nothing but JSON on standard output
    assert "network passes" in captured.err
    assert found["eval_puzzles"] == 2
    assert found["accuracy_by_step"] == [0.0, 0.0, 1.0, 1.0, 1.0]
    assert found["eval_passes_per_puzzle"] == 15
    assert found["savings_vs_trm"] == 2


def test_an_untrained_checkpoint_from_disk_on_more_test_puzzles(capsys, run_dir) -> None:
    program(run_dir, "--json", "-", "env.options.test=8")
    found = json.loads(capsys.readouterr().out)
    assert found["eval_puzzles"] == 8
    assert found["exact_accuracy"] == 0.0


def test_test_puzzles_that_the_model_was_trained_on_are_refused(capsys, run_dir) -> None:
    # The same seed with the split moved: what was the training set is now drawn as test puzzles.
    message = program.mistake(capsys, run_dir, "env.options.train=2", "env.options.test=24")
    assert "training and test set share" in message and "was trained on" in message


def found_with(capsys, *arguments: object) -> dict:
    program("anything", "--json", "-", "--steps", 5, "evaluation.batch_size=4", *arguments)
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "steps", "accuracy"),
    [
        ([], 5, 1.0),
        (["--halt", "never"], 5, 1.0),
        (["--halt", "rule"], 3, 1.0),
        (["--halt", "confident"], 3, 1.0),
        (["--halt", "confident", "--halt-threshold", 0.95], 4, 1.0),
        (["--halt", "agree"], 1, 0.0),  # the oracle first says the puzzle again
    ],
)
def test_stopping_rules_save_the_passes_that_the_network_counts(capsys, known, arguments, steps, accuracy) -> None:
    counted = []
    known.reasoner.network.register_forward_hook(lambda module, args, output: counted.append(len(output)))
    found = found_with(capsys, *arguments)
    assert sum(counted) == TEST_PUZZLES * steps * 3
    assert found["eval_passes_per_puzzle"] == steps * 3
    assert found["passes_by_step"] == [3 * min(step, steps) for step in range(1, 6)]
    assert found["active_by_step"] == [1.0] * steps + [0.0] * (5 - steps)
    # An answer stands as it was when the puzzle was left alone.
    assert found["accuracy_by_step"] == [0.0, 0.0, accuracy, accuracy, accuracy]
    assert found["halting"] == (arguments[1] if arguments else "never")
    assert found["margin_by_step"][steps:] == [0.0] * (5 - steps)


def test_the_rule_is_named_beside_its_passes(capsys, known) -> None:
    program("anything", "--steps", 5, "--halt", "rule")
    text = " ".join(capsys.readouterr().out.split())
    assert "stopping rule rule: the puzzle's own rule confirms the answer; 3.00 steps a puzzle" in text
    assert "100.0% exact, 100.0% solved with 9 network passes a puzzle" in text


def test_puzzles_solved_in_their_inputs_take_one_step(capsys, known) -> None:
    test = build_puzzle(known.config).instances("test")
    solved = type(test).of(test.solution, test.solution)
    ledger = Ledger()
    ledger.watch(known.reasoner.network)
    known.reasoner.known = solved
    for rule in ("rule", "agree"):
        found = evaluate(
            known.reasoner,
            build_puzzle(known.config),
            solved,
            max_steps=5,
            batch_size=4,
            ledger=ledger,
            halting=stopping_rule(rule, known, build_puzzle(known.config)),
        )
        assert found.passes_per_puzzle == 3 and found.exact_accuracy == 1.0


def test_a_guided_readout_costs_nothing(capsys, known) -> None:
    reference = found_with(capsys, "--guidance", 0)
    assert reference["eval_passes_per_puzzle"] == 15
    # At weight 0 the answer is the one before the step: the oracle's, a step late.
    assert reference["accuracy_by_step"] == [0.0, 0.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("arguments", "trajectories", "steps"),
    [
        (["--trajectories", 1], 1, 5),
        (["--trajectories", 3, "--choose", "vote"], 3, 5),
        (["--trajectories", 3, "--choose", "rule", "--halt", "rule"], 3, 3),
        # One trajectory is confirmed, or sure: nothing is added.
        (["--budget-passes", 200, "--choose", "rule"], 1, 5),
        (["--budget-passes", 200], 1, 5),
        # Never sure enough: 33 steps are paid for, trajectories have 5.
        (["--budget-passes", 100, "--enough", 1], 6, 5),
        (["--budget-passes", 100, "--enough", 1, "--trajectories", 2], 2, 5),
    ],
)
def test_a_search_spends_the_passes_that_the_network_counts(capsys, known, arguments, trajectories, steps) -> None:
    counted = []
    known.reasoner.network.register_forward_hook(lambda module, args, output: counted.append(len(output)))
    found = found_with(capsys, *arguments)
    assert sum(counted) == TEST_PUZZLES * trajectories * steps * 3
    assert found["eval_passes_per_puzzle"] == found["most_passes"] == trajectories * steps * 3
    assert found["trajectories_per_puzzle"] == trajectories and found["steps_per_puzzle"] == trajectories * steps
    assert found["exact_accuracy"] == found["any_right"] == 1.0
    assert found["savings_vs_trm"] == pytest.approx(336 / found["eval_passes_per_puzzle"])


def test_a_budget_that_ends_before_the_answer(capsys, known) -> None:
    program("anything", "--budget-passes", 8, "--choose", "rule")
    text = " ".join(capsys.readouterr().out.split())
    assert "0.0% exact, 0.0% solved with 6 network passes a puzzle" in text
    assert "1.00 trajectories and 2.00 steps a puzzle, at most 6 passes" in text


def test_another_puzzle_is_refused_and_both_are_named(capsys, run_dir) -> None:
    shape = program.mistake(capsys, run_dir, "env.options.size=6")
    assert "sudoku-4x4 (latent_rl/Sudoku-v0, 4 x 4" in shape and "sudoku-6x6 (latent_rl/Sudoku-v0, 6 x 6" in shape
    id = program.mistake(capsys, run_dir, "env.id=latent_rl/NQueens-v0")
    assert "sudoku-4x4" in id and "latent_rl/NQueens-v0" in id


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["network.width=32"], "network.width is settled by training"),
        (["env.max_steps=9"], "env.max_steps is settled by training"),
        (["env.opions.size=6"], "unknown config key 'env.opions'; did you mean 'env.options'?"),
        (["env.options.siez=4"], "did you mean 'size'?"),
        (["hello"], "not of the form key=value"),
        (["--puzzles", 0], "--puzzles must be at least 1"),
        (["--puzzles", "9" * 400], "--puzzles must be at most 1000000000, got 999"),
        (["--puzzles", 7], "the test split of sudoku-4x4 has 6 puzzles"),
        (["--puzzels", 7], "did you mean '--puzzles'?"),
        (["--steps", "many"], "invalid int value"),
        (["--halt="], "unknown halting rule ''"),
        (["--halt", "soon"], "unknown halting rule 'soon'; known: never, agree"),
        (["--halt", "confident", "loss.terms.solved.weight=0"], "loss.terms.solved.weight is settled by training"),
        (["--halt-threshold", "1"], "--halt-threshold is a probability between 0 and 1, got 1"),
        (["--halt", "agree", "--halt-threshold", 0.9], "--halt-threshold: the rule agree has none; confident and"),
        (["--halt-threshold", 0.9], "--halt-threshold: the rule never has none"),
        (["--enough", 0.8, "--trajectories", 2], "--enough is for a search by --budget-passes that chooses by value"),
        (["--enough", 0.8, "--budget-passes", 9, "--choose", "rule"], "--enough is for a search by --budget-passes"),
        (["--budget-passes", 2], "--budget-passes 2 does not pay for one recursion step of 3 network passes"),
        (["--trajectories", 0], "--trajectories must be at least 1, got 0"),
        (["--noise", "-1"], "--noise must be at least 0, got -1"),
        (["--enough", 2], "--enough is a probability of at most 1, got 2"),
        (["--choose", "luck"], "invalid choice: 'luck'"),
        (["--choose", "rule"], "--choose is for a search: add --trajectories or --budget-passes"),
        (["--sheet", "sheet.png"], "--sheet draws the answers that views of test inputs have voted for"),
        (["--guidance", "-1"], "--guidance is a weight of 0 or more, got -1"),
        (["--device", "cuda:99"], "device 'cuda:99' is not available here"),
    ],
)
def test_mistakes_are_told_in_one_line(capsys, run_dir, arguments, message) -> None:
    assert message in program.mistake(capsys, run_dir, *arguments)


def test_confidence_that_was_never_trained_stops_nothing(capsys, tmp_path, cache) -> None:
    save_untrained(tmp_path, tiny_config(cache, "loss.terms.solved.weight=0"))
    assert "the value head, which was not trained" in program.mistake(capsys, tmp_path, "--halt", "confident")
    assert "use rule or vote" in program.mistake(capsys, tmp_path, "--trajectories", 2)


def test_missing_and_damaged_checkpoints(capsys, tmp_path) -> None:
    assert "does not exist" in program.mistake(capsys, tmp_path / "nothing")
    assert "holds no checkpoint" in program.mistake(capsys, tmp_path)
    (tmp_path / "model.pt").write_bytes(b"PK nonsense")
    assert "damaged" in program.mistake(capsys, tmp_path)


def test_progress_reports_every_puzzle_once(known) -> None:
    puzzle, ledger, reported = build_puzzle(known.config), Ledger(), []
    ledger.watch(known.reasoner.network)
    test = puzzle.instances("test")
    evaluate(known.reasoner, puzzle, test, max_steps=1, batch_size=4, ledger=ledger, on_progress=reported.append)
    assert reported == [4, 2]


def test_the_help_names_every_halting_rule(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert all(name in shown for name in RULES)
