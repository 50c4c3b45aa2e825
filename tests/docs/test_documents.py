"""What the documents show is true: commands run, tables match the code, links lead somewhere."""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from genpulse.cli.app import COMMANDS
from genpulse.cli.child_server import ChildServer
from genpulse.errors import CODES
from genpulse.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    with ChildServer() as server:
        yield server.start()


def _shell(block: str, url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    script = block.replace("http://127.0.0.1:8000", url).replace(
        ".venv/bin/genpulse", f"{sys.executable} -m genpulse.cli"
    )
    environment = {**os.environ, "GENPULSE_URL": url}
    return subprocess.run(
        ["sh", "-e", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_the_curl_of_the_readme_makes_an_image(server_url: str, tmp_path: Path) -> None:
    [block] = [text for _, text in BLOCKS if text.startswith("curl")]
    done = _shell(block, server_url, tmp_path)
    task = json.loads(done.stdout)
    assert task["status"] == "completed", done.stdout + done.stderr
    [output] = task["result"]["outputs"]
    assert (output["media_type"], output["width"], output["height"]) == ("image/png", 512, 512)


def test_the_python_of_the_readme_makes_a_file(
    server_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [block] = [text for language, text in BLOCKS if language == "python"]
    monkeypatch.chdir(tmp_path)
    exec(compile(ast.parse(block.replace("http://127.0.0.1:8000", server_url)), "README.md", "exec"), {})
    [speech] = tmp_path.iterdir()
    assert speech.read_bytes()[:4] == b"RIFF"


def test_the_commands_of_the_readme_run(server_url: str, tmp_path: Path) -> None:
    [block] = [text for _, text in BLOCKS if "genpulse tasks" in text]
    # doctor may warn about this machine (a busy port, say): here it is only to be run.
    done = _shell(block.replace("doctor", "doctor || test $? -eq 1"), server_url, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [path.suffix for path in (tmp_path / "out").iterdir()] == [".png"]


def test_the_commands_for_operators_run(server_url: str, tmp_path: Path) -> None:
    [block] = [text for _, text in BLOCKS if "genpulse pools" in text]
    done = _shell(f"{block}.venv/bin/genpulse watch $id -o out --quiet\n", server_url, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for said in ("local paused", "waiting, number 1", "local active"):
        assert said in done.stdout, done.stdout
    assert [path.suffix for path in (tmp_path / "out").iterdir()] == [".png"]


def test_every_make_target_and_command_that_documents_name_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        text = path.read_text()
        assert set(re.findall(r"`make ([a-z]+)|^make ([a-z]+)", text, re.MULTILINE)) <= {
            pair for target in targets for pair in ((target, ""), ("", target))
        }
        assert set(re.findall(r"genpulse (start-[a-z]+|[a-z]+)(?= |`|\n)", text)) - {"import"} <= set(COMMANDS)


def test_the_table_of_errors_is_the_table_in_the_code() -> None:
    page = (ROOT / "docs" / "errors.md").read_text()
    documented = {row[0]: row[1:] for row in re.findall(r"^\| `(\w+)` \| (\w+) \| (.*) \|$", page, re.MULTILINE)}
    in_code = {
        name: (str(code.status) if code.scope == "request" else "yes" if code.retryable else "no", code.help)
        for name, code in CODES.items()
    }
    assert documented == in_code


def test_every_code_is_raised_somewhere() -> None:
    """Both ways: what is raised is registered (a KeyError says so at once), and what is registered is raised."""
    source = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.py") if path.name != "errors.py")
    later = {
        *("rate_limited", "quota_exceeded", "budget_exceeded"),  # keys have no limits of their own yet
        *("content_policy", "provider_failed", "provider_auth", "provider_rate_limited"),  # cloud providers
    }
    assert {code for code in CODES if f'"{code}"' not in source} <= later


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")], ids=str
)
def test_links_lead_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text()):
        if not link.startswith("http"):
            assert (path.parent / link).exists(), link


def test_every_setting_says_what_follows_from_it() -> None:
    assert all(len(field.description or "") > 20 for field in Settings.model_fields.values())


def test_every_decision_is_listed() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text()
    assert all(path.name in index for path in folder.glob("0*.md"))


def test_locked_requirements_name_no_index() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        assert not re.search(r"index-url|https?://|find-links|trusted-host", (ROOT / name).read_text())
