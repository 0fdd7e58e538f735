"""The benchmark against the official code, on a stand-in with the interface of its classes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from latent_rl.errors import UserError

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

TRM = '''
"""Interface of the official ACT wrapper over a network of ours."""
from types import SimpleNamespace
import torch
from latent_rl.agents import ReasonerConfig, RecursiveReasoner

class TinyRecursiveReasoningModel_ACTV1(torch.nn.Module):
    def __init__(self, config_dict):
        super().__init__()
        self.config = c = SimpleNamespace(**config_dict)
        self.inner = RecursiveReasoner(ReasonerConfig(
            vocab_size=c.vocab_size, seq_len=c.seq_len, width=c.hidden_size, layers=c.L_layers + EXTRA,
            heads=c.num_heads, expansion=c.expansion, multiple_of=256, mixer="mlp" if c.mlp_t else "attention",
            positions=c.pos_encodings, puzzle_positions=c.puzzle_emb_len, cycles=c.H_cycles, inner_updates=c.L_cycles))
        self.inner.compute_dtype = getattr(torch, c.forward_dtype)

    def initial_carry(self, batch):
        rows = len(batch["inputs"])
        shape = (rows, self.inner.config.length, self.config.hidden_size)
        return SimpleNamespace(y=torch.empty(shape), z=torch.empty(shape), steps=torch.zeros(rows, dtype=torch.int64),
                               halted=torch.ones(rows, dtype=torch.bool), current_data=batch)

    def forward(self, carry, batch):
        halted = carry.halted
        new = {k: halted.view(-1, *[1] * (v.ndim - 1)) for k, v in batch.items()}
        data = {k: torch.where(new[k], batch[k], v) for k, v in carry.current_data.items()}
        steps = torch.where(halted, 0, carry.steps)
        first = self.inner.initial_latents(len(halted))
        y, z = (torch.where(halted.view(-1, 1, 1), a, b) for a, b in zip(first, (carry.y, carry.z)))
        out = self.inner.step(data["inputs"].long(), data["puzzle_identifiers"].long(), y, z, steps)
        steps = steps + 1
        new = SimpleNamespace(y=out.y.detach(), z=out.z.detach(), steps=steps,
                              halted=steps >= self.config.halt_max_steps, current_data=data)
        return new, {"logits": out.logits, "q_halt_logits": out.q[:, 0]}
'''

LOSSES = """
import torch
import torch.nn.functional as F

class ACTLossHead(torch.nn.Module):
    def __init__(self, model, loss_type):
        super().__init__()
        assert loss_type == "stablemax_cross_entropy"
        self.model = model

    def initial_carry(self, *args, **kwargs):
        return self.model.initial_carry(*args, **kwargs)

    def forward(self, return_keys, **model_kwargs):
        carry, outputs = self.model(**model_kwargs)
        labels = carry.current_data["labels"].long()
        loss = F.cross_entropy(outputs["logits"].flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="sum")
        loss = loss + outputs["q_halt_logits"].sum()
        return carry, loss, {}, {k: outputs[k].detach() for k in return_keys}, carry.halted.all()
"""


def clone(folder: Path, extra_layers: int = 0) -> Path:
    (folder / "models" / "recursive_reasoning").mkdir(parents=True)
    (folder / "models" / "recursive_reasoning" / "trm.py").write_text(f"EXTRA = {extra_layers}\n{TRM}")
    (folder / "models" / "losses.py").write_text(LOSSES)
    return folder


SMALL = ["--config", "sudoku-4x4", "--turns", "1", "--episodes", "1", "--puzzles", "10", "threads=1", "device=cpu"]
SMALL += ["env.options={size: 4, train: 40, test: 10}", "network={width: 16, layers: 1, heads: 2}"]
SMALL += ["collector.num_envs=4"]


@pytest.fixture(autouse=True)
def _fresh_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name in [name for name in sys.modules if name.split(".")[0] == "models"]:
        monkeypatch.delitem(sys.modules, name)


def test_both_are_timed_in_turns_on_the_same_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from against_official import main

    main([str(clone(tmp_path / "official")), *SMALL, "--json", str(tmp_path / "found.json")])
    (found,) = json.loads((tmp_path / "found.json").read_text())["rows"].values()
    assert found.keys() == {"ours", "official trm", "official dis"}
    assert all(speed > 0 for speeds in found.values() for speed in speeds.values())
    # 336 passes a puzzle against 18: whatever the machine does, DIS's schedule is the faster one.
    assert found["official dis"]["train_puzzles_per_second"] > 2 * found["official trm"]["train_puzzles_per_second"]
    assert "float32, training, puzzles/s: ours" in capsys.readouterr().out


def test_another_network_is_refused(tmp_path: Path) -> None:
    from against_official import main

    with pytest.raises(UserError, match=r"not the same network: [\d,]+ numbers in the official model, [\d,]+ in ours"):
        main([str(clone(tmp_path / "official", extra_layers=1)), *SMALL])


def test_a_folder_that_is_no_clone_is_refused(tmp_path: Path) -> None:
    from against_official import main

    with pytest.raises(
        UserError, match=r"is no clone of the official TRM code: it lacks models/recursive_reasoning/trm"
    ):
        main([str(tmp_path), *SMALL])


def test_the_same_weights_answer_alike_and_stop_early(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from answering import main
    from tiny_models import save_untrained, tiny_config

    model = save_untrained(tmp_path / "run", tiny_config(tmp_path / "cache", "network.multiple_of=256"))
    content = torch.load(model, weights_only=True)
    content["weights"]["q_head.bias"].fill_(5.0)  # sure of everything after one step
    torch.save(content, model)
    main([str(clone(tmp_path / "official")), str(model), "--turns", "1", "--json", str(tmp_path / "found.json")])
    theirs, full, stopped = json.loads((tmp_path / "found.json").read_text())["ways"].values()
    assert theirs["same_answers"] == full["same_answers"] == 1.0 and theirs["solved_rate"] == full["solved_rate"]
    assert (theirs["passes_per_puzzle"], full["passes_per_puzzle"], stopped["passes_per_puzzle"]) == (9, 9, 3)
    assert "ours, confident: " in capsys.readouterr().out
    main([str(clone(tmp_path / "again")), str(model), "--turns", "1", "--halt", "agree"])
    assert "ours, agree: " in capsys.readouterr().out


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    from answering import main
    from tiny_models import save_untrained, tiny_config

    model = save_untrained(tmp_path / "run", tiny_config(tmp_path / "cache", "network.multiple_of=8"))
    with pytest.raises(UserError, match="not the shape of an official network: size mismatch"):
        main([str(clone(tmp_path / "official")), str(model)])
