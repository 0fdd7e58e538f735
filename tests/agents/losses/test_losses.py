"""What every loss promises alike, and what each of the step losses means."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from small import CELLS, STEPS, TOKENS, WIDTH, small_batch, small_reasoner
from tensordict import TensorDict

from latent_rl.agents import (
    ContinueValueLoss,
    DiffusionTargets,
    PolicyImprovementLoss,
    RecursionPolicy,
    ReturnHead,
    ReturnValueLoss,
    SolvedValueLoss,
    StepGraph,
    TerminalTargets,
)
from latent_rl.agents.losses.policy_improvement import cell_cross_entropy
from latent_rl.agents.stablemax import stablemax_logits

LOSSES = {
    "terminal": lambda reasoner: PolicyImprovementLoss(targets=TerminalTargets(max_steps=STEPS), max_steps=STEPS),
    "diffusion": lambda reasoner: PolicyImprovementLoss(
        targets=DiffusionTargets(max_steps=STEPS),
        max_steps=STEPS,
        cross_entropy="softmax",
        step_weights="linear",
    ),
    "solved": lambda reasoner: SolvedValueLoss(reasoner),
    "solved, by the key": lambda reasoner: SolvedValueLoss(reasoner, judged_by="key"),
    "solved, head only": lambda reasoner: SolvedValueLoss(reasoner, stop_gradient=True),
    "continue": lambda reasoner: ContinueValueLoss(reasoner, max_steps=STEPS),
    "return": lambda reasoner: ReturnValueLoss(ReturnHead(WIDTH), distance="l2"),
}


def stored(loss, n=2, t=3):
    """Trajectories as a collector stores them, prepared, with the outputs of their steps, which carry no graph."""
    batch = small_batch(n, t)
    policy = RecursionPolicy(small_reasoner())
    with torch.no_grad():
        policy(batch)
        batch = policy.replay(batch)
    done = torch.zeros(n, t, 1, dtype=torch.bool)
    done[:, -1] = True
    reward = torch.linspace(-1, 1, n * t).reshape(n, t, 1)
    batch["next"].update({"y": batch["next_y"], "reward": reward, "done": done, "terminated": done})
    loss.prepare(batch)
    return batch


@pytest.fixture(params=LOSSES, ids=LOSSES)
def loss(request):
    return LOSSES[request.param](small_reasoner())


class TestEveryLoss:
    def test_in_keys_are_enough_and_needed(self, loss):
        batch = stored(loss)
        whole = loss(batch)
        torch.testing.assert_close(loss(batch.select(*loss.in_keys)).to_dict(), whole.to_dict())
        assert len(set(loss.in_keys)) == len(loss.in_keys)
        for missing in loss.in_keys:
            with pytest.raises(KeyError, match=missing[-1] if isinstance(missing, tuple) else missing):
                loss(batch.exclude(missing))

    def test_out_keys_are_what_comes_back(self, loss):
        batch = stored(loss)
        for key in {"logits", "q"} & set(loss.in_keys):
            batch[key].requires_grad_()
        out = loss(batch)
        assert set(out.keys()) == set(loss.out_keys)
        assert out.batch_size == () and all(value.shape == () for value in out.values())
        for key, value in out.items():
            assert value.requires_grad == key.startswith("loss_"), key
            assert value.isfinite(), key

    def test_backward_gives_finite_gradients(self, loss):
        batch, policy = stored(loss), RecursionPolicy(small_reasoner())
        graphs = {"logits", "q"} & set(loss.in_keys)
        if graphs:
            batch.update(policy.replay(batch).select(*graphs))
        sum(value for key, value in loss(batch).items() if key.startswith("loss_")).backward()
        learning = policy.parameters() if graphs else loss.parameters()
        gradients = [weight.grad for weight in learning if weight.grad is not None]
        assert gradients and all(gradient.isfinite().all() for gradient in gradients)
        assert sum(gradient.abs().sum() for gradient in gradients) > 0

    def test_input_is_left_as_it_was(self, loss):
        batch = stored(loss)
        before = batch.clone()
        loss(batch)
        assert set(batch.keys(True)) == set(before.keys(True)) and (batch == before).all()

    def test_keys_can_be_renamed(self, loss):
        batch, accepted = stored(loss), set(loss.default_keys().__dict__)
        expected = loss(batch)
        for key in sorted(accepted & {"y", "next_y", "answer"} & set(loss.in_keys)):
            loss.set_keys(**{key: f"my_{key}"})
            assert f"my_{key}" in loss.in_keys and key not in loss.in_keys
            batch = batch.rename_key_(key, f"my_{key}")
            if ("next", key) in batch.keys(True):
                batch = batch.rename_key_(("next", key), ("next", f"my_{key}"))
        loss.prepare(batch)
        torch.testing.assert_close(loss(batch).to_dict(), expected.to_dict())

    def test_an_unknown_key_is_refused(self, loss):
        with pytest.raises(ValueError, match="nonsense is not an accepted tensordict key"):
            loss.set_keys(nonsense="x")


@pytest.mark.parametrize("name", ["terminal", "diffusion", "solved", "solved, by the key", "continue", "return"])
def test_batch_shape_does_not_matter(name):
    loss = LOSSES[name](small_reasoner())
    grid, flat = loss(stored(loss)), loss(stored(loss).reshape(-1))
    torch.testing.assert_close(grid.to_dict(), flat.to_dict(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", ["terminal", "diffusion", "solved"])
def test_a_fused_and_a_replayed_step_cost_no_pass_and_teach_the_same(name):
    results = []
    for mode in ("fused", "replay"):
        policy, batch = (
            RecursionPolicy(small_reasoner(), graph=StepGraph() if mode == "fused" else None),
            small_batch(5),
        )
        loss = LOSSES[name](policy.reasoner)
        if mode == "fused":
            with torch.no_grad():
                policy(batch)
            output = policy.graph.take()
            batch.update({"logits": output.logits, "q": output.q})
        else:
            batch = policy.replay(batch)
        passes = []
        policy.reasoner.network.register_forward_hook(lambda *_, passes=passes: passes.append(1))
        out = loss(batch)
        assert not passes
        out[next(key for key in out.keys() if key.startswith("loss_"))].backward()
        gradients = {key: weight.grad for key, weight in policy.named_parameters() if weight.grad is not None}
        assert gradients
        results.append((out.detach().to_dict(), gradients))
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=0)


def test_a_missing_key_says_who_writes_it():
    policy_loss, solved, returns = (LOSSES[name](small_reasoner()) for name in ("terminal", "solved", "return"))
    batch = small_batch(2)
    with pytest.raises(KeyError, match="PolicyImprovementLoss reads 'logits', .*: RecursionPolicy writes it"):
        policy_loss(batch)
    with pytest.raises(KeyError, match="SolvedValueLoss reads 'q', .*: RecursionPolicy writes it"):
        solved(batch)
    with pytest.raises(KeyError, match=r"reads 'value_target', .*: ReturnValueLoss.prepare writes it"):
        returns(batch)
    solved.set_keys(solution="key")
    with pytest.raises(KeyError, match="reads 'key', .*: the environment writes it"):
        solved(batch.update({"q": torch.zeros(2, 2)}))


def test_stablemax_is_its_definition():
    logits = torch.tensor([[-3.0, 0.0, 1.0, 1e6], [-1e30, -5.0, -1.0, -2.0]], dtype=torch.float64)
    s = torch.where(logits < 0, 1 / (1 - logits), logits + 1)
    torch.testing.assert_close(stablemax_logits(logits).softmax(-1), s / s.sum(-1, keepdim=True))


def test_stablemax_gradients_stay_finite_where_a_branch_has_its_pole():
    logits = torch.tensor([1.0, 0.0, -1.0, 1e30, -1e30], requires_grad=True)
    stablemax_logits(logits).sum().backward()
    torch.testing.assert_close(logits.grad, torch.tensor([0.5, 1.0, 0.5, 0.0, 0.0]))


def test_ignored_cells_do_not_count():
    """A row's loss is the mean over its own cells; a row in which none counts contributes nothing."""
    loss = LOSSES["terminal"](small_reasoner())
    loss.cross_entropy = "softmax"
    logits = torch.randn(3, CELLS, TOKENS, generator=torch.Generator().manual_seed(3))
    solution = logits.argmax(-1)
    solution[1, 2:] = -100
    solution[1, 0] = (solution[1, 0] + 1) % TOKENS
    solution[2] = -100
    out = loss(TensorDict({"logits": logits, "solution": solution}, batch_size=[3]))
    rows = F.cross_entropy(logits[0], solution[0]), F.cross_entropy(logits[1, :2], solution[1, :2])
    torch.testing.assert_close(out["loss_policy"], (rows[0] + rows[1]) / 3)
    torch.testing.assert_close(out["cell_accuracy"], torch.tensor((1 + 0.5) / 2))
    torch.testing.assert_close(out["exact_accuracy"], torch.tensor(1 / 2))


