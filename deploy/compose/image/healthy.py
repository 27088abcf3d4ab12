"""A container's health check: every path has to be answered with 200, within the check's own time-out.

Usage: healthy.py PORT PATH… (`/readyz` for a service; for the worker also `/healthz`, which fails when its loop is
stuck). Runs without site-packages, every few seconds: it imports next to nothing.
"""

import socket
import sys

port, *paths = sys.argv[1:]
for path in paths:
    try:
        with socket.create_connection(("127.0.0.1", int(port)), timeout=4) as connection:
            connection.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            with connection.makefile("rb") as answer:
                status, _, body = answer.read(4096).partition(b"\r\n\r\n")
    except OSError as error:
        sys.exit(f"{path}: {error}")
    if b" 200 " not in status.split(b"\r\n", 1)[0]:
        sys.exit(f"{path}: {body.decode(errors='replace')}")
