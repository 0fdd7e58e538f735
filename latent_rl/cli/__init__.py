"""What all programs share: manners, opening trained models, asking for a stopping rule. Imports no torch."""

from latent_rl.cli.manners import (
    Parser,
    animation_file,
    fail,
    figure_file,
    json_file,
    output_folder,
    run_program,
    submission_file,
    write_json,
)
from latent_rl.cli.models import (
    add_model_arguments,
    add_puzzles_argument,
    add_test_arguments,
    check_counts,
    instances_to_test,
    open_model,
    progress_bar,
    split_numbers,
    split_settings,
)
from latent_rl.cli.stopping import (
    add_halting_arguments,
    add_search_arguments,
    check_halting,
    check_search,
    chosen_rule,
    search_settings,
)

__all__ = [
    "Parser",
    "add_halting_arguments",
    "add_model_arguments",
    "add_puzzles_argument",
    "add_search_arguments",
    "add_test_arguments",
    "animation_file",
    "check_counts",
    "check_halting",
    "check_search",
    "chosen_rule",
    "fail",
    "figure_file",
    "instances_to_test",
    "json_file",
    "open_model",
    "output_folder",
    "progress_bar",
    "run_program",
    "search_settings",
    "split_numbers",
    "split_settings",
    "submission_file",
    "write_json",
]
