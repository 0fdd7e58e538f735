"""Teaching a frozen model when to stop: what is stored, what is written, and that every pass is counted."""

from __future__ import annotations

import json

import pytest
import torch
from official_puzzle import arguments
from programs import Program
from tiny_models import TEST_PUZZLES, oracle, save_untrained, tiny_config

from latent_rl import evaluate, halt, solve
from latent_rl.agents import HaltingPolicy, LearnedHalt
from latent_rl.envs import Reward
from latent_rl.envs.mdp.rewards import Standing
from latent_rl.measuring import Choice, Point, average
from latent_rl.measuring.evaluation import evaluate as measure
from latent_rl.measuring.ledger import Ledger
from latent_rl.reporting.tradeoff import choice_in_words, tradeoff
from latent_rl.storage import hold
from latent_rl.storage.checkpoint import load_model, save_model
from latent_rl.training.halting import learn_to_halt, store_steps
from latent_rl.training.parts import build_puzzle

SMALL = ["halting.ppo={puzzles: 8, iterations: 2, hidden: 8}", "evaluation.batch_size=4"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory, cache):
    run_dir = tmp_path_factory.mktemp("runs") / "plain"
    save_untrained(run_dir, tiny_config(cache, "loss.terms.solved.weight=0.5"))
    return run_dir


teach, measure_again, answer = Program(halt.main), Program(evaluate.main), Program(solve.main)


def test_a_frozen_model_learns_to_stop_and_stops_by_itself_from_then_on(capsys, run_dir) -> None:
    out = run_dir.parent / "taught"
    teach(run_dir, "--out", out, "--pass-costs", 0.5, 0.001, "--json", "-", "--device", "cpu", *SMALL)
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads((out / "tradeoff.json").read_text())
    assert (out / "tradeoff.png").read_bytes().startswith(b"\x89PNG")
    assert found["train_passes_total"] == 8 * 3 * 3  # puzzles, steps, passes a step: none for learning
    rules = [point["rule"] for point in found["points"]]
    assert rules == ["learned"] * 2 + ["never"] * 3 + ["agree", "rule"] + ["confident"] * 4
    assert [point["setting"] for point in found["points"][:2]] == [0.5, 0.001]
    assert [point["passes_per_puzzle"] for point in found["points"] if point["rule"] == "never"] == [3, 6, 9]

    before, after = load_model(run_dir), load_model(out)
    assert before.halting is None and after.halting.hidden == 8
    assert after.config.halting.rule == "learned" and after.config.env.reward.pass_cost == 0.5
    weights = before.reasoner.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in after.reasoner.state_dict().items())

    measure_again(out, "--json", "-", "--device", "cpu")
    measured = json.loads(capsys.readouterr().out)
    assert measured["halting"] == "learned"
    assert measured["eval_passes_per_puzzle"] == found["points"][0]["passes_per_puzzle"]
    measure_again(out, "--json", "-", "--device", "cpu", "--halt", "never")
    assert json.loads(capsys.readouterr().out)["eval_passes_per_puzzle"] == 9


def test_an_official_checkpoint_can_be_taught(capsys, tmp_path) -> None:
    out = tmp_path / "taught"
    teach(*arguments("dis_att"), "--out", out, "--json", "-", *SMALL)
    found = json.loads(capsys.readouterr().out)
    # Its q head was never trained, so its stop is not among the rules.
    assert {point["rule"] for point in found["points"]} == {"learned", "never", "agree", "rule"}
    model = load_model(out)
    assert not model.official and model.halting is not None and model.config.env.max_steps == 6


def test_what_is_left_of_an_official_checkpoint_is_measured_as_its_last_line_says(capsys, tmp_path) -> None:
    """Its preset's `auto`, which no training has settled, does not go with it."""
    out = tmp_path / "taught"
    named = arguments("dis_att", "precision=auto", "compile=auto")
    teach(*named, "--out", out, *SMALL)
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("measure it"))
    measure_again(*line.partition("latent_rl.evaluate ")[2].split(), "--device", "cpu")
    assert "learned" in capsys.readouterr().out
    assert load_model(out).config.precision == "float32"


