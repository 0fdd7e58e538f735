"""Ids, plug-ins, and errors that say what to do."""

from __future__ import annotations

import inspect
import logging
import sys
import types
import warnings
from importlib.metadata import EntryPoint
from pathlib import Path

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env
from toy_puzzle import Backwards

from latent_rl.envs import (
    CandidateEnv,
    CandidateVectorEnv,
    LatentRecursionEnv,
    LatentRecursionVectorEnv,
    Puzzle,
    PuzzleError,
    check_puzzle,
    make_puzzle,
    puzzle_from_id,
    register_puzzle,
    registered_ids,
    registration,
)
from latent_rl.envs.making import RESERVED


@pytest.fixture(autouse=True)
def _registry():
    """Whatever a test registers is gone afterwards."""
    before = dict(gymnasium.registry)
    yield
    gymnasium.registry.clear()
    gymnasium.registry.update(before)


@pytest.mark.parametrize("puzzle", [Backwards, "toy_puzzle:Backwards"])
def test_a_registered_puzzle_has_both_faces(puzzle):
    register_puzzle("toys/Backwards-v0", puzzle)
    single = gymnasium.make("toys/Backwards-v0", width=8, length=3, max_steps=4)
    assert isinstance(single.unwrapped, LatentRecursionEnv)
    assert single.observation_space["y"].shape == (4, 8)
    batch = gymnasium.make_vec("toys/Backwards-v0", num_envs=5, width=8, length=3)
    assert isinstance(batch, LatentRecursionVectorEnv)
    assert batch.observation_space["y"].shape == (5, 4, 8)
    explicit = gymnasium.make_vec("toys/Backwards-v0", num_envs=2, vectorization_mode="vector_entry_point")
    assert explicit.num_envs == 2
    assert isinstance(puzzle_from_id("toys/Backwards-v0", length=3), Backwards)
    assert "toys/Backwards-v0" in registered_ids()


def test_an_id_stands_wherever_a_puzzle_is_asked_for():
    batch = LatentRecursionVectorEnv("latent_rl/Sudoku-v0", num_envs=2, size=4, train=8, test=8, width=8)
    assert batch.puzzle.name == "sudoku-4x4"
    register_puzzle("toys/Backwards-v0", "toy_puzzle:Backwards")
    for where in ("toys/Backwards-v0", "toy_puzzle:toys/Backwards-v0", "toy_puzzle:Backwards"):
        assert LatentRecursionEnv(where, length=3).puzzle.name == make_puzzle(where, length=3).name == "backwards-3"
    with pytest.raises(PuzzleError, match="no puzzle is registered as 'toys/Backward-v0'; did you mean"):
        LatentRecursionEnv("toys/Backward-v0")


def test_the_built_in_ids():
    assert set(registration.BUILT_IN) <= set(registered_ids())


def test_an_id_may_name_its_module(monkeypatch):
    module = types.ModuleType("plugged_in")
    monkeypatch.setitem(sys.modules, "plugged_in", module)
    register_puzzle("Plugged-v0", Backwards)
    assert puzzle_from_id("plugged_in:Plugged-v0", train=3).instances("train").inputs.shape == (3, 4)
    with pytest.raises(PuzzleError, match="plugged_in:Plugged-v0: Backwards has no option 'size'"):
        puzzle_from_id("plugged_in:Plugged-v0", size=3)
    with pytest.raises(PuzzleError, match="no_such_module:Plugged-v0: No module named 'no_such_module'"):
        puzzle_from_id("no_such_module:Plugged-v0")


@pytest.mark.parametrize(
    ("id", "message"),
    [
        ("latent_rl/Sodoku-v0", "no puzzle is registered as 'latent_rl/Sodoku-v0'; did you mean 'latent_rl/Sudoku-v0'"),
        ("CartPole-v1", "no puzzle is registered as 'CartPole-v1'; known: latent_rl/Arc-v0"),
    ],
)
def test_an_unknown_id_names_the_nearest(id, message):
    with pytest.raises(PuzzleError, match=message):
        puzzle_from_id(id)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lenght": 3}, "Backwards has no option 'lenght'; did you mean 'length'.* known: train, test, seed, length"),
        ({"whatever": 3}, "Backwards has no option 'whatever'; known: train"),
    ],
)
def test_an_unknown_option_names_the_nearest(options, message):
    with pytest.raises(PuzzleError, match=message):
        make_puzzle(Backwards, **options)
    with pytest.raises(PuzzleError, match=message):
        LatentRecursionEnv(Backwards, **options)


