"""Processes that train as one: what `torchrun` makes of a run, and the parts that make it so.

Kills: `make hammer ARGS="team"`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import team_runs
import torch
from programs import Program
from team_runs import differences, flat
from tensordict import TensorDict

from latent_rl import compare
from latent_rl.agents import Team, draw_rows, shared_count
from latent_rl.cli import manners
from latent_rl.config import load_config
from latent_rl.envs import LatentRecursionVectorEnv
from latent_rl.errors import UserError
from latent_rl.reporting.metrics import training_metrics
from latent_rl.storage import Spent, load_training
from latent_rl.train import main
from latent_rl.training import Interruption, choose_device, join
from latent_rl.training.team import share_of

HALTING_ON_ARC = [
    "--config=arc-mini", "scheme=pi-halt", "halting.ppo={steps: 3, hidden: 8, minibatch: 16}", "collector.num_envs=6",
    "network={width: 16, heads: 2, multiple_of: 8, puzzle_embedding_width: 24}", "budget={updates: 8, seconds: null}",
    "evaluation={every_updates: 5, views: 1}", "optimizer.warmup_updates=3", "device=cpu",
    "tracking={enabled: false, every_updates: 1}",
]  # fmt: skip
"""Means over cells and rows, a halting policy that draws and learns, embeddings of puzzles, and charts at updates in
which an episode ends in one process and none in the other."""


class Half(Team):
    """One of two processes, of which the other holds `others`."""

    def __init__(self, rank: int, others: torch.Tensor) -> None:
        super().__init__(rank, 2)
        self.others = others

    def gather(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.cat([rows, self.others] if self.rank == 0 else [self.others, rows])

    def sum(self, value: torch.Tensor) -> torch.Tensor:
        return value + self.others


def test_torchrun_trains_as_one_process_does(tmp_path, monkeypatch, without_figures) -> None:
    (tmp_path / "two").mkdir()
    (tmp_path / "one").mkdir()
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    program = subprocess.Popen(
        [*command, "latent_rl.train", *HALTING_ON_ARC, "name=r", "--json", "-"],
        cwd=tmp_path / "two",
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    monkeypatch.chdir(tmp_path / "one")
    main([*HALTING_ON_ARC, "name=r"])
    out, told = program.communicate(timeout=300)
    assert program.returncode == 0, told

    # One of them shows and writes.
    two, one = (json.loads(Path(f"../{name}/runs/r/summary.json").read_text()) for name in ("two", "one"))
    assert json.loads(out) == two and told.count("in 2 processes, run directory runs/r") == 1
    assert [path.name for path in Path("../two/runs").iterdir()] == ["r"]
    assert (two.pop("world_size"), one.pop("world_size")) == (2, 1)
    assert two["cell_accuracy"] == pytest.approx(one["cell_accuracy"], rel=1e-5)  # a sum of shares, in another order
    free = ("train_seconds", "cell_accuracy")
    assert {key: two[key] for key in two if key not in free} == {key: one[key] for key in one if key not in free}
    states = [flat(load_training(Path(f"../{name}/runs/r/checkpoint"), "cpu")) for name in ("one", "two")]
    for state in states:
        state.pop("/clock/seconds")
    one, two = ({key: state[key] for key in state if not key.startswith("/history")} for state in states)
    assert differences(one, two, 1e-4)[1] == []
    assert {path for path in one if "learned_ids" in path} and one["/halting/seen/0/features"].shape[0] == 6

    # And a team of another size, of one for instance, goes on.
    monkeypatch.chdir(tmp_path / "two")
    main(["--resume", "runs/r", "budget.updates=10"])
    monkeypatch.chdir(tmp_path / "one")
    main(["--resume", "runs/r", "budget.updates=10"])
    one, two = (load_training(Path(f"../{name}/runs/r/checkpoint"), "cpu")["learner"] for name in ("one", "two"))
    assert two["updates"] == 10 and differences(flat(one), flat(two), 1e-4)[1] == []


def test_all_that_is_shared_is_shared_in_every_scheme(tmp_path) -> None:
    """Counts of cells, candidates and rows, memories of answers, minibatches: to rounding at float64, in 6 updates."""
    kinds = ["dis", "pi-halt", "exit", "grpo-critic", "deduce", "replay"]
    shared = [team_runs.__file__, "--kinds", *kinds, "--updates", "6", "--double"]
    team = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *shared, "two.pt"]
    for command in (
        team,
        [sys.executable, *shared, "one.pt"],
        [sys.executable, *shared, "one.pt", "--against", "two.pt"],
    ):
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_rows_draw_what_they_would_in_one_process() -> None:
    probabilities = torch.rand(6, 5)

    def draw(rows: torch.Tensor) -> torch.Tensor:
        return torch.multinomial(rows, 3, replacement=True)

    torch.manual_seed(7)
    together, state = draw_rows(draw, probabilities), torch.get_rng_state()
    halves = []
    for rank, rows in enumerate(probabilities.chunk(2)):
        torch.manual_seed(7)
        with Team(rank, 2).at_work():
            halves.append(draw_rows(draw, rows))
        assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(torch.cat(halves), together)


@pytest.mark.parametrize("masked", [False, True])
def test_rows_get_the_puzzles_that_they_would_get_from_one_process(masked: bool) -> None:
    options = {"puzzle": "toy_puzzle:Backwards", "width": 4}
    whole = LatentRecursionVectorEnv(num_envs=6, **options)
    halves = [LatentRecursionVectorEnv(num_envs=3, **options) for _ in range(2)]
    for one in (whole, *halves):
        one.masked_resets = masked
    for rank, half in enumerate(halves):
        half.team = Half(rank, torch.empty(0))
    observed = whole.reset(seed=3)[0]["inputs"]
    assert torch.equal(torch.cat([half.reset(seed=3)[0]["inputs"] for half in halves]), observed)
    for done in ([1, 0, 0, 0, 1, 1], [0, 0, 0, 1, 0, 0], [0] * 6, [1] * 6, [0, 1, 1, 0, 0, 0]):
        mask = torch.tensor(done).bool()
        observed = whole.reset(options={"reset_mask": mask})[0]["inputs"]
        parts = []
        for half, other, own in zip(halves, mask.chunk(2)[::-1], mask.chunk(2), strict=True):
            half.team.others = other
            parts.append(half.reset(options={"reset_mask": own})[0]["inputs"])
        assert torch.equal(torch.cat(parts), observed)
    states = [one.state_dict()["sampler"] for one in (whole, *halves)]
    assert torch.equal(states[0]["generator"], states[1]["generator"])
    assert torch.equal(states[0]["generator"], states[2]["generator"])


def test_counts_are_those_of_all() -> None:
    assert shared_count(torch.tensor(0)) == 1 and shared_count(torch.tensor(5)) == 5
    with Half(0, torch.tensor(7)).at_work():
        assert shared_count(torch.tensor(5)) == 6
    with Half(0, torch.tensor(0)).at_work():
        assert shared_count(torch.tensor(0)) == 0.5  # 1 in all


def test_charts_are_those_of_all_rows() -> None:
    def steps(done: list[int], solved: list[int]) -> TensorDict:
        after = {"done": torch.tensor(done).view(-1, 1).bool(), "solved": torch.tensor(solved).bool()}
        after |= {"reward": torch.tensor(solved).float(), "violations": torch.zeros(4), "step": torch.arange(4)}
        return TensorDict({"next": TensorDict(after, [4])}, [4])

    mine, theirs = steps([1, 0, 0, 0], [1, 0, 0, 0]), steps([1, 1, 1, 0], [0, 0, 0, 0])
    team, spent = Half(0, torch.empty(0)), Spent(1, 1.0, 8, 8, 8)
    team.gather_steps = lambda own: torch.cat([own, theirs["next"]])
    team.gather_uneven = lambda own: [own, {"only theirs": 3.0, "both": 5.0}]
    found = training_metrics(mine, {"both": torch.tensor(1.0)}, spent, team)
    assert found["train/solved"] == 0.25 and found["train/episode_steps"] == 0.75 and found["train/reward"] == 0.125
    assert found["train/both"] == 3.0 and found["train/only theirs"] == 3.0


def test_a_mistake_that_only_another_process_has_made_is_said_by_it(monkeypatch, capsys) -> None:
    monkeypatch.setattr(manners, "TIME_TO_SAY", 0.0)
    for rank, said in (("0", "error: no file x\n"), ("3", "error: rank 3: no file x\n")):
        monkeypatch.setenv("RANK", rank)
        with pytest.raises(SystemExit):
            manners.fail("no file x")
        assert capsys.readouterr().err == said


def test_more_processes_than_devices_are_refused_by_all(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for name, number in (("WORLD_SIZE", 4), ("LOCAL_WORLD_SIZE", 2), ("LOCAL_RANK", 0)):
        monkeypatch.setenv(name, str(number))
    with pytest.raises(UserError, match="2 processes on a machine with 1 CUDA devices"):
        choose_device("auto")
    assert choose_device("cpu").type == "cpu"


def test_a_team_without_cuda_trains_on_the_cpu(monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto").type == "cpu"
    for name in ("mps", "cuda:0"):
        with pytest.raises(UserError, match="several processes train on"):
            choose_device(name)


def test_processes_that_do_not_find_each_other(monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)

    def lost(*_, **__):
        raise torch.distributed.DistNetworkError("The server socket has failed to listen\nand more")

    monkeypatch.setattr("torch.distributed.init_process_group", lost)
    with pytest.raises(UserError, match="do not find each other: The server socket has failed to listen$"), join():
        pass


def test_rows_that_cannot_be_shared_are_refused() -> None:
    config = load_config("sudoku-4x4", ["collector.num_envs=32"])
    assert share_of(config, Team(1, 4)).collector.num_envs == 8
    with pytest.raises(UserError, match="collector.num_envs=32 cannot be shared equally by 3 processes"):
        share_of(config, Team(0, 3))
    config = load_config("sudoku-4x4", ["collector={mode: replay, num_envs: 32, minibatch_size: 50}"])
    with pytest.raises(UserError, match="collector.minibatch_size=50 cannot be shared equally by 4 processes"):
        share_of(config, Team(0, 4))


def test_comparisons_have_processes_of_their_own(monkeypatch, capsys) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "without torchrun" in Program(compare.main).mistake(capsys, "--schemes", "pi")


def test_a_team_stops_once_all_of_it_know() -> None:
    with Interruption(in_team=True) as interruption:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)  # which torchrun sends again
        assert interruption.told and not interruption.requested
        interruption.agreed = True
        assert interruption.requested
        with pytest.raises(KeyboardInterrupt):
            interruption.stop_at_once()