def test_it_is_taught_for_the_steps_that_it_is_used_with(capsys, tmp_path, cache) -> None:
    longer = tmp_path / "longer"
    save_untrained(longer, tiny_config(cache, "evaluation.steps=5"))
    teach(longer, "--out", tmp_path / "taught", "--pass-costs", 0.5, "--json", "-", "--device", "cpu", *SMALL)
    points = json.loads(capsys.readouterr().out)["points"]
    assert [point["setting"] for point in points if point["rule"] == "never"] == [1, 2, 3, 4, 5]
    assert load_model(tmp_path / "taught").config.evaluation_steps == 5
    teach(longer, "--out", tmp_path / "short", "--steps", 2, "--device", "cpu", *SMALL)
    assert load_model(tmp_path / "short").config.evaluation_steps == 2


def test_models_that_cannot_be_averaged_are_refused_before_anything_is_taught(capsys, run_dir, tmp_path, cache) -> None:
    for name, settings in {"longer": ["env.max_steps=4"], "headless": ["loss.terms.solved=null"]}.items():
        save_untrained(tmp_path / name, tiny_config(cache, "loss.terms.solved.weight=0.5", *settings))
    both = [run_dir, tmp_path / "longer", "--out", tmp_path / "both", *SMALL]
    assert "the models differ in recursion steps (3, 4): they cannot be averaged" in teach.mistake(capsys, *both)
    both[1] = tmp_path / "headless"
    assert "differ in trained value heads (1, 0)" in teach.mistake(capsys, *both)
    assert not (tmp_path / "both").exists()


class Forced(LearnedHalt):
    """A policy that is sure of one choice whatever it sees."""

    def __init__(self, width: int, bias: float) -> None:
        policy = HaltingPolicy(width)
        torch.nn.init.constant_(policy.actor[-1].bias, bias)
        super().__init__(policy)


@pytest.mark.parametrize(("bias", "steps"), [(-50.0, 3), (50.0, 1)])
def test_policies_that_never_halt_and_that_halt_at_once(cache, bias, steps) -> None:
    model = oracle(tiny_config(cache))
    puzzle, ledger, counted = build_puzzle(model.config), Ledger(), []
    ledger.watch(model.reasoner.network)
    model.reasoner.network.register_forward_hook(lambda module, args, output: counted.append(len(output)))
    found = measure(
        model.reasoner,
        puzzle,
        puzzle.instances("test"),
        max_steps=3,
        batch_size=4,
        ledger=ledger,
        halting=Forced(model.reasoner.config.width, bias),
    )
    assert found.passes_per_puzzle == 3 * steps == sum(counted) / TEST_PUZZLES
    assert found.exact_accuracy == (1.0 if steps == 3 else 0.0)


def test_stored_gains_are_the_environments_rewards_without_the_price(cache) -> None:
    config = tiny_config(cache, *SMALL, "halting.ppo.puzzles=4", "env.reward.pass_cost=0.25")
    model, ledger = oracle(config), Ledger()
    puzzle = build_puzzle(config)
    # The oracle knows the training puzzles, if they come as they are.
    model.reasoner.known = puzzle.instances("train")
    puzzle.augment = lambda instances, generator: instances
    ledger.watch(model.reasoner.network)
    stored = store_steps(model.reasoner, puzzle, config, ledger)
    assert stored.gains.shape == (4, 3) and stored.features.shape[:2] == (4, 3)
    assert stored.passes == 3 and ledger.forward["collect"] == 4 * 3 * 3
    # Right at the third step: nothing, then a part of the cells, then the rest and the bonus.
    assert torch.equal(stored.gains[:, 0], torch.zeros(4)) and (stored.gains[:, 1] > 0).all()
    assert (stored.gains[:, 2] > 1).all()
    halves = puzzle.quality(known_half(model.reasoner.known), model.reasoner.known.solution)
    whole = Reward(pass_cost=0.0)
    none, all_of_them = torch.zeros(20), torch.ones(20)
    wanted = whole(Standing(halves, halves > 1, all_of_them), Standing(all_of_them, all_of_them > 0, none), 3)
    assert all(any(torch.isclose(gain, one) for one in wanted) for gain in stored.gains[:, 2])
    priced = stored.decisions(0.25)["next", "reward"].squeeze(-1)
    assert torch.allclose(priced, stored.gains[:, 1:] - 0.75)


