"""Exported models: what was exported comes back, is taken wherever a run is, and is read in plain PyTorch."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from official_puzzle import arguments
from programs import Program
from pydantic import TypeAdapter
from safetensors import safe_open
from safetensors.torch import save_file
from small_runs import SMALL, small_run
from tiny_models import save_untrained, tiny_config

from latent_rl import analyze, evaluate, export, halt, solve, train
from latent_rl.agents import HaltingPolicy, ReasonerConfig, make_reasoner
from latent_rl.config import dump, load_config
from latent_rl.envs.sudoku import Sudoku
from latent_rl.errors import UserError
from latent_rl.measuring import solve as find_answers
from latent_rl.storage import load_model, save_export, save_model, step_program
from latent_rl.training import build_puzzle

BOARD = "321...32.12.23.1"
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "run"
    save_untrained(folder, tiny_config(tmp_path / "cache"))
    return folder


def same(one: object, other: object) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_what_was_exported_comes_back(run, capsys) -> None:
    export.main([str(run), "out"])
    assert "out/model.safetensors" in capsys.readouterr().out
    before, after = load_model(run), load_model("out")
    assert same(before.reasoner, after.reasoner)
    assert (after.config, after.reasoner.config, after.updates) == (
        before.config,
        before.reasoner.config,
        before.updates,
    )
    assert Path("out/config.yaml").read_text() == dump(before.config)
    capsys.readouterr()
    export.main([str(run), "out", "--json", "-"])
    told = json.loads(capsys.readouterr().out)["files"]
    assert told == {str(path): path.stat().st_size for path in Path("out").iterdir()}
    # Again over itself, and from itself; over anything else not.
    export.main([str(run), "out"])
    export.main(["out", "again"])
    assert same(load_model("again").reasoner, before.reasoner)
    mistake = Program(export.main).mistake
    assert "is not empty (it holds checkpoint): name a new folder" in mistake(capsys, "again", run)
    assert "is what would be exported" in mistake(capsys, "out", "out")
    assert "settings are for checkpoints of the official code" in mistake(capsys, run, "new", "network.heads=2")
    assert "unknown option --programm; did you mean '--program'?" in mistake(capsys, run, "new", "--programm")
    assert "does not exist" in mistake(capsys, "nowhere", "new") and not Path("new").exists()


def test_the_halting_policy_and_the_embeddings_go_along(tmp_path) -> None:
    torch.manual_seed(0)
    shape = ReasonerConfig(
        6, 16, width=16, heads=2, layers=1, multiple_of=8, num_puzzle_ids=9, puzzle_embedding_width=8
    )
    reasoner = make_reasoner(shape)
    reasoner.embed_puzzle.put(torch.tensor([2, 5]), torch.randn(2, 8))
    network = "network={width: 16, heads: 2, layers: 1, multiple_of: 8, mixer: attention, positions: rope, cycles: 3, "
    network += "inner_updates: 6, puzzle_embedding_width: 8}"
    config = load_config("sudoku-4x4", [network])
    policy = HaltingPolicy(width=16, hidden=8, floor=0.01)
    save_model(tmp_path / "run", reasoner, config, 7, ids_digest="some", halting=policy)
    save_export(tmp_path / "out", load_model(tmp_path / "run"))
    back = load_model(tmp_path / "out")
    assert same(back.reasoner, reasoner) and same(back.halting, policy)
    assert torch.equal(back.reasoner.embed_puzzle.learned.nonzero().squeeze(1), torch.tensor([2, 5]))
    assert (back.updates, back.ids_digest, back.halting.floor) == (7, "some", 0.01)


def test_an_export_is_taken_wherever_a_run_is(run, capsys) -> None:
    export.main([str(run), "out"])
    results = {}
    for place in (run, "out"):
        capsys.readouterr()
        evaluate.main([str(place), "--json", "-"])
        results[place] = json.loads(capsys.readouterr().out)
        del results[place]["checkpoint"], results[place]["seconds"]
    assert results[run] == results["out"]
    solve.main(["out", BOARD])
    assert "sudoku-4x4, the puzzle" in capsys.readouterr().out
    analyze.main(["out"])
    assert Path("out-analysis/report.md").is_file()
    halt.main(["out", "halting.ppo={iterations: 1, puzzles: 4, epochs: 1}"])
    assert load_model("runs/out-halt").halting is not None


def test_training_begins_from_an_export(tmp_path, monkeypatch, without_figures) -> None:
    monkeypatch.chdir(tmp_path)
    run_dir = small_run("first")
    export.main([str(run_dir), "out"])
    still = ["optimizer.lr=1e-30", "name=second", "seed=1", "budget.updates=1"]
    train.main([*SMALL, *still, "--init", "out"])
    one, other = (load_model(place).reasoner.state_dict() for place in (run_dir, "runs/second"))
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=1e-6, msg=name)


def test_an_official_checkpoint_becomes_an_export(tmp_path, capsys) -> None:
    checkpoint, *settings = arguments("trm_mlp")
    given = [one for one in settings if not one.startswith(("--device", "cpu", "evaluation."))]
    export.main([checkpoint, str(tmp_path / "out"), *given])
    reasoner = load_model(checkpoint, preset="sudoku-4x4", overrides=given[2:]).reasoner
    back = load_model(tmp_path / "out")
    assert same(back.reasoner, reasoner) and back.reasoner.config == reasoner.config and not back.official
    capsys.readouterr()
    evaluate.main([str(tmp_path / "out"), "--json", "-"])
    assert json.loads(capsys.readouterr().out)["eval_passes_per_puzzle"] == 336


def test_a_file_of_another_program_is_a_state_dict(tmp_path) -> None:
    state = torch.load(Path(arguments("trm_att")[0]), weights_only=True)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, tmp_path / "model.safetensors")
    trained = load_model(tmp_path, preset="sudoku-4x4", overrides=arguments("trm_att")[5:])
    assert trained.official and trained.reasoner.config.heads == 4


def test_a_damaged_export_is_refused(run) -> None:
    export.main([str(run), "out"])
    file = Path("out/model.safetensors")
    sound = file.read_bytes()
    start = 8 + int.from_bytes(sound[:8], "little")
    for at in range(start + 1, len(sound), len(sound) // 20):
        file.write_bytes(sound[:at] + bytes([sound[at] ^ 1]) + sound[at + 1 :])
        with pytest.raises(UserError, match="damaged, truncated or not a checkpoint: its tensors are not those"):
            load_model("out")
    for cut in (0, 7, 100, start, len(sound) - 1):
        file.write_bytes(sound[:cut])
        with pytest.raises(UserError, match="damaged, truncated or not a checkpoint"):
            load_model("out")
    file.write_bytes(sound)
    config = Path("out/config.yaml")
    text = config.read_text()
    config.write_text(text.replace("width: 16", "width: 32"))
    with pytest.raises(UserError, match="its network has width=16, its configuration 32"):
        load_model("out")
    config.unlink()
    with pytest.raises(UserError, match=r"config file out/config.yaml does not exist"):
        load_model("out")


def test_what_a_puzzle_declares_about_itself_goes_along(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    changes = ["scheme=deduce", "network={mixer: units, width: 8, expansion: 2, multiple_of: 8}"]
    changes += ["env.options={size: 4, train: 20, test: 5, validation: 0}"]
    save_untrained(tmp_path / "told", load_config("sudoku-4x4", changes))
    export.main(["told", "out"])
    before, after = load_model("told").reasoner, load_model("out").reasoner
    assert same(before, after) and after.config == before.config and len(after.config.units) == 3


def test_the_shape_of_a_board_goes_along(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    changes = ["network={width: 16, heads: 2, multiple_of: 8}"]
    changes += ["env.options={size: 4, train: 20, test: 5, validation: 0}"]
    save_untrained(tmp_path / "maze", load_config("maze-10", changes))
    export.main(["maze", "out"])
    before, after = load_model("maze").reasoner, load_model("out").reasoner
    assert same(before, after) and after.config == before.config and after.config.kernel


SMALL_SHAPE = {"vocab_size": 6, "seq_len": 16, "width": 16, "heads": 2, "layers": 1, "multiple_of": 8, "cycles": 1}
DIS = {"cycles": 2, "inner_updates": 1, "step_embedding_steps": 3, "feed": "answer"}
DECLARED = {"units": Sudoku(4).units, "interchangeable": Sudoku(4).interchangeable, "symbols": (2, 3, 4, 5)}
UNITS = {"inner_updates": 2, "state": "candidates", "mixer": "units", **DECLARED}
SHAPES = {
    "mlp": {**SMALL_SHAPE, "mixer": "mlp", "positions": "none", "inner_updates": 2},
    "dis": {**SMALL_SHAPE, **DIS, "num_puzzle_ids": 4, "puzzle_embedding_width": 16},
    "candidates": {**SMALL_SHAPE, "inner_updates": 2, "state": "candidates"},
    "units": {**SMALL_SHAPE, **UNITS},
    "peers": {**SMALL_SHAPE, **UNITS, "peer_attention": True},
}


@pytest.mark.parametrize("kind", SHAPES)
def test_a_step_as_a_program_equals_the_step(kind, tmp_path) -> None:
    torch.manual_seed(0)
    shape = ReasonerConfig(**SHAPES[kind])
    reasoner = make_reasoner(shape).eval()
    torch.export.save(step_program(reasoner), tmp_path / "step.pt2")
    program = torch.export.load(tmp_path / "step.pt2").module()
    for batch in (1, 3):
        y, z = (torch.randn(batch, shape.length, shape.width) for _ in "yz")
        values = {
            "inputs": torch.randint(1, 6, (batch, 16)),
            "puzzle_id": torch.arange(batch),
            "y": y,
            "z": z,
            "step": torch.full((batch,), 1),
            "candidates": torch.rand(batch, 16, 6) < 0.5,
        }
        given = [values[key] for key in reasoner.step_keys]
        with torch.no_grad():
            for found, expected in zip(program(*given), reasoner.step(*given), strict=True):
                torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_what_the_page_shows_works(run, tmp_path) -> None:
    """The ten lines of docs/export.md: with the class from this package, and with PyTorch alone."""
    page = (DOCS / "export.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    with_class, alone = blocks
    assert all(len([line for line in block.splitlines() if line.strip()]) <= 12 for block in blocks)
    assert "latent_rl.agents" in with_class and "import latent_rl" not in alone and "from latent_rl" not in alone
    export.main([str(run), "sudoku-4x4", "--program"])
    trained = load_model(run)
    puzzle = build_puzzle(trained.config)
    board = puzzle.parse("4..2.....4..321.").unsqueeze(0)
    expected = find_answers(trained.reasoner, puzzle, board, steps=6).answers[-1]
    for block in blocks:
        names: dict = {}
        with torch.no_grad():
            exec(block, names)
        assert torch.equal(names["answer"], expected)


def test_the_header_says_what_the_weights_make(run) -> None:
    export.main([str(run), "out"])
    with safe_open("out/model.safetensors", "pt") as file:
        header = json.loads(file.metadata()["latent_rl"])
    assert TypeAdapter(ReasonerConfig).validate_python(header["reasoner"]) == load_model(run).reasoner.config
