"""One fixed program against the collector: the same weights, played again by a stand-in for a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from loop import learn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from latent_rl.config import load_config
from latent_rl.errors import UserError
from latent_rl.training import Run, assemble, restore, save
from latent_rl.training.captured import EAGER_UPDATES, Found, cuda_graph

SMALL = [
    # So few puzzles that their order is laid out anew several times.
    "env.options={size: 4, train: 40, test: 10, augment: true}",
    "network={width: 16, layers: 1, heads: 2, multiple_of: 8}",
    "collector.num_envs=8",
    "env.max_steps=3",
    # The learning rate changes while the program is played.
    "optimizer.warmup_updates=15",
    "tracking.enabled=false",
    "device=cpu",
]
SCHEMES = {
    "pi": [],
    "dis": ["scheme=dis"],
    "trm": ["scheme=trm", "network.inner_updates=2", "network.cycles=2"],
    "attention": ["network.mixer=attention", "network.positions=rope"],
}
schemes = pytest.mark.parametrize("settings", SCHEMES.values(), ids=SCHEMES)


class Tape(TorchDispatchMode):
    """Records operations as a CUDA graph does: a play runs the same kernels on the same memory, and no Python."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        self.calls.append((function, _held(args), _held(kwargs or {}), _held(result)))
        return result

    def play(self) -> None:
        for function, args, kwargs, result in self.calls:
            again = function(*args, **kwargs)
            if any(out.alias_info is not None for out in function._schema.returns):
                continue  # a view, or written in place
            for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                if isinstance(old, torch.Tensor):
                    old.copy_(new)


def _held(values: Any) -> Any:
    """The tensors themselves, however they are bound to a graph: what Python does with them later changes nothing."""
    return tree_map(lambda one: one.detach() if isinstance(one, torch.Tensor) else one, values)


def taped(program: Callable[[], Found], generators: Sequence[torch.Generator]) -> tuple[Found, Callable[[], None]]:
    tape = Tape()
    with tape:
        found = program()

    @torch.no_grad()
    def play() -> None:
        tape.play()

    return found, play


def made(settings: list[str], mode: str = "captured", record: Any = None) -> Run:
    run = assemble(load_config("sudoku-4x4", [*SMALL, *settings, f"collector.mode={mode}"]))
    run.collection.environment.vector.masked_resets = True  # so that both modes draw the same
    if record is not None:
        run.captured._record = record
    return run


def update(run: Run, times: int) -> list[dict[str, float]]:
    """What each update told."""
    told = []
    for _ in range(times):
        batch, metrics = run.captured()
        reward = batch["next", "reward"]
        assert reward.shape == (8, 1, 1)
        told.append({"reward": float(reward.mean()), **{name: float(value) for name, value in metrics.items()}})
    return told


def weights(run: Run) -> dict[str, torch.Tensor]:
    both = {"now": run.reasoner, "averaged": run.learner.averaged_reasoner}
    return {f"{kind}.{name}": value for kind, one in both.items() for name, value in one.state_dict().items()}


def assert_same(one: Run, other: Run) -> None:
    assert one.learner.updates == other.learner.updates
    assert one.ledger.state_dict() == other.ledger.state_dict()
    assert one.spent.puzzles == other.spent.puzzles
    expected = weights(other)
    for name, value in weights(one).items():
        assert torch.equal(value, expected[name]), name


@schemes
@pytest.mark.parametrize("record", [None, taped], ids=["as it is", "played"])
def test_twenty_updates_are_those_of_the_collector(settings: list[str], record: Any) -> None:
    reference = made(settings, "fused")
    learn(reference, 20)
    run = made(settings, record=record)
    told = update(run, 20)
    assert_same(run, reference)
    assert (run.captured._play is not None) == (record is not None)
    assert len({one["loss"] for one in told}) == 20  # every play tells of itself