def known_half(known):
    half = torch.arange(known.inputs.shape[1]) < known.inputs.shape[1] // 2
    return torch.where(half, known.solution, known.inputs)


def test_the_price_decides_whether_the_oracle_is_heard_out(cache) -> None:
    config = tiny_config(cache, *SMALL, "halting.ppo={puzzles: 16, iterations: 10, minibatch: 64, lr: 0.01}")
    model, ledger = oracle(config), Ledger()
    puzzle = build_puzzle(config)
    model.reasoner.known = puzzle.instances("train")
    puzzle.augment = lambda instances, generator: instances
    ledger.watch(model.reasoner.network)
    stored = store_steps(model.reasoner, puzzle, config, ledger)
    for cost, wanted in ((0.001, 0.0), (1.0, 1.0)):
        policy, _ = learn_to_halt(model.reasoner, stored, config, cost)
        halt_at = policy.probability(stored.features[:, :-1]) > 0.5
        assert float(halt_at.float().mean()) == pytest.approx(wanted, abs=0.1)


def test_a_solution_stops_by_the_models_own_policy(capsys, tmp_path, cache) -> None:
    config = tiny_config(cache)
    model = load_model(save_untrained(tmp_path, config).parent)
    save_model(tmp_path / "checkpoint", model.reasoner, config, 0, halting=Forced(16, 50.0).policy)
    answer(tmp_path, "321...32.12.23.1")
    assert "stopped after step 1 of 3: the model's halting policy says so" in capsys.readouterr().out


def test_mistakes_are_told_in_one_line(capsys, run_dir, tmp_path) -> None:
    assert "no halting policy to stop by" in measure_again.mistake(capsys, run_dir, "--halt", "learned")
    assert "--pass-costs must be at least 0, got -1" in teach.mistake(capsys, run_dir, "--pass-costs", "-1")
    assert "--pass-costs: 'cheap' is no number" in teach.mistake(capsys, run_dir, "--pass-costs", "cheap")
    assert "name at least one CHECKPOINT" in teach.mistake(capsys, "evaluation.batch_size=4")
    assert "nothing to decide" in teach.mistake(capsys, run_dir, "--steps", 1)
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "model.pt").touch()
    assert "holds a model already" in teach.mistake(capsys, run_dir, "--out", tmp_path)


def test_a_folder_that_was_left_without_its_model_is_filled(run_dir, tmp_path) -> None:
    (tmp_path / "taught" / "checkpoint").mkdir(parents=True)
    teach(run_dir, "--out", tmp_path / "taught", "--pass-costs", "1e-3", *SMALL)
    assert load_model(tmp_path / "taught").halting is not None


def test_what_is_refused_leaves_no_folder(capsys, run_dir, tmp_path) -> None:
    line = teach.mistake(capsys, run_dir, "--puzzles", TEST_PUZZLES + 1, "--out", tmp_path / "taught", *SMALL)
    assert "the test split of sudoku-4x4 has 6 puzzles" in line
    assert not (tmp_path / "taught").exists()


def test_a_folder_in_use_is_refused(capsys, run_dir, tmp_path) -> None:
    out = tmp_path / "taught"
    with hold(out):
        assert "taught is in use by another program" in teach.mistake(capsys, run_dir, "--out", out, *SMALL)
        assert [path.name for path in out.iterdir()] == [".lock"]
    two = [run_dir, run_dir, "--out", tmp_path / "both"]
    with hold(tmp_path / "both" / f"1-{run_dir.name}"):
        assert f"1-{run_dir.name} is in use by another program" in teach.mistake(capsys, *two, *SMALL)
    assert not out.exists()


