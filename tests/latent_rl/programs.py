"""Running the command-line programs as a shell would."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from latent_rl import cli


class Program:
    """One program, by its `main`; arguments of any type are given to it as text."""

    def __init__(self, main: Callable[[list[str]], None]) -> None:
        self.main = main

    def __call__(self, *arguments: object) -> None:
        cli.run_program(lambda: self.main([str(argument) for argument in arguments]))

    def mistake(self, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
        """Run it; it must leave with code 2 after one line, which is returned."""
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit:
            self(*arguments)
        assert exit.value.code == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
        return captured.err
