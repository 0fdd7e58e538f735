from __future__ import annotations

import pytest
import torch
from golden_files import GOLDEN

from latent_rl.agents import CheckpointError, RecursiveReasoner, load_official
from latent_rl.agents.official import our_name


@pytest.fixture
def state():
    """A fresh copy of the attention checkpoint's state dict."""
    return torch.load(GOLDEN / "trm_att.pt", weights_only=True)


def renamed(state, old, new):
    return {name.replace(old, new): tensor for name, tensor in state.items()}


def test_what_shapes_tell_and_what_they_do_not():
    att, _ = load_official(GOLDEN / "trm_att.pt", seq_len=16, heads=4)
    mlp, _ = load_official(str(GOLDEN / "trm_mlp.pt"))
    dis, _ = load_official(GOLDEN / "dis_att.pt", seq_len=16, heads=4)
    for config in (att, mlp, dis):
        assert (config.vocab_size, config.seq_len, config.width) == (11, 16, 64)
        assert (config.puzzle_positions, config.puzzle_embedding_width, config.num_puzzle_ids) == (16, 64, 5)
    assert (att.layers, att.cycles, att.inner_updates, att.feed) == (2, 3, 6, "puzzle")
    assert (att.mixer, att.positions, att.heads, att.step_embedding_steps) == ("attention", "rope", 4, 0)
    assert (mlp.mixer, mlp.positions, mlp.heads) == ("mlp", "none", 8)
    assert (dis.layers, dis.cycles, dis.inner_updates, dis.feed) == (1, 1, 2, "answer")
    assert dis.step_embedding_steps == 6


def test_arguments_win():
    config, _ = load_official(GOLDEN / "dis_att.pt", seq_len=9, heads=2, cycles=2, inner_updates=5, feed="puzzle")
    assert (config.cycles, config.inner_updates, config.feed, config.heads) == (2, 5, "puzzle", 2)
    assert load_official(GOLDEN / "trm_mlp.pt", seq_len=20)[0].puzzle_positions == 12
    assert load_official(GOLDEN / "trm_mlp.pt", puzzle_positions=2)[0].seq_len == 30


@pytest.mark.parametrize("prefix", ["", "model.inner.", "module._orig_mod.model.inner.", "inner.", "_orig_mod.inner."])
def test_any_prefix(state, prefix):
    config, ours = load_official(renamed(state, "_orig_mod.model.inner.", prefix), seq_len=16, heads=4)
    reasoner = RecursiveReasoner(config)
    reasoner.load_state_dict(ours)
    assert torch.equal(reasoner.initial_y, state["_orig_mod.model.inner.H_init"])


def test_names():
    assert our_name("_orig_mod.model.inner.L_level.layers.3.mlp_t.gate_up_proj.weight") == (
        "network.blocks.3.position_mlp.gate_up.weight"
    )
    assert our_name("L_level.layers.0.mlp.down_proj.weight") == "network.blocks.0.mlp.down.weight"
    assert our_name("model.inner.q_head.bias") == "q_head.bias"


def test_half_precision_becomes_float32(state):
    half = {name: tensor.bfloat16() for name, tensor in state.items()}
    assert {tensor.dtype for tensor in load_official(half, seq_len=16, heads=4)[1].values()} == {torch.float32}


def test_without_puzzle_embedding_there_is_no_front(state):
    del state["_orig_mod.model.inner.puzzle_emb.weights"]
    config, ours = load_official(state, seq_len=16, heads=4)
    assert (config.puzzle_positions, config.puzzle_embedding_width) == (0, 0)
    RecursiveReasoner(config).load_state_dict(ours)


def test_learned_positions_tell_the_length(state):
    state["_orig_mod.model.inner.embed_pos.embedding_weight"] = torch.zeros(32, 64)
    config, ours = load_official(state, heads=4)
    assert (config.positions, config.seq_len) == ("learned", 16)
    RecursiveReasoner(config).load_state_dict(ours)


class TestErrorsSayWhere:
    def fails(self, match, source, **options):
        with pytest.raises(CheckpointError, match=match) as error:
            load_official(source, **options)
        assert "\n" not in str(error.value)

    def test_files(self, tmp_path):
        self.fails(r"no checkpoint at .*nowhere\.pt", tmp_path / "nowhere.pt")
        (tmp_path / "text.pt").write_text("not a checkpoint")
        self.fails(r"text\.pt is not a file of plain tensors", tmp_path / "text.pt")
        (tmp_path / "empty.pt").touch()
        self.fails(r"empty\.pt is not a file of plain tensors", tmp_path / "empty.pt")
        torch.save({"model": torch.nn.Linear(1, 1)}, tmp_path / "code.pt")
        self.fails(r"code\.pt is not a file of plain tensors", tmp_path / "code.pt")
        torch.save({"step": 3}, tmp_path / "nested.pt")
        self.fails("expected to be a state dict", tmp_path / "nested.pt")

    def test_cells_unknown(self, state):
        self.fails("give seq_len", state, heads=4)

    def test_lengths_that_do_not_add_up(self):
        self.fails(
            "32 positions, which are not 9 cells and 16 in front", GOLDEN / "trm_mlp.pt", seq_len=9, puzzle_positions=16
        )
        self.fails("32 positions, which are not 40 cells and -8 in front", GOLDEN / "trm_mlp.pt", seq_len=40)

    def test_shape(self, state):
        state["_orig_mod.model.inner.L_level.layers.1.self_attn.o_proj.weight"] = torch.zeros(64, 60)
        self.fails(
            r"'_orig_mod.model.inner.L_level.layers.1.self_attn.o_proj.weight' has shape \(64, 60\), "
            r"the configuration wants \(64, 64\)",
            state,
            seq_len=16,
            heads=4,
        )

    def test_inner_width(self, state):
        self.fails(
            r"gate_up_proj.weight' has shape \(512, 64\), .* wants \(1024, 64\)", state, seq_len=16, expansion=8.0
        )

    def test_missing(self, state):
        self.fails(
            "lacks the tensor that becomes 'q_head.bias'",
            {k: v for k, v in state.items() if "q_head.bias" not in k},
            seq_len=16,
        )
        self.fails(
            "'output_head.weight' is missing", {k: v for k, v in state.items() if "lm_head" not in k}, seq_len=16
        )
        self.fails(
            r"'output_head.weight' has shape \(11,\)",
            {**state, "_orig_mod.model.inner.lm_head.weight": torch.zeros(11)},
            seq_len=16,
        )

    def test_unknown(self, state):
        self.fails(
            "unknown tensor 'H_level.layers.0.norm.weight'",
            {**state, "H_level.layers.0.norm.weight": torch.zeros(1)},
            seq_len=16,
        )

    def test_twice(self, state):
        self.fails("would both become 'q_head.bias'", {**state, "q_head.bias": torch.zeros(2)}, seq_len=16)

    def test_heads(self, state):
        self.fails("width 64 cannot be split into 5 heads", state, seq_len=16, heads=5)
        self.fails("does not fit into 0 positions", state, seq_len=16, heads=4, puzzle_positions=0)