def test_linear_step_weights():
    """Step s of S weighs 2 s / (S + 1): 1 on average, S times as much at the end as at the start."""
    row = small_batch(1)
    row["logits"] = torch.randn(1, CELLS, TOKENS, generator=torch.Generator().manual_seed(3))
    losses = {}
    for weights in ("uniform", "linear"):
        loss = PolicyImprovementLoss(targets=TerminalTargets(max_steps=5), max_steps=5, step_weights=weights)
        steps = (row.clone().update({"step": torch.tensor([step])}) for step in range(5))
        losses[weights] = torch.stack([loss(batch)["loss_policy"] for batch in steps])
    ratio = losses["linear"] / losses["uniform"]
    torch.testing.assert_close(ratio, torch.tensor([1, 2, 3, 4, 5]) / 3, check_dtype=False)


@pytest.mark.parametrize("judge", ["key", "rule"])
def test_solved_value_by_hand(judge):
    """Rows: right and believed, wrong and doubted, wrong and believed, nothing counted (right, but not measured)."""
    q = torch.tensor([[2.0, 7.0], [-1.0, 7.0], [0.0, 7.0], [-3.0, 7.0]])
    solution = torch.tensor([[1, 2], [1, 2], [1, -100], [-100, -100]])
    answer = torch.tensor([[1, 2], [1, 3], [2, 2], [4, 4]])
    batch = TensorDict({"q": q, "solution": solution, "answer": answer}, batch_size=[4])
    batch.update({"step": torch.arange(4), "ends_when_solved": torch.zeros(4, dtype=torch.bool)})
    if judge == "rule":  # which says the same here, of answers that are all unlike the key
        batch["answer"] = solution + 1
        batch["next"] = TensorDict({"solved": torch.tensor([True, False, False, True])}, [4])
    out = SolvedValueLoss(small_reasoner(), judged_by=judge)(batch)
    sigmoid = torch.sigmoid(q[:, 0])
    expected = -(sigmoid[0].log() + (1 - sigmoid[1]).log() + (1 - sigmoid[2]).log() + sigmoid[3].log()) / 4
    torch.testing.assert_close(out["loss_value"], expected)
    torch.testing.assert_close(out["value_accuracy"], torch.tensor(2 / 3))


