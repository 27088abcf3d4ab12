"""The real thing: `python -m services.ledger` on a free port, over a seeded database."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

ROOT = Path(__file__).parents[3]


@contextmanager
def running_ledger(database_url: str) -> Iterator[str]:
    """Start the service's process; gives its base URL. It must end by itself, with status 0, when told to stop."""
    environment = os.environ | {
        "CITADEL_DATABASE_URL": database_url,
        "CITADEL_LEDGER_PORT": "0",
        "CITADEL_LOG_FORMAT": "json",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "services.ledger"], cwd=ROOT, env=environment, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        try:
            lines = (orjson.loads(line) for line in process.stdout)
            port = next(line["port"] for line in lines if line["event"] == "listening")
            drain = threading.Thread(target=lambda: sum(1 for _ in lines))  # a full pipe would stop the service
            drain.start()
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 0
            drain.join()
