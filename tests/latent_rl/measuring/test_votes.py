"""ARC from the programs: votes over views, submissions, scores of what is known, and pictures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from toy_puzzle import Backwards

from latent_rl import cli, evaluate, solve, train
from latent_rl.agents import ReasonerConfig, RecursiveReasoner, Search, StepOutput
from latent_rl.envs import IGNORE, PAD, Instances, Puzzle, Question, Vote
from latent_rl.envs.arc.canvas import FIRST_COLOUR
from latent_rl.envs.arc.puzzle import Arc
from latent_rl.measuring.ledger import Ledger
from latent_rl.measuring.searching import evaluate_search
from latent_rl.measuring.votes import Election, elect
from latent_rl.reporting.arc_figures import contact_sheet, verdict

TINY = [
    "--config", "arc-mini", "env.options.augmentations=3", "env.options.names=[25ff71a9]",
    "network={width: 16, layers: 1, heads: 2, multiple_of: 8}",
    "network.puzzle_embedding_width=8", "collector.num_envs=4", "env.max_steps=2", "evaluation.views=4",
    "budget={seconds: null, updates: 2}", "tracking.enabled=false", "name=mini", "device=cpu",
]  # fmt: skip


def smallest(puzzle: Puzzle) -> ReasonerConfig:
    return ReasonerConfig(
        vocab_size=puzzle.vocab_size, seq_len=puzzle.seq_len, width=4, layers=1, heads=1, multiple_of=4,
        cycles=1, inner_updates=1,
    )  # fmt: skip


class Knows(RecursiveReasoner):
    """Answers every view that it was told the solution of, and only those of `right_views`; else a black cell."""

    def __init__(self, puzzle: Arc, right_views: int) -> None:
        super().__init__(smallest(puzzle))
        test = puzzle.instances("test")
        self.answers = {}
        for number in range(puzzle.vote.views):
            view = puzzle.vote.view(test, torch.full((len(test),), number))
            known = view.solution.masked_fill(view.solution == IGNORE, PAD)
            black = torch.full_like(known, PAD)
            black[:, 0] = FIRST_COLOUR
            says = known if number < right_views else black
            keys = [(int(id), tuple(row)) for id, row in zip(view.puzzle_id, view.inputs.tolist(), strict=True)]
            self.answers |= dict(zip(keys, says, strict=True))

    def step(self, inputs: Tensor, puzzle_id: Tensor, y: Tensor, z: Tensor, step: Tensor) -> StepOutput:
        output = super().step(inputs, puzzle_id, y, z, step)
        rows = zip(puzzle_id.tolist(), inputs.tolist(), strict=True)
        answer = torch.stack([self.answers[id, tuple(row)] for id, row in rows])
        return output._replace(logits=torch.nn.functional.one_hot(answer, self.config.vocab_size).float())


def election(right_views: int, views: int = 4, batch_size: int = 7, **options: object) -> tuple[Arc, Election]:
    puzzle = Arc(side=8, augmentations=views - 1, **options)
    reasoner, ledger = Knows(puzzle, right_views), Ledger()
    ledger.watch(reasoner.network)
    held = elect(
        reasoner, puzzle.vote, puzzle.instances("test"), views=views, max_steps=2, batch_size=batch_size, ledger=ledger
    )
    assert ledger.forward["eval"] == len(puzzle.questions) * views * 2 * 2
    return puzzle, held


def test_answers_to_views_are_taken_back_before_they_vote() -> None:
    _, held = election(right_views=4)
    assert held.ranks == [1] * 13
    assert all(len(ballot.ranking) == 1 for ballot in held.ballots)
    assert held.pass_at == {"pass@1": 1.0, "pass@2": 1.0}
    for question, ballot in zip(held.questions, held.ballots, strict=True):
        assert np.array_equal(ballot.attempts[0], question.answer)


def test_the_minority_is_the_second_attempt() -> None:
    puzzle, held = election(right_views=1)
    assert held.pass_at == {"pass@1": 0.0, "pass@2": 1.0}
    assert {verdict(held, number) for number in range(13)} == {"right"}
    labels = [axes.get_xlabel() for axes in contact_sheet(puzzle, held).axes]
    assert labels.count("right (second), 25% of votes") == 13
    submission = held.submission
    assert list(submission) == list(puzzle.tasks) and len(submission["25ff71a9"]) == 2
    first = submission["25ff71a9"][0]
    assert first["attempt_1"] == [[0]] and first["attempt_2"] == held.questions[0].answer.tolist()
    _, none = election(right_views=0)
    assert none.pass_at == {"pass@1": 0.0, "pass@2": 0.0} and verdict(none, 0) == "wrong"


def test_the_vote_does_not_depend_on_the_batch() -> None:
    one, other = election(right_views=2, batch_size=1)[1], election(right_views=2, batch_size=1000)[1]
    assert one.submission == other.submission and one.pass_at == other.pass_at


def test_unknown_answers_are_undecided_and_score_nothing(tmp_path: Path) -> None:
    task = {"train": [{"input": [[1]], "output": [[2]]}], "test": [{"input": [[3]]}]}
    (tmp_path / "a.json").write_text(json.dumps(task))
    puzzle, held = election(right_views=0, test=str(tmp_path))
    assert held.pass_at == {} and "no answer is known" in held.in_words
    assert verdict(held, 0) == "undecided"
    assert held.submission == {"a": [{"attempt_1": [[0]], "attempt_2": [[0]]}]}
    assert contact_sheet(puzzle, held).axes


class Renamed(Vote):
    """View `k` of a word has every letter replaced by the one `k` places on in the alphabet."""

    def __init__(self, puzzle: Backwards) -> None:
        self.puzzle, self.views = puzzle, puzzle.vocab_size - 1

    @property
    def questions(self) -> list[Question]:
        answers = self.puzzle.instances("test").solution.numpy().astype(np.uint8)
        return [Question("backwards", number, answer[None]) for number, answer in enumerate(answers)]

    def view(self, instances: Instances, number: Tensor) -> Instances:
        return replace(instances, inputs=self._shifted(instances.inputs, number))

    def grids(self, answers: Tensor, number: Tensor) -> list[np.ndarray]:
        return [row[None].numpy().astype(np.uint8) for row in self._shifted(answers, -number)]

    def _shifted(self, words: Tensor, number: Tensor) -> Tensor:
        return (words - 1 + number[:, None]) % self.views + 1


class Mirror(RecursiveReasoner):
    """Reads a word from right to left, unless it begins with the first letter."""

    def step(self, inputs: Tensor, puzzle_id: Tensor, y: Tensor, z: Tensor, step: Tensor) -> StepOutput:
        output = super().step(inputs, puzzle_id, y, z, step)
        answer = torch.where(inputs[:, :1] == 1, inputs, inputs.flip(-1))
        return output._replace(logits=torch.nn.functional.one_hot(answer, self.config.vocab_size).float())


def test_any_puzzle_may_bring_a_vote() -> None:
    puzzle = Backwards(length=3)
    assert puzzle.vote is None
    puzzle.vote = Renamed(puzzle)
    reasoner, ledger = Mirror(smallest(puzzle)), Ledger()
    ledger.watch(reasoner.network)
    held = elect(reasoner, puzzle.vote, puzzle.instances("test")[:4], views=5, max_steps=1, batch_size=3, ledger=ledger)
    # In one view of five a word begins with the first letter; the other four are right and agree.
    assert held.ranks == [1] * 4 and held.pass_at["pass@1"] == 1.0
    assert all(
        ballot.share(question.answer) == 0.8 for question, ballot in zip(held.questions, held.ballots, strict=True)
    )
    assert sum("80% of votes" in axes.get_xlabel() for axes in contact_sheet(puzzle, held).axes) == 4


def test_a_search_counts_known_answers_only() -> None:
    puzzle = Arc(side=8, augmentations=0)
    test = puzzle.instances("test")
    reasoner, ledger = Knows(puzzle, right_views=1), Ledger()
    ledger.watch(reasoner.network)
    hidden = test[:]
    hidden.solution[:3] = IGNORE
    found = evaluate_search(reasoner, puzzle, hidden, Search(2), max_steps=1, batch_size=5, ledger=ledger)
    assert found.puzzles == len(test) - 3 and found.passes_per_puzzle == 2 * 2
    assert found.exact_accuracy == found.solved_rate == found.cell_accuracy == found.any_right == 1.0
    assert found.trajectories_per_puzzle == found.steps_per_puzzle == 2


def test_train_evaluate_and_solve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    train.main(TINY)
    summary = json.loads(Path("runs/mini/summary.json").read_text())
    assert summary["pass_at"].keys() == {"pass@1", "pass@2"}
    assert Path("runs/mini/figures/contact_sheet.png").exists()

    evaluate.main(["runs/mini", "--json", "found.json", "--sheet", "sheet.png", "evaluation.views=3"])
    found, submission = json.loads(Path("found.json").read_text()), json.loads(Path("submission.json").read_text())
    assert found["views"] == 3 and found["eval_puzzles"] == 2
    assert list(submission) == ["25ff71a9"] and Path("sheet.png").exists()
    assert all(attempt.keys() == {"attempt_1", "attempt_2"} for tests in submission.values() for attempt in tests)

    capsys.readouterr()
    solve.main(["runs/mini", "25ff71a9:2", "--png", "steps.png", "--gif", "steps.gif"])
    shown = capsys.readouterr().out
    assert "step 2:" in shown and "this puzzle does not tell without its key" in shown
    assert Path("steps.png").exists() and Path("steps.gif").exists()

    for program, changes, complaint in (
        (evaluate, ["runs/mini", "env.options.augmentations=2"], "knows the embeddings of the puzzles"),
        (train, ["--resume", "runs/mini", "env.options.seed=1", "budget.updates=3"], "env.options.seed=1 does not fit"),
        (evaluate, ["runs/mini", "--halt", "rule"], "only its key tells whether an answer of arc-8x8 is right"),
        (evaluate, ["runs/mini", "--trajectories", "2", "--choose", "rule"], "only its key tells whether"),
        (evaluate, ["runs/mini", "--submission", "no/where.json"], "cannot write the submission no/where.json"),
        (train, [*TINY, "env.options.test=nowhere"], "nowhere: no such source"),
    ):
        with pytest.raises(SystemExit) as caught:
            cli.run_program(lambda program=program, changes=changes: program.main(changes))
        assert caught.value.code == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert complaint in lines[-1]


def test_pictures_show_demonstrations_steps_and_the_answer() -> None:
    puzzle = Arc(side=8, augmentations=3)
    test = puzzle.instances("test")
    answers = torch.stack([test.inputs[1], test.solution[1].clamp(min=PAD)])
    figure = puzzle.renderer.trajectory(test.inputs[1], test.solution[1], answers, torch.tensor([0.2, 0.9]))
    labels = [axes.get_xlabel() for axes in figure.axes]
    task = puzzle.tasks[puzzle.questions[1].task]
    assert sum("demonstration" in label for label in labels) == len(task.demonstrations)
    assert "step 1: 20% sure, wrong" in labels and "step 2: 90% sure, right" in labels
    assert {"test input", "the answer"} <= set(labels)
    drawn = puzzle.renderer.text(test.inputs[1], test.inputs[1], torch.zeros(64, dtype=torch.bool)).plain
    assert drawn == "".join("".join(f"{cell} " for cell in row) + "\n" for row in task.tests[1].input.tolist())