def test_the_solved_value_is_not_taught_by_what_the_key_has_left():
    """Solved after step 1 with 0.8, else after step 2 with 0.5: 0.9 are after step 2, of those left by the key 0.5."""
    generator = torch.Generator().manual_seed(0)
    episodes = 20_000
    first = torch.rand(episodes, generator=generator) < 0.8
    second = first | (torch.rand(episodes, generator=generator) < 0.5)
    ends = torch.rand(episodes, generator=generator) < 0.9
    goes_on = ~(first & ends)
    logit = torch.zeros(2, requires_grad=True)  # one a step: the latents tell no more
    step = torch.cat([torch.zeros(episodes, dtype=torch.int64), torch.ones(int(goes_on.sum()), dtype=torch.int64)])
    cells = torch.ones(len(step), 1, dtype=torch.int64)
    batch = TensorDict({"step": step, "solution": cells, "answer": cells}, batch_size=[len(step)])
    batch["ends_when_solved"] = torch.cat([ends, ends[goes_on]])
    batch["next"] = TensorDict({"solved": torch.cat([first, second[goes_on]])}, [len(step)])
    loss = SolvedValueLoss(small_reasoner())
    optimizer = torch.optim.LBFGS([logit], max_iter=50)

    def descend():
        optimizer.zero_grad()
        found = loss(batch.copy().set("q", torch.stack([logit[step], logit[step]], dim=-1)))["loss_value"]
        found.backward()
        return found

    optimizer.step(descend)
    torch.testing.assert_close(logit.detach().sigmoid(), torch.tensor([0.8, 0.9]), atol=0.02, rtol=0)


def test_stop_gradient_teaches_the_head_alone():
    loss = LOSSES["solved, head only"](small_reasoner())
    batch = stored(loss)
    batch["next_y"].requires_grad_()
    loss(batch)["loss_value"].backward()
    taught = {name for name, weight in loss.named_parameters() if weight.grad is not None}
    assert taught == {"reasoner.q_head.weight", "reasoner.q_head.bias"}
    assert batch["next_y"].grad is None
    trunk = RecursionPolicy(small_reasoner())
    LOSSES["solved"](trunk.reasoner)(trunk.replay(stored(loss)))["loss_value"].backward()
    assert trunk.reasoner.network.blocks[0].mlp.down.weight.grad.abs().sum() > 0


def test_misfits_name_both_shapes():
    with pytest.raises(ValueError, match=r"logits of shape \(2, 6, 5\) and targets of shape \(2, 7\) do not fit"):
        cell_cross_entropy(torch.zeros(2, 6, 5), torch.zeros(2, 7, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"logits of shape \(2, 6, 5\) and targets of shape \(6,\) do not fit"):
        cell_cross_entropy(torch.zeros(2, 6, 5), torch.zeros(6, dtype=torch.int64))
    batch = small_batch(2).update({"answer": torch.ones(2, 1, dtype=torch.int64), "q": torch.zeros(2, 2)})
    with pytest.raises(ValueError, match=r"answer of shape \(2, 1\) and solution of shape \(2, 6\) differ"):
        LOSSES["solved"](small_reasoner())(batch)
    batch.update({"answer": batch["solution"], "q": torch.zeros(2, 1, 2)})
    with pytest.raises(ValueError, match=r"halt logits of shape \(2, 1\) and solution of shape \(2, 6\) do not fit"):
        LOSSES["solved"](small_reasoner())(batch)


@pytest.mark.parametrize("option", [{"cross_entropy": "hinge"}, {"step_weights": "cubic"}, {"max_steps": 0}])
def test_options_are_checked(option):
    options = {"max_steps": STEPS, **option}
    with pytest.raises(ValueError, match=next(iter(option))):
        PolicyImprovementLoss(targets=TerminalTargets(max_steps=STEPS), **options)
