"""summary.json and what a person sees at the end of training."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from latent_rl.errors import UserError
from latent_rl.reporting.summary import description, headline, next_steps, show, table
from latent_rl.storage import Evaluation, Milestone, Spent, Summary, compute

FIELDS = """puzzle scheme seed device parameters updates puzzles_seen train_seconds eval_puzzles exact_accuracy
solved_rate cell_accuracy accuracy_by_step eval_passes_per_puzzle train_passes_total train_passes_per_puzzle
train_gradient_passes_total own_stop baseline_passes_per_puzzle savings_vs_trm baseline_stop savings_vs_stopped_trm
pass_at validation checkpoint mlflow_run_id mlflow_experiment_id world_size""".split()
"""docs/design.md, section 8."""


@pytest.fixture
def summary() -> Summary:
    found = Evaluation(200, [0.5, 0.9], [0.6, 0.91], [0.8, 0.97], 6.0, 1.0)
    return Summary.of(
        found,
        Spent(updates=50, seconds=12.5, passes=9000, puzzles=500, gradient_passes=3000),
        336,
        puzzle="sudoku-4x4",
        scheme="dis",
        seed=3,
        device="cpu",
        parameters=9,
        checkpoint="runs/x/checkpoint/model.pt",
        mlflow_run_id="abc",
        mlflow_experiment_id="7",
    )


def test_exactly_the_fields_of_the_design_in_their_order(summary, tmp_path) -> None:
    content = json.loads(summary.write(tmp_path).read_text())
    assert list(content) == FIELDS
    assert content["parameters"] == 9
    assert content["train_passes_per_puzzle"] == 18
    assert content["savings_vs_trm"] == 56
    assert (content["exact_accuracy"], content["solved_rate"], content["cell_accuracy"]) == (0.9, 0.91, 0.97)
    assert content["accuracy_by_step"] == [0.5, 0.9]
    assert summary.model_dump() == content
    assert Summary.read(tmp_path) == summary
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


def test_reading_what_is_no_summary(summary, tmp_path) -> None:
    with pytest.raises(UserError, match="holds no summary.json"):
        Summary.read(tmp_path)
    path = summary.write(tmp_path)
    path.write_text(path.read_text().replace('"updates"', '"upbeats"'))
    with pytest.raises(UserError, match="summary.json is no summary of this version of latent_rl: updates"):
        Summary.read(tmp_path)
    path.write_text("{")
    with pytest.raises(UserError, match="no summary of this version"):
        Summary.read(tmp_path)
    with pytest.raises(UserError, match="cannot write"):
        summary.write(tmp_path / "missing")


def test_the_table_shows_savings_only_beside_the_accuracy(summary) -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(table(summary))
    lines = console.export_text().splitlines()
    assert any("exactly right" in line and "90.0% of 200 unseen puzzles" in line for line in lines)
    (saving,) = [line for line in lines if "56.0x" in line]
    assert "fewer than 336, at 90.0% exact" in saving


def test_the_next_steps_can_be_copied(summary, capsys) -> None:
    show(summary, tracking_uri="sqlite:///mlflow.db")
    lines = capsys.readouterr().out.splitlines()
    assert "checkpoint    runs/x/checkpoint/model.pt" in lines
    assert "solve one     python -m latent_rl.solve runs/x/checkpoint/model.pt PUZZLE" in lines
    assert lines[-1].startswith("charts        mlflow ui ")


def test_how_to_open_mlflow_depends_on_where_it_is(summary) -> None:
    named = next_steps(summary, settings=["env.id=my.module:Mine-v0"])
    assert named[1].endswith("runs/x/checkpoint/model.pt PUZZLE env.id=my.module:Mine-v0")
    assert not any("mlflow" in line for line in next_steps(summary))
    assert "--backend-store-uri sqlite:///elsewhere.db" in next_steps(summary, "sqlite:///elsewhere.db")[-1]
    page = "/#/experiments/7/runs?workflowType=machine_learning&viewStateShareKey=latent_rl"
    assert next_steps(summary, "sqlite:///mlflow.db")[-1].endswith(f"then open http://127.0.0.1:5000{page}")
    assert next_steps(summary, "http://server:5000/")[-1] == f"charts        http://server:5000{page}"


def test_compute_counts_a_backward_pass_twice():
    assert compute(passes=100, gradient_passes=30) == 160
    assert Milestone(1, 1.0, 100, None, "validation", 30).train_compute == 160
    assert Milestone(1, 1.0, 100, None, "validation").train_compute is None


def test_the_description_begins_with_the_saving_and_the_accuracy_and_shows_a_picture(summary) -> None:
    lines = description(summary).splitlines()
    assert lines[0] == (
        "**56.0x fewer network passes** than TRM's schedule (6 a puzzle instead of 336), **91.0% solved**: "
        "scheme `dis` on sudoku-4x4, seed 3."
    )
    assert "| savings against TRM's schedule | 56.0x fewer than 336, at 90.0% exact |" in lines
    assert lines[-1].endswith("(get-artifact?run_uuid=abc&path=figures/accuracy_by_step.png)")


def test_a_registered_version_says_first_what_it_solves_and_costs(summary) -> None:
    assert headline(summary) == "91.0% solved, 6 passes a puzzle (sudoku-4x4, scheme dis, seed 3)"
