"""A tracking server that behaves badly when told to: enough of MLflow's REST interface for a run, on 127.0.0.1."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Server:
    """Serves from a port of its own until the block ends.

    Args:
        artifacts: folder that runs keep their artifacts in.
        mood: how it answers, may change at any time: `well`; `hang` (takes the question and says nothing); `fail` (code
            500); `die` (hangs up without an answer).
    """

    def __init__(self, artifacts: Path, mood: str = "well") -> None:
        self.artifacts = artifacts
        self.mood = mood
        self.asked = 0
        self._over = threading.Event()
        self._points: list[Any] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                server._answer(self)

            do_GET = do_PATCH = do_PUT = do_POST

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.uri = f"http://127.0.0.1:{self._http.server_port}"

    @property
    def points(self) -> int:
        """Points of charts that it was given."""
        return len(self._points)

    def __enter__(self) -> Server:
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._http.shutdown()
        self._http.server_close()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        self.asked += 1
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        if self.mood == "hang":
            self._over.wait()
        if self.mood in ("hang", "die"):
            request.close_connection = True
            return
        code, content = (500, {"error_code": "INTERNAL_ERROR", "message": "out of order"})
        if self.mood == "well":
            code, content = self._content(request.path.partition("?")[0], json.loads(body) if body else {})
        text = json.dumps(content).encode()
        request.send_response(code)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(text)))
        request.end_headers()
        request.wfile.write(text)

    def _content(self, path: str, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        folder = self.artifacts.as_uri()
        experiment = {
            "experiment_id": "1",
            "name": "latent_rl",
            "artifact_location": folder,
            "lifecycle_stage": "active",
        }
        info = {
            "run_id": "0" * 32, "run_uuid": "0" * 32, "experiment_id": "1", "user_id": "", "status": "RUNNING",
            "start_time": 0, "artifact_uri": f"{folder}/run", "lifecycle_stage": "active", "run_name": "victim",
        }  # fmt: skip
        verb = path.partition("/mlflow/")[2]
        if verb.startswith("experiments/"):
            return 200, {"experiment": experiment, "experiment_id": "1"}
        if verb in ("runs/create", "runs/get", "runs/update"):
            return 200, {"run": {"info": info, "data": {}}, "run_info": info}
        if verb.startswith("runs/"):
            self._points += asked.get("metrics", [])
            return 200, {}
        return 404, {"error_code": "ENDPOINT_NOT_FOUND", "message": f"no {path} here"}
