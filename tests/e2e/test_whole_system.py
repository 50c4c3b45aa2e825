"""`start-all` as a user runs it, killed, stopped and attacked from outside."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis

from genpulse.cli.processes import descendants, running

PLUGIN = Path(__file__).with_name("plugin.py")


class Server:
    """One data directory, and the process that serves it now."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.process: subprocess.Popen[bytes] | None = None
        self.client = httpx2.Client()

    def start(self, command: str = "start-all", **environment: str) -> None:
        with (self.data_dir.parent / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "genpulse.cli", command, "--port", "0", "--data-dir", str(self.data_dir)],
                env={**os.environ, "GENPULSE_PLUGINS": str(PLUGIN), "GENPULSE_POOLS": "local=1,handlers=4"}
                | environment,
                stderr=log,
                start_new_session=True,
            )
        url = self._announced()["gateway_url"]
        self.client.close()
        self.client = httpx2.Client(base_url=url, timeout=70)

    def _announced(self) -> dict[str, Any]:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            assert self.process is not None and self.process.poll() is None, "the server ended"
            try:
                told = json.loads((self.data_dir / "run.json").read_bytes())
            except (OSError, ValueError):
                told = {}
            if told.get("gateway_url") and told.get("pid") == self.process.pid:
                return told
            time.sleep(0.02)
        raise AssertionError("the server did not announce itself")

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)

    def submit(self, task_type: str, headers: dict[str, str] | None = None, **params: Any) -> dict[str, Any]:
        answer = self.client.post("/task", json={"task_type": task_type, "params": params}, headers=headers)
        assert answer.status_code in {200, 202}, answer.text
        return answer.json()

    def until(self, task: dict[str, Any], *statuses: str) -> dict[str, Any]:
        end = time.monotonic() + 60
        while (now := self.client.get(f"/task/{task['task_id']}").json())["status"] not in statuses:
            assert time.monotonic() < end, now
            time.sleep(0.02)
        return now

    def end(self, task: dict[str, Any]) -> dict[str, Any]:
        return self.client.get(f"/task/{task['task_id']}", params={"wait": 60}).json()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "data")
    yield made
    made.client.close()
    if made.process is not None and made.process.poll() is None:
        made.kill()


@pytest.mark.slow
def test_after_a_kill_of_everything_every_accepted_task_completes(server: Server) -> None:
    server.start()
    tasks = [server.submit("wait-then-write", seconds=1.5, text=str(n)) for n in range(8)]
    image = server.submit("text-to-image", prompt="hills at noon", width=256, height=256, seed=3)
    speech = server.submit("text-to-speech", text="Nothing is lost.")
    server.until(tasks[0], "processing")
    children = descendants(server.process.pid)  # type: ignore[union-attr]
    server.kill()

    server.start()
    for number, task in enumerate(tasks):
        ended = server.end(task)
        assert ended["status"] == "completed", ended
        [output] = ended["result"]["outputs"]
        assert server.client.get(output["url"]).text == str(number)
    assert server.end(image)["result"]["outputs"][0]["width"] == 256
    assert server.end(speech)["result"]["outputs"][0]["duration_s"] > 0.5
    assert not set(children) & set(running())
    assert server.stop() == 0


@pytest.mark.slow
def test_entries_of_direct_producers_survive_kills_once_each(server: Server) -> None:
    """Neither an entry that was taken is lost, nor one that was committed taken again."""
    texts = [str(n) for n in range(400)]
    server.start(GENPULSE_LOG_LEVEL="warning")
    for part in range(4):
        with redis.Redis.from_url(json.loads((server.data_dir / "run.json").read_bytes())["redis_url"]) as producer:
            for text in texts[part * 100 : part * 100 + 100]:
                body = {"task_type": "wait-then-write", "params": {"seconds": 0, "text": text}, "metadata": {"n": text}}
                producer.lpush("tasks:pending", json.dumps(body))
        time.sleep(0.02 * part)  # another moment each time: before, amid and after the commits
        server.kill()
        server.start(GENPULSE_LOG_LEVEL="warning", GENPULSE_POOLS="handlers=50")
    found: list[dict[str, Any]] = []
    end = time.monotonic() + 60
    while len([task for task in found if task["status"] == "completed"]) < len(texts):
        assert time.monotonic() < end, len(found)
        time.sleep(0.2)
        found = list(_all_tasks(server))
    assert sorted(task["metadata"]["n"] for task in found) == sorted(texts)


