"""What a model can do and what it costs: the ledger of passes, evaluation, search, analysis, votes, comparison."""

from latent_rl.measuring.analysis import ENOUGH_WITHIN, QUANTILES, Analysis, analyze
from latent_rl.measuring.answering import Answers, answer, answer_by_deduction
from latent_rl.measuring.choosing import OWN_ACCURACY_TOLERANCE, baseline_stop, cheapest, own_stop, ways_to_stop
from latent_rl.measuring.comparison import (
    Comparison,
    Metric,
    Run,
    SchemeRatios,
    SchemeResult,
    TargetCost,
    not_reached,
)
from latent_rl.measuring.deducing import DeductionStep, DeductionTrace, evaluate_deduction, trace_deduction
from latent_rl.measuring.evaluation import Evaluation, evaluate
from latent_rl.measuring.intervals import Estimate, Ratio
from latent_rl.measuring.kinds import Kind, by_kind
from latent_rl.measuring.ledger import Ledger
from latent_rl.measuring.plan import (
    Plan,
    Question,
    budget_overrides,
    check_same_settings,
    differing_settings,
    make_plans,
    split_overrides,
)
from latent_rl.measuring.scores import is_known
from latent_rl.measuring.searching import SearchEvaluation, evaluate_search
from latent_rl.measuring.solutions import Solutions, solve
from latent_rl.measuring.stopping import (
    has_continue_value,
    stopping_rule,
    value_head_is_trained,
    value_is_judged_by,
)
from latent_rl.measuring.tradeoff import Averaged, Choice, Point, average, measure_policy, measure_rules
from latent_rl.measuring.votes import Election, elect, hold_vote

__all__ = [
    "Analysis",
    "Answers",
    "Averaged",
    "Choice",
    "Comparison",
    "DeductionStep",
    "DeductionTrace",
    "ENOUGH_WITHIN",
    "Election",
    "Estimate",
    "Evaluation",
    "Kind",
    "Ledger",
    "Metric",
    "OWN_ACCURACY_TOLERANCE",
    "Plan",
    "Point",
    "QUANTILES",
    "Question",
    "Ratio",
    "Run",
    "SchemeRatios",
    "SchemeResult",
    "SearchEvaluation",
    "Solutions",
    "TargetCost",
    "analyze",
    "answer",
    "answer_by_deduction",
    "average",
    "baseline_stop",
    "budget_overrides",
    "by_kind",
    "cheapest",
    "check_same_settings",
    "differing_settings",
    "elect",
    "evaluate",
    "evaluate_deduction",
    "evaluate_search",
    "has_continue_value",
    "hold_vote",
    "is_known",
    "make_plans",
    "measure_policy",
    "measure_rules",
    "not_reached",
    "own_stop",
    "solve",
    "split_overrides",
    "stopping_rule",
    "trace_deduction",
    "value_head_is_trained",
    "value_is_judged_by",
    "ways_to_stop",
]
