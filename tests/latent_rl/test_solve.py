"""Solving from the command line: reading puzzles, showing steps, and what a mistake is told."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from programs import Program
from tiny_models import oracle, save_untrained, tiny_config

from latent_rl.agents import AgreeHalt, recurse
from latent_rl.config.loading import load_config
from latent_rl.envs import PuzzleError
from latent_rl.envs.renderer import changes
from latent_rl.envs.sudoku.puzzle import Sudoku
from latent_rl.measuring import solve
from latent_rl.measuring.ledger import Ledger
from latent_rl.reporting.boards import as_line, read_puzzles
from latent_rl.solve import main
from latent_rl.training.parts import build_puzzle

SMALL = ["env.max_steps=3", "network.width=16", "network.heads=2", "device=cpu"]
LINE = "321...32.12.23.1"


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
    """Programs load the oracle instead of a checkpoint; returns it."""
    model = oracle(tiny_config(cache))
    monkeypatch.setattr("latent_rl.storage.load_model", lambda path, device, **settings: model)
    return model


program = Program(main)


def test_solve_counts_passes_where_the_network_runs_and_asks_the_rule(known) -> None:
    puzzle = build_puzzle(known.config)
    test = puzzle.instances("test")
    other = Ledger()
    watch = other.watch(known.reasoner.network)
    with other.phase("eval"):
        found = solve(known.reasoner, puzzle, test.inputs, steps=4)
    assert found.passes == [3, 6, 9, 12]
    assert other.forward["eval"] == 12 * len(test)
    assert found.answers.shape == (4, len(test), 16)
    assert (found.answers[2] == test.solution).all()
    assert found.solved.tolist() == [[False] * len(test)] * 2 + [[True] * len(test)] * 2
    assert found.confidence[:, 0].tolist() == pytest.approx([0.1192, 0.5, 0.8808, 0.9820], abs=1e-3)
    watch.remove()
    # `solve` left no hook of its own behind: this pass, outside of every phase, would raise.
    next(recurse(known.reasoner, test.inputs, test.puzzle_id, 1))


def test_a_solved_puzzle_step_by_step(capsys, known, tmp_path) -> None:
    puzzle = build_puzzle(known.config)
    test = puzzle.instances("test")
    line = as_line(puzzle, test.inputs[0])
    program("anything", line, "--json", tmp_path / "out.json", "--png", tmp_path / "steps.png")
    text = capsys.readouterr().out
    blanks = int((test.inputs[0] == 1).sum())
    assert text.count("*") == blanks + text.count("(*)")  # every blank is filled, and marked, exactly once
    assert "step 1: 12% sure (continue value 50%), 3 passes so far, no cell changed" in text
    assert "step 3: 88% sure, 9 passes so far" in text
    assert "solved: the puzzle's own rule confirms the answer, after 9 network passes" in text
    assert "\x1b" not in text  # no colour codes outside of a terminal
    result = json.loads((tmp_path / "out.json").read_text())["results"][0]
    assert result["puzzle"] == line
    assert result["answer"] == as_line(puzzle, test.solution[0])
    assert result["solved"] is True and result["passes"] == 9
    assert [step["solved"] for step in result["steps"]] == [False, False, True]
    assert [step["continue_value"] for step in result["steps"]] == [0.5, 0.5, 0.5]
    assert (tmp_path / "steps.png").read_bytes().startswith(b"\x89PNG")


def test_a_stopping_rule_ends_the_solution_and_saves_its_passes(capsys, known, tmp_path) -> None:
    puzzle = build_puzzle(known.config)
    line = as_line(puzzle, puzzle.instances("test").inputs[0])
    program("anything", line, "--steps", 5, "--halt", "rule", "--json", tmp_path / "out.json")
    assert "stopped after step 3 of 5: the puzzle's own rule confirms the answer" in capsys.readouterr().out
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["halting"] == "rule" and found["results"][0]["passes"] == 9
    assert len(found["results"][0]["steps"]) == 3


def test_a_stopping_rule_takes_one_puzzle_at_a_time(known) -> None:
    puzzle = build_puzzle(known.config)
    with pytest.raises(ValueError, match="one puzzle is solved at a time, got 6"):
        solve(known.reasoner, puzzle, puzzle.instances("test").inputs, 2, halting=AgreeHalt())


def test_several_puzzles_from_standard_input(capsys, monkeypatch, known) -> None:
    puzzle = build_puzzle(known.config)
    lines = [as_line(puzzle, board) for board in puzzle.instances("test").inputs]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines)))
    program("anything", "-", "--json", "-", "--steps", 2)
    captured = capsys.readouterr()
    results = json.loads(captured.out)["results"]  # nothing but JSON on standard output
    assert [result["puzzle"] for result in results] == lines
    assert not any(result["solved"] for result in results)
    assert f"0 of {len(lines)} puzzles solved" in captured.err


def test_margins_need_the_solutions_and_cost_nothing(known) -> None:
    puzzle = build_puzzle(known.config)
    test = puzzle.instances("test")
    plain, informed = (solve(known.reasoner, puzzle, test.inputs, 3, key) for key in (None, test.solution))
    assert plain.margins is None
    assert informed.passes == plain.passes
    assert informed.margins.shape == (3, len(test)) and not informed.margins.requires_grad
    assert (informed.margins[1:] > 0).all()


def test_the_steps_can_be_animated(capsys, known, tmp_path) -> None:
    program("anything", LINE, "--steps", 4, "--gif", tmp_path / "steps.gif")
    with Image.open(tmp_path / "steps.gif") as film:
        assert film.n_frames == 1 + 4
    two = tmp_path / "two.txt"
    two.write_text(f"{LINE}\n{LINE}\n")
    capsys.readouterr()
    assert "--gif draws one puzzle, got 2" in program.mistake(
        capsys, "anything", "--file", two, "--gif", tmp_path / "x.gif"
    )


PLUGGED_IN = """
from rich.text import Text
from toy_puzzle import Backwards

