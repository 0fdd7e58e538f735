"""A run from a stranger imports, reads and writes nothing that the user does not name too."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from programs import Program
from tiny_models import save_untrained, tiny_config

from latent_rl import analyze, evaluate, halt, solve, train
from latent_rl.config import dump, load_resolved
from latent_rl.envs import puzzle_from_id
from latent_rl.envs.csv_format import write_csv
from latent_rl.errors import UserError
from latent_rl.reporting.boards import as_line

BOARD = "321...32.12.23.1"
PROGRAMS = {"evaluate": evaluate, "solve": solve, "analyze": analyze, "halt": halt}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "run"


def save(run: Path, *overrides: str, id: str | None = None) -> None:
    """A run of 4x4 Sudoku, whose files say another id."""
    config = tiny_config(run.parent / "cache", *overrides)
    model = save_untrained(run, config)
    if id is not None:
        config = config.model_copy(update={"env": config.env.model_copy(update={"id": id})})
        content = torch.load(model)
        content["config"]["env"]["id"] = id
        torch.save(content, model)
    (run / "config.yaml").write_text(dump(config))


@pytest.mark.parametrize("program", [*PROGRAMS, "train"])
def test_a_module_is_imported_only_if_named_again(program: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(run, id="run.helper:Theirs-v0")
    (run / "helper.py").write_text("open('owned', 'w').close()")
    if program == "train":
        line = Program(train.main).mistake(capsys, "--resume", run)
    else:
        line = Program(PROGRAMS[program].main).mistake(capsys, run, *([BOARD] if program == "solve" else []))
    assert "imported only if you name it too: add env.id=run.helper:Theirs-v0" in line
    assert not Path("owned").exists() and "run.helper" not in sys.modules


def test_losses_targets_and_rules_of_a_resumed_run(run: Path) -> None:
    save(run)
    file = run / "config.yaml"
    sound = file.read_text()
    for found, put, setting in (
        ("rule: never", "rule: os:Halt", "halting.rule=os:Halt"),
        ("targets: terminal", "targets: {name: 'os:Targets'}", "loss.terms.policy.targets.name=os:Targets"),
        ("    solved:", "    'os.path:Loss': {}\n    solved:", "'loss.terms={'\"'\"'os.path:Loss'\"'\"': {}}'"),
    ):
        assert found in sound
        file.write_text(sound.replace(found, put))
        with pytest.raises(UserError, match="imported only if you name it too: add ") as refused:
            load_resolved(file)
        assert str(refused.value).endswith(f"add {setting}")
    with pytest.raises(UserError, match="is no subclass|cannot be imported"):
        load_resolved(file, ["loss.terms={'os.path:Loss': {}}"])  # named again: looked up


def test_folders_to_write_in_are_left_out(run: Path) -> None:
    save(run, "env.options.cache_dir=owned")
    Program(evaluate.main)(run, "--puzzles", 2)
    assert not Path("owned").exists()
    assert "cache_dir" not in load_resolved(run / "config.yaml").env.options
    assert load_resolved(run / "config.yaml", ["env.options.cache_dir=x"]).env.options["cache_dir"] == "x"


def test_files_to_read_are_named_again(
    run: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    puzzle = puzzle_from_id("latent_rl/Sudoku-v0", train=30, test=10)
    for split in ("train", "test"):
        boards = zip(puzzle.instances(split).inputs, puzzle.instances(split).solution, strict=True)
        write_csv(f"{split}.csv", [("made", *(as_line(puzzle, board) for board in pair), 0) for pair in boards])
    files = ["env.options.train_file=train.csv", "env.options.test_file=test.csv"]
    save(run, *files)
    program = Program(evaluate.main)
    line = program.mistake(capsys, run)
    assert line.endswith(f"read only if you name them too: add {' '.join(files)}\n")
    assert program.mistake(capsys, run, files[1]).endswith(f"add {files[0]}\n")
    program(run, *files)
    Program(solve.main)(run, BOARD)  # needs no files
    # Others than in training, one of the two or both, in whatever folder.
    for split in ("train", "test"):
        Path(f"other-{split}.csv").write_bytes(Path(f"{split}.csv").read_bytes())
    program(run, files[0], "env.options.test_file=other-test.csv")
    assert "cannot check that the puzzles are new to the model" in caplog.text
    program(run, "env.options.train_file=other-train.csv", "env.options.test_file=other-test.csv")
    assert load_resolved(run / "config.yaml").env.options["train_file"] == "train.csv"


def test_a_network_that_would_never_answer(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(run)
    file = run / "checkpoint" / "model.pt"
    content = torch.load(file)
    content["reasoner"]["cycles"] = 10**9
    torch.save(content, file)
    assert "cycles=1000000000" in Program(solve.main).mistake(capsys, run, BOARD)
    content["config"]["network"]["cycles"] = 10**9
    torch.save(content, file)
    assert "network.cycles: " in Program(solve.main).mistake(capsys, run, BOARD)


def test_input_that_is_no_utf_8(run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    save(run)
    Path("latin.txt").write_bytes(b"b\xf6ard")
    with open("latin.txt", encoding="latin-1") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert "standard input cannot be read" in Program(solve.main).mistake(capsys, run)
    assert "latin.txt cannot be read" in Program(solve.main).mistake(capsys, run, "--file", "latin.txt")


def test_brackets_are_no_markup(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(run)
    Program(analyze.main)(run, "--puzzles", 2, "--out", "[/b]")
    assert "[/b]" in capsys.readouterr().out