def test_a_play_runs_no_python_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    run = made([], record=taped)
    update(run, EAGER_UPDATES + 1)
    called: list[None] = []
    monkeypatch.setattr(run.captured, "_program", lambda: called.append(None))
    monkeypatch.setattr(run.policy, "forward", lambda steps: called.append(None))
    before = run.ledger.train_passes
    update(run, 3)
    assert not called
    assert run.ledger.train_passes == before + 3 * 8 * 3
    assert run.ledger.gradient_passes == run.ledger.train_passes


def test_episodes_stay_in_their_tensors_and_go_on() -> None:
    run = made([])
    update(run, 1)
    tensors = run.collection.environment.vector.episodes.tensors()
    places = {name: tensor.data_ptr() for name, tensor in tensors.items()}
    begun = tensors["inputs"].clone()
    update(run, 5)
    now = run.collection.environment.vector.episodes.tensors()
    assert {name: tensor.data_ptr() for name, tensor in now.items()} == places
    assert not torch.equal(now["inputs"], begun)


@pytest.mark.parametrize("record", [None, taped], ids=["as it is", "played"])
def test_a_resumed_run_goes_on_bit_for_bit(tmp_path: Path, record: Any) -> None:
    settings = SCHEMES["trm"]
    whole = made(settings, record=record)
    update(whole, 17)
    run = made(settings, record=record)
    update(run, 9)
    save(run, tmp_path, None)
    resumed = made(settings, record=record)
    restore(resumed, tmp_path)
    update(resumed, 8)
    assert_same(resumed, whole)


@pytest.mark.parametrize(
    ("setting", "names"),
    [
        ("halting.rule=learned", "halting.rule=learned"),
        ("scheme=exit", "answers.group"),
        ("network.puzzle_embedding_width=16", "network.puzzle_embedding_width"),
        ("optimizer.name=muon", "optimizer.name=muon"),
        ("scheme=deduce", "collector.mode"),
        ("loss.terms.return.weight=1", "collector.mode=replay"),
    ],
)
def test_what_is_no_fixed_program_is_refused(setting: str, names: str) -> None:
    with pytest.raises(UserError, match=names):
        load_config("sudoku-4x4", [*SMALL, "collector.mode=captured", setting])


class Graph:
    """What `cuda_graph` needs of a CUDA graph, in the order in which it asks."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def register_generator_state(self, generator: torch.Generator) -> None:
        self.asked.append(generator)

    def replay(self) -> None:
        self.asked.append("play")


def test_a_cuda_graph_knows_the_generator_and_is_played_once_after_it_was_recorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph, generator = Graph(), torch.Generator()

    @contextmanager
    def recording(of: Graph) -> Iterator[None]:
        of.asked.append("begin")
        yield
        of.asked.append("end")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: graph)
    monkeypatch.setattr(torch.cuda, "graph", recording)
    found, play = cuda_graph(lambda: graph.asked.append("program") or "found", [generator])
    assert found == "found"
    play()
    assert graph.asked == [generator, "begin", "program", "end", "play", "play"]


def test_what_cuda_cannot_record_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def recording(of: Graph) -> Iterator[None]:
        yield

    def program() -> Found:
        raise RuntimeError("operation not permitted when stream is capturing\nCUDA kernel errors might be …")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", recording)
    with pytest.raises(UserError, match=r"cannot be recorded .*is capturing\); collector.mode=fused does without$"):
        cuda_graph(program, [])


@pytest.mark.gpu
@schemes
def test_a_cuda_graph_is_played_to_the_same_weights(settings: list[str]) -> None:
    settings = [*settings, "device=cuda", "halting.rule=never"]
    reference = made(settings, "fused")
    learn(reference, 20)
    run = made(settings)
    update(run, 20)
    assert run.captured._play is not None
    assert run.ledger.state_dict() == reference.ledger.state_dict()
    expected = weights(reference)
    for name, value in weights(run).items():
        torch.testing.assert_close(value, expected[name], atol=1e-4, rtol=1e-3)