from latent_rl.envs import Renderer, register_puzzle


class Loud(Renderer):
    def text(self, inputs, board, changed):
        return Text(f"LOUD {board.tolist()}\\n")

    def draw(self, axes, inputs, board, solution, changed):
        axes.set_facecolor("#ff00ff")

    def legend(self, known):
        return []


class Shouted(Backwards):
    def __init__(self, **options):
        super().__init__(**options)
        self.renderer = Loud(self)


register_puzzle("Shouted-v0", Shouted)
"""


def test_a_puzzle_that_brings_its_renderer_is_drawn_by_it(capsys, tmp_path, monkeypatch) -> None:
    (tmp_path / "plugged_in.py").write_text(PLUGGED_IN)
    monkeypatch.syspath_prepend(tmp_path)
    save_untrained(tmp_path, load_config("sudoku-4x4", ["env.id=plugged_in:Shouted-v0", *SMALL]))
    figures = ["--png", tmp_path / "steps.png", "--gif", tmp_path / "steps.gif"]
    program(tmp_path, "abcd", "--steps", 2, *figures, "env.id=plugged_in:Shouted-v0")
    assert "LOUD [1, 2, 3, 4]" in capsys.readouterr().out
    for name in ("steps.png", "steps.gif"):
        with Image.open(tmp_path / name) as picture:
            pixels = list(picture.convert("RGB").getdata())
            assert sum(pixel == (255, 0, 255) for pixel in pixels) > len(pixels) / 20


def test_settings_stand_beside_the_puzzle(capsys, known, run_dir) -> None:
    program("anything", "threads=1", LINE)
    assert "step 1" in capsys.readouterr().out
    assert "network.width is settled by training" in program.mistake(capsys, run_dir, LINE, "network.width=3")
    assert "one PUZZLE at a time, got 2" in program.mistake(capsys, run_dir, LINE, LINE)


def test_an_unsolved_puzzle_is_no_error(capsys, run_dir) -> None:
    program(run_dir, "--steps", 2, LINE)
    assert "not solved" in capsys.readouterr().out


def test_an_untrained_value_head_is_said_to_be_one(capsys, tmp_path, cache) -> None:
    save_untrained(tmp_path, tiny_config(cache, "loss.terms.solved.weight=0"))
    program(tmp_path, LINE)
    assert "value head was not trained" in capsys.readouterr().out


def test_mistakes_are_told_in_one_line(capsys, run_dir, tmp_path) -> None:
    assert "16 cells (4 x 4), got 15" in program.mistake(capsys, run_dir, LINE[:-1])
    assert "two 3s" in program.mistake(capsys, run_dir, "33" + "." * 14)
    assert "is no symbol" in program.mistake(capsys, run_dir, "x" + LINE[1:])
    assert "does not exist" in program.mistake(capsys, tmp_path / "nothing", LINE)
    assert "does not exist" in program.mistake(capsys, run_dir, "--file", tmp_path / "nothing.txt")
    assert "--steps must be at least 1" in program.mistake(capsys, run_dir, LINE, "--steps", 0)
    assert "not both" in program.mistake(capsys, run_dir, LINE, "--file", tmp_path / "x")
    assert "did you mean '--file'" in program.mistake(capsys, run_dir, LINE, "--flie=x")
    assert "not available" in program.mistake(capsys, run_dir, LINE, "--device", "gpu")


def test_figures_that_cannot_be_written(capsys, run_dir, tmp_path) -> None:
    for name in ("steps.nonsense", "no/folder/steps.png"):
        with pytest.raises(SystemExit) as exit:
            program(run_dir, LINE, "--png", tmp_path / name)
        assert exit.value.code == 2
        assert "cannot write the figure" in capsys.readouterr().err


def test_a_real_process_exits_with_2_and_no_traceback(run_dir) -> None:
    command = [sys.executable, "-m", "latent_rl.solve", str(run_dir)]
    finished = subprocess.run(command, input="." * 15, capture_output=True, text=True)
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr == "error: sudoku-4x4 has 16 cells (4 x 4), got 15\n"


SUDOKU = Sudoku(size=4)


@settings(deadline=None)  # a busy machine is no mistake
@given(st.lists(st.sampled_from("1234.0"), min_size=1, max_size=4, unique=True), st.integers(1, 4))
def test_every_way_to_write_puzzles_reads_the_same(givens: list[str], count: int) -> None:
    line = "".join(givens).ljust(4, ".") + "." * 12
    tokens = SUDOKU.parse(line)
    drawn = SUDOKU.renderer.text(tokens, tokens, torch.zeros(16, dtype=torch.bool)).plain
    expected = tokens.expand(count, -1)
    assert torch.equal(read_puzzles(SUDOKU, "\n".join([line] * count)), expected)
    assert torch.equal(read_puzzles(SUDOKU, "\n\n".join([line] * count) + "\n"), expected)
    assert torch.equal(read_puzzles(SUDOKU, "\n".join([drawn] * count)), expected)


def test_a_byte_order_mark_is_no_symbol(run_dir, tmp_path) -> None:
    (tmp_path / "board.txt").write_bytes(b"\xef\xbb\xbf" + LINE.encode())
    program(run_dir, "--file", tmp_path / "board.txt")


def test_a_board_may_hold_empty_lines_between_its_boxes() -> None:
    board = "32 1.\n.. 32\n\n.1 2.\n23 .1\n"
    assert as_line(SUDOKU, read_puzzles(SUDOKU, board)[0]) == LINE


def test_the_faulty_one_of_many_is_named_by_its_line() -> None:
    with pytest.raises(PuzzleError, match="puzzle at line 3: .*got 15"):
        read_puzzles(SUDOKU, f"{LINE}\n\n{LINE[1:]}\n{LINE}\n")
    with pytest.raises(PuzzleError, match="no puzzle given"):
        read_puzzles(SUDOKU, " \n\n")


def test_changes_are_against_the_step_before() -> None:
    inputs = torch.tensor([1, 1, 3])
    answers = torch.tensor([[1, 2, 3], [2, 2, 3], [2, 2, 3]])
    assert changes(inputs, answers).tolist() == [[False, True, False], [True, False, False], [False, False, False]]