def _all_tasks(server: Server) -> Iterator[dict[str, Any]]:
    cursor = None
    while True:
        page = server.client.get("/task", params={"limit": 100} | ({"cursor": cursor} if cursor else {})).json()
        yield from page["tasks"]
        cursor = page["next_cursor"]
        if cursor is None:
            return


@pytest.mark.slow
def test_blocking_code_that_does_not_return_cannot_hold_up_a_stop(server: Server) -> None:
    """Nor is its task run elsewhere while it goes on: the process is gone before the lease is."""
    server.start(GENPULSE_DRAIN_S="0.5")
    task = server.submit("block", seconds=60)
    server.until(task, "processing")
    before = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - before < 20
    server.start()
    assert server.until(task, "processing")["attempt"] == 1


@pytest.mark.slow
def test_sigterm_hands_back_what_it_cannot_finish_and_leaves_nothing(server: Server) -> None:
    server.start(GENPULSE_DRAIN_S="0.5")
    long = server.submit("wait-then-write", seconds=8)
    server.until(long, "processing")
    children = descendants(server.process.pid)  # type: ignore[union-attr]
    with server.client.stream("GET", f"/task/{long['task_id']}/events") as events:
        next(events.iter_lines())
        before = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - before < 10
    assert not set(children) & set(running())
    assert not (server.data_dir / "run.json").exists()

    server.start()
    assert server.end(long)["status"] == "completed"
    server.stop()


@pytest.mark.slow
def test_redis_may_be_killed_and_emptied(server: Server) -> None:
    server.start()
    [valkey] = [child for child in descendants(server.process.pid) if "valkey" in _command(child)]  # type: ignore[union-attr]
    os.kill(valkey, signal.SIGKILL)
    answers = [server.submit("wait-then-write", seconds=0.1, text=str(n)) for n in range(5)]
    assert [server.end(task)["status"] for task in answers] == ["completed"] * 5
    end = time.monotonic() + 20
    while server.client.get("/status").json()["status"] != "ok":
        assert time.monotonic() < end
        time.sleep(0.1)
    server.stop()


def _command(process: Any) -> str:
    return Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace")


