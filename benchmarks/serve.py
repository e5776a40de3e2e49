"""What does an ensemble cost behind `thickets serve`: the base alone, one question at a time, all questions at once?

    python -m benchmarks.serve RUN [--home DIR] [--questions 64] [--clients 64] [--json FILE]

Asks the endpoint over HTTP, as its clients do, with questions of the run's test split; a few of them before the clock
runs.
"""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from benchmarks.output import parser, show
from thickets.flows.config.run import StorageConfig
from thickets.flows.results.runs import find_run, open_scores
from thickets.storage.home import Home


def main() -> None:
    options_parser = parser(__doc__)
    options_parser.add_argument("run")
    options_parser.add_argument("--home", type=Path, default=None)
    options_parser.add_argument("--questions", type=int, default=64)
    options_parser.add_argument("--clients", type=int, default=64, help="of the ways that ask at once")
    options_parser.add_argument("--device", default="auto")
    options = options_parser.parse_args()
    home = Home(options.home or StorageConfig().home)
    questions = read_questions(home, options.run, options.questions)
    command = [sys.executable, "-m", "thickets", "serve", options.run, "--wrap", "--port", "0"]
    command += ["--home", str(home.root), "--device", options.device]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            if not url:
                sys.exit("the server did not start")
            rows = {}
            for name, model in {"base": f"{options.run}:base", "ensemble": options.run}.items():
                for n in (1, min(options.clients, len(questions))):
                    way = "one at a time" if n == 1 else f"{n} at once"
                    rows[f"{name}, {way}"] = measure(url, model, questions, n)
        finally:
            server.terminate()
    show(f"thickets serve {options.run}, {len(questions)} questions", rows, options.json)


def read_questions(home: Home, run: str, count: int) -> list[str]:
    """Return questions of the run's test split, from the first again if it has fewer."""
    folder = find_run(home, run)
    with open_scores(home, folder) as scores:
        found: list[str] = scores.questions("test")["question"].to_list()
    return [found[place % len(found)] for place in range(count)]


def measure(url: str, model: str, questions: list[str], n_clients: int) -> dict[str, Any]:
    """Ask every question once, as so many clients, and return what it took."""
    ask_all(url, model, questions[:n_clients], n_clients)
    before, start = health(url), time.perf_counter()
    votes = ask_all(url, model, questions, n_clients)
    took, after = time.perf_counter() - start, health(url)
    return {
        "questions/min": 60 * len(questions) / took,
        "experts asked": sum(vote["experts_asked"] for vote in votes) / len(votes),
        "loads": after["loads"] - before["loads"],
        "batches": after["batches"] - before["batches"],
        "tokens/s": sum(vote["tokens"] for vote in votes) / took,
    }


def ask_all(url: str, model: str, questions: list[str], n_clients: int) -> list[dict[str, Any]]:
    with httpx.Client(timeout=3600, limits=httpx.Limits(max_connections=n_clients)) as client:

        def ask(question: str) -> dict[str, Any]:
            body = {"model": model, "messages": [{"role": "user", "content": question}]}
            answer = client.post(f"{url}/chat/completions", json=body).raise_for_status()
            vote: dict[str, Any] = answer.json()["thickets"]
            return vote

        with ThreadPoolExecutor(n_clients) as pool:
            return list(pool.map(ask, questions))


def health(url: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(url.removesuffix("/v1") + "/health").raise_for_status().json()
    return found


if __name__ == "__main__":
    main()
