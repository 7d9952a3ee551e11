"""Runs run.py as a process of its own, so that a design that hangs the bus model ends with an error here."""

import subprocess
import sys
from pathlib import Path

LIMIT_SECONDS = 1800


def test_whole_design():
    here = Path(__file__).resolve().parent
    subprocess.run([sys.executable, here / "run.py"], cwd=here, check=True, timeout=LIMIT_SECONDS)
