"""The README's example of a puzzle works as it is printed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_example_puzzle_conforms_and_trains(tmp_path: Path) -> None:
    (source,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    (tmp_path / "takuzu.py").write_text(source)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    check = "import takuzu; from latent_rl.envs import check_puzzle; check_puzzle(takuzu.Takuzu())"
    subprocess.run([sys.executable, "-c", check], cwd=tmp_path, env=environment, check=True)
    train = ["-m", "latent_rl.train", "env.id=takuzu:Takuzu-v0", "budget.updates=3", "tracking.enabled=false"]
    subprocess.run([sys.executable, *train], cwd=tmp_path, env=environment, check=True, capture_output=True)
    summary = json.loads((tmp_path / "runs/takuzu-pi-0/summary.json").read_text())
    assert summary["puzzle"] == "takuzu-4x4"
    assert summary["eval_puzzles"] == 1000
    (solve,) = re.findall(r"^python (-m latent_rl\.solve runs/takuzu.*)$", README.read_text(), flags=re.MULTILINE)
    run = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True}
    named = solve.split()
    subprocess.run([sys.executable, *named], check=True, **run)
    assert named.pop() == "env.id=takuzu:Takuzu-v0"
    refused = subprocess.run([sys.executable, *named], **run)
    assert refused.returncode == 2
    assert refused.stderr.endswith("imported only if you name it too: add env.id=takuzu:Takuzu-v0\n")