@pytest.mark.parametrize("moment", ["latent_rl.training.teaching.learn_to_halt", "latent_rl.reporting.style.save"])
def test_after_an_interruption_the_same_command_makes_all_of_it(moment, run_dir, tmp_path, monkeypatch) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    command = [run_dir, "--pass-costs", 0.5, "--device", "cpu", *SMALL, "--out"]
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as exit:
        patch.setattr(moment, interrupted)
        teach(*command, tmp_path / "stopped")
    assert exit.value.code == 130
    assert not (tmp_path / "stopped" / "checkpoint").exists()
    for name in ("stopped", "straight"):
        teach(*command, tmp_path / name)
    one, other = (load_model(tmp_path / name).halting.state_dict() for name in ("stopped", "straight"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert [path.name for path in sorted((tmp_path / "stopped").iterdir())] == [
        path.name for path in sorted((tmp_path / "straight").iterdir())
    ]


def ways(*accuracies: float) -> list[Point]:
    rules = (("learned", 4), ("never", 3), ("never", 6), ("agree", 7))
    return [
        Point(rule, f"{rule} {passes}", None, 200, accuracy, accuracy, passes / 3, passes)
        for (rule, passes), accuracy in zip(rules, accuracies, strict=True)
    ]


def test_the_figure_has_a_curve_for_every_rule() -> None:
    (axes,) = tradeoff("toy", average([ways(1.0, 0.5, 0.9, 0.9)])).axes
    curves = {bars.get_label(): bars.lines[0].get_xydata().tolist() for bars in axes.containers}
    assert curves["fixed number of steps"] == [[3, 0.5], [6, pytest.approx(0.1)]]
    # No failure is drawn as half a one: there is no zero on a logarithmic axis.
    assert curves["halting policy, one point a price"] == [[4, 0.5 / 200]]
    assert len(curves) == 3


def test_models_are_averaged_way_by_way() -> None:
    found = average([ways(0.9, 0.5, 0.8, 0.7), ways(0.7, 0.5, 0.9, 0.7)])
    assert [point.solved_rate.mean for point in found] == pytest.approx([0.8, 0.5, 0.85, 0.7])
    assert found[0].models == 2 and found[0].solved_rate.low < 0.7 and found[0].passes_per_puzzle.mean == 4
    with pytest.raises(ValueError, match="cannot average learned 4 on 200, never 3 on 200"):
        average([ways(1, 1, 1, 1), ways(1, 1, 1, 1)[1:] + ways(1, 1, 1, 1)[:1]])


def test_the_choice_is_made_on_validation_puzzles_and_reported_on_test_puzzles() -> None:
    # Ways: a policy of 4 passes, fixed 3 and 6, agreement with 7.
    validation, test = ([*average([ways(*solved)])] for solved in ((0.896, 0.5, 0.9, 0.9), (0.7, 0.9, 0.9, 0.95)))
    choice = Choice.of(validation, test)
    assert (choice.policy, choice.best, choice.full) == (0, 0, 2)
    price, best = choice_in_words(choice)
    assert "price: learned 4, on 200 validation puzzles the cheapest within 0.5 points of all steps there" in price
    assert "(89.6% solved, 4 passes; all steps: 90.0% solved, 6 passes)" in price
    assert "on test puzzles 70.0% solved, 4 passes (all steps: 90.0% solved, 6 passes)" in price
    assert best.startswith("of all: learned 4")
    # The other way round, what would look good on test puzzles is not chosen.
    choice = Choice.of(test, validation)
    assert choice.policy is None and choice.best == 1
    assert "no policy is within 0.5 points" in choice_in_words(choice)[0]


def test_several_models_are_taught_and_reported_together(capsys, tmp_path, cache) -> None:
    runs = [tmp_path / "a", tmp_path / "b"]
    for seed, run in enumerate(runs):
        save_untrained(run, tiny_config(cache, "loss.terms.solved.weight=0.5", f"seed={seed}"))
    teach(*runs, "--pass-costs", 0.5, *SMALL, "--json", "-", "--device", "cpu")
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    out = tmp_path / "halt"
    assert found == json.loads((out / "tradeoff.json").read_text())
    assert [model["checkpoint"] for model in found["models"]] == [str(run / "checkpoint/model.pt") for run in runs]
    single = json.loads((out / "b" / "tradeoff.json").read_text())
    assert single == found["models"][1] and load_model(out / "b").halting is not None
    assert found["points"][0]["models"] == 2 and (out / "tradeoff.png").is_file()
    assert "2 models" in captured.err and "stopping rule" in captured.err