@pytest.mark.slow
def test_a_worker_attaches_to_a_running_gateway(server: Server, tmp_path: Path) -> None:
    alone = subprocess.run(
        [sys.executable, "-m", "genpulse.cli", "start-worker", "--data-dir", str(tmp_path / "nothing")],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert alone.returncode == 1 and "start-all" in alone.stderr
    server.start("start-api")
    waiting = server.submit("old-style", prompt="x")
    refused = server.client.post("/task", json={"task_type": "old-style", "params": {}})
    assert refused.status_code == 422 and refused.json()["errors"][0]["field"] == "params"
    worker = subprocess.Popen(
        [sys.executable, "-m", "genpulse.cli", "start-worker", "--data-dir", str(server.data_dir)],
        env={**os.environ, "GENPULSE_PLUGINS": str(PLUGIN)},
        stderr=subprocess.DEVNULL,
    )
    try:
        ended = server.end(waiting)
        assert ended["result"]["data"] == {"prompt_used": "x"}
        # A second server on the same data is refused, with advice.
        second = subprocess.run(
            [sys.executable, "-m", "genpulse.cli", "start-all", "--port", "0", "--data-dir", str(server.data_dir)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert second.returncode == 1 and str(server.process.pid) in second.stderr  # type: ignore[union-attr]
    finally:
        worker.terminate()
        worker.wait(30)
    server.stop()


@pytest.mark.slow
def test_a_full_disk_is_said_and_loses_nothing(server: Server) -> None:
    server.start()
    kept = server.submit("wait-then-write", seconds=0.1)
    assert server.end(kept)["status"] == "completed"
    server.stop()
    server.start(GENPULSE_MIN_FREE_MB=str(2**40))
    refused = server.client.post("/task", json={"task_type": "old-style", "params": {"prompt": "x"}})
    assert (refused.status_code, refused.json()["error"]["code"]) == (507, "storage_full")
    assert int(refused.headers["retry-after"]) > 0
    assert server.client.get(f"/task/{kept['task_id']}").json()["status"] == "completed"
    server.stop()


@pytest.mark.slow
def test_a_refused_start_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "genpulse.cli", "start-all", "--host", "0.0.0.0", "--port", "0"),
            *("--data-dir", str(tmp_path / "data")),
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
    assert "genpulse keys create" in done.stderr
    assert not (tmp_path / "data" / "run.json").exists()


@pytest.mark.slow
def test_a_restart_of_the_gateway_leaves_a_living_worker_its_task(server: Server) -> None:
    server.start("start-api")
    worker = subprocess.Popen(
        [sys.executable, "-m", "genpulse.cli", "start-worker", "--data-dir", str(server.data_dir)],
        env={**os.environ, "GENPULSE_PLUGINS": str(PLUGIN)},
        stderr=subprocess.DEVNULL,
    )
    try:
        task = server.submit("wait-then-write", seconds=4)
        started = server.until(task, "processing")["started_at"]
        server.kill()
        server.start("start-api", GENPULSE_PUBLIC_URL="https://media.example.org")
        ended = server.end(task)
        assert (ended["status"], ended["attempt"], ended["started_at"]) == ("completed", 1, started)
        assert ended["urls"]["self"].startswith("https://media.example.org/")
        events = server.client.get(f"/task/{task['task_id']}/events").text
        assert events.count('"status":"processing"') == 1  # claimed once, never taken away
    finally:
        worker.terminate()
        worker.wait(30)
    server.stop()


@pytest.mark.slow
def test_a_poison_kills_one_worker_once(server: Server, tmp_path: Path) -> None:
    """Afterwards it dies alone, beside neighbours and newcomers, and the worker lives; nothing is left at the end."""
    marks = tmp_path / "poison"
    server.start("start-api")
    worker = None
    command = [sys.executable, "-m", "genpulse.cli", "start-worker", "--data-dir", str(server.data_dir)]
    settings = {"GENPULSE_PLUGINS": str(PLUGIN), "GENPULSE_POOLS": "handlers=10", "GENPULSE_RETRY_BACKOFF_S": "0.1"}
    settings |= {"GENPULSE_LEASE_S": "1"}
    try:
        worker = subprocess.Popen(command, env={**os.environ, **settings}, stderr=subprocess.DEVNULL)
        neighbours = [server.submit("wait-then-write", seconds=2) for _ in range(5)]
        for task in neighbours:
            server.until(task, "processing")
        poison = server.submit("poison", marks=str(marks))
        assert worker.wait(20) == 70
        worker = subprocess.Popen(command, env={**os.environ, **settings}, stderr=subprocess.DEVNULL)
        for task in neighbours:
            server.until(task, "processing")
        before = time.monotonic()
        assert server.end(server.submit("old-style", prompt="x"))["status"] == "completed"
        assert time.monotonic() - before < 1.5, "newcomers wait for nobody"
        assert server.end(poison)["error"]["code"] == "worker_crash_loop"
        assert [server.end(task)["status"] for task in neighbours] == ["completed"] * 5
        assert worker.poll() is None
        pids = [int(line) for line in marks.read_text().splitlines()]
        assert len(pids) == len(set(pids)) == 4 and worker.pid not in pids
        children = descendants(worker.pid)
    finally:
        if worker is not None:
            worker.terminate()
            worker.wait(30)
    assert not set(children) & set(running())
    server.stop()