def test_other_mistakes_are_named():
    def no_puzzle():
        return {}

    def needs(size):
        return Backwards(length=size)

    with pytest.raises(PuzzleError, match="backwards-4 is made already and takes no options, got length"):
        make_puzzle(Backwards(), length=3)
    with pytest.raises(PuzzleError, match="no_puzzle made a dict, which is no Puzzle"):
        make_puzzle(no_puzzle)
    with pytest.raises(PuzzleError, match="the module toy_puzzle has no 'Forwards'"):
        make_puzzle("toy_puzzle:Forwards")
    with pytest.raises(PuzzleError, match="write 'module:Class'"):
        register_puzzle("Bad-v0", "toy_puzzle")
    with pytest.raises(PuzzleError, match="expected a Puzzle class"):
        register_puzzle("Bad-v0", Backwards())
    with pytest.raises(PuzzleError, match="needs needs the option 'size'"):
        make_puzzle(needs)


def test_an_option_that_the_environment_would_take_is_refused():
    class Wide(Backwards):
        def __init__(self, width: int = 4) -> None:
            super().__init__(length=width)

    register_puzzle("toys/Wide-v0", Wide)
    for make in (make_puzzle, lambda wide: LatentRecursionEnv(wide, width=3), lambda _: puzzle_from_id("toys/Wide-v0")):
        with pytest.raises(PuzzleError, match="Wide: 'width' is an option of the environment: give it another name"):
            make(Wide)


def test_the_reserved_options_are_those_that_the_environments_take():
    taken = set()
    for face in (LatentRecursionEnv, LatentRecursionVectorEnv, CandidateEnv, CandidateVectorEnv):
        taken |= {name for name, one in inspect.signature(face).parameters.items() if one.kind is not one.VAR_KEYWORD}
    assert taken == set(RESERVED)


@pytest.mark.parametrize("missing", ["grid_shape", "symbols", "name"])
def test_a_puzzle_that_lacks_what_one_needs_is_one_line(missing):
    attributes = {"grid_shape": (1, 2), "symbols": "_a", "name": "bare", "is_solved": lambda *_: None}
    del attributes[missing]
    made = type("Bare", (Puzzle,), attributes)
    with pytest.raises(PuzzleError, match=f"Bare made a puzzle without '{missing}'; check_puzzle says"):
        make_puzzle(made)


def test_installed_packages_add_puzzles_through_entry_points(monkeypatch, caplog):
    group = registration.ENTRY_POINT_GROUP
    declared = [
        EntryPoint("Installed-v0", "toy_puzzle:Backwards", group),
        EntryPoint("latent_rl/Sudoku-v0", "toy_puzzle:Backwards", group),
        EntryPoint("Faulty-v0", "toy_puzzle", group),
    ]
    monkeypatch.setattr(registration, "entry_points", lambda group: declared)
    with caplog.at_level(logging.WARNING):
        registration.register_entry_points()
    assert isinstance(puzzle_from_id("Installed-v0"), Backwards)
    assert gymnasium.registry["latent_rl/Sudoku-v0"].kwargs["puzzle"] == "latent_rl.envs.sudoku:Sudoku"
    assert "Faulty-v0" not in gymnasium.registry
    taken, faulty = (record.getMessage() for record in caplog.records)
    assert "latent_rl/Sudoku-v0" in taken and "taken" in taken
    assert "Faulty-v0" in faulty and "module:Class" in faulty


SMALL = {
    "latent_rl/Sudoku-v0": {"size": 4, "train": 64, "test": 16},
    "latent_rl/NQueens-v0": {"size": 6, "train": 64, "test": 16},
    "latent_rl/Maze-v0": {"size": 6, "train": 64, "test": 16},
    "latent_rl/Arc-v0": {"side": 8, "augmentations": 7},
    "latent_rl/Grid-v0": {"file": Path(__file__).parents[1] / "data" / "grid.csv", "test": 4},
}
"""Options that make every built-in puzzle small; a new built-in must be added here."""


@pytest.mark.parametrize("id", sorted(registration.BUILT_IN))
def test_built_in_puzzles_conform(id):
    check_puzzle(puzzle_from_id(id, **SMALL[id]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(id, disable_env_checker=True, **SMALL[id]).unwrapped)
    batch = gymnasium.make_vec(id, num_envs=3, split="test", **SMALL[id])
    _, infos = batch.reset(seed=0)
    action = {**batch.action_space.sample(), "answer": infos["solution"], "halt": [0, 0, 0]}
    infos = batch.step(action)[4]
    assert infos["solved"].all() and infos["quality"].tolist() == [1.0] * 3
