"""``wbcdet serve`` in a process of its own, with the shipped models."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
from conftest import REPOSITORY

from wbcdet.datasets.synthetic import render_field

pytest.importorskip("prometheus_client", reason="needs the extra serve")
pytest.importorskip("multipart", reason="needs the extra serve")

TOKEN = "0123456789abcdef0123"
Command = Callable[..., subprocess.CompletedProcess[str]]


def start(tmp_path: Path, *options: str) -> subprocess.Popen[str]:
    """Start the service, which knows ``TOKEN``."""
    (tmp_path / "tokens").write_text(f"{TOKEN}\n")
    return subprocess.Popen(
        [sys.executable, "-m", "wbcdet", "serve", "--port", "0", "--workers", "1", *options],
        env={
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONUNBUFFERED": "1",
            "WBCDET_TOKENS": str(tmp_path / "tokens"),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_signal_ends_it_when_what_is_inside_is_answered(tmp_path: Path) -> None:
    picture = cv2.imencode(".jpg", render_field(1).pixels)[1].tobytes()
    process = start(tmp_path)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://\S+:\d+/", line)
        assert found, line
        answers: list[int] = []

        def ask() -> None:
            request = urllib.request.Request(
                f"{found[0]}v1/analyze",
                picture,
                {"Authorization": f"Bearer {TOKEN}", "Content-Type": "image/jpeg"},
            )
            with urllib.request.urlopen(request, timeout=60) as answer:
                answers.append(len(json.load(answer)["fields"][0]["cells"]))

        ask()
        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(500):
            with urllib.request.urlopen(f"{found[0]}health", timeout=60) as answer:
                inside = json.load(answer)["inside"]
            if inside == 4 or len(answers) > 1:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join(60)
        assert len(answers) == 5 and len(set(answers)) == 1 and answers[0] > 0
        assert process.wait(60) == 0
        assert "The service has ended." in process.stdout.read()
        with pytest.raises(urllib.error.URLError):
            ask()
    finally:
        process.kill()
        process.communicate()


def test_who_still_sends_when_it_ends_hears_so(tmp_path: Path) -> None:
    process = start(tmp_path, "--grace", "1")
    try:
        assert process.stdout is not None
        found = re.search(r"http://(\S+):(\d+)/", process.stdout.readline())
        assert found
        bodies = [
            ("/v1/analyze", "image/jpeg", "abc"),
            ("/v1/analyze", "application/json", '{"path"'),
            ("/v1/batch", "multipart/form-data; boundary=x", "--x\r\n"),
        ]
        slow = []
        for path, kind, beginning in bodies:
            connection = socket.create_connection((found[1], int(found[2])), timeout=60)
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
            head += f"Content-Type: {kind}\r\nContent-Length: 1000\r\n\r\n{beginning}"
            connection.sendall(head.encode())
            slow.append(connection)
        for _ in range(500):
            with urllib.request.urlopen(f"{found[0]}health", timeout=60) as answer:
                if json.load(answer)["inside"] == len(slow):
                    break
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        for connection in slow:
            with connection, connection.makefile("rb") as said:
                text = said.read()
            assert text.startswith(b"HTTP/1.1 503 ") and b"urn:wbcdet:problem:ending" in text
        assert process.wait(60) == 0
        assert "Traceback" not in process.stdout.read()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--tokens", "none"], "none: cannot be read"),
        (["--allow-path", "none"], "there is no such folder"),
        (["--allow-url", "ftp://x"], "give the start of an http(s) address"),
        (["--host", "192.0.2.1"], "cannot listen on 192.0.2.1"),
    ],
)
def test_a_mistake_is_one_line(command: Command, options: list[str], said: str) -> None:
    done = command("serve", *options)
    assert done.returncode == 2 and said in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1 and not done.stdout
