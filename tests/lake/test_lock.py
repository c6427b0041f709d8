"""`lake.lock`: one writer of a kind, for as long as its process lives."""

import re
import socket
import subprocess
import sys

import pytest

from lake.errors import LakeError, LakeUnwritable
from lake.lock import only_one
from tests.waiting import at_most

HOLD = """
import sys
from pathlib import Path
from lake.lock import only_one
with only_one(Path(sys.argv[1]), "jobs"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_second_process_is_refused_and_the_first_is_named(tmp_path):
    """Refused at once with the owner's id and host; another role is free; a killed owner holds nothing."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first, at_most(first):
        assert first.stdout is not None and first.stdout.readline() == "held\n"
        told = rf"process {first.pid} on {re.escape(socket.gethostname())} is its jobs already"
        with pytest.raises(LakeError, match=told), only_one(tmp_path, "jobs"):
            pass
        with only_one(tmp_path, "collector-main"):
            pass
        first.kill()
        first.wait()
    with only_one(tmp_path, "jobs"):
        pass


def test_lock_ends_with_its_block(tmp_path):
    """What is over is free again, also after an error."""
    with pytest.raises(ValueError), only_one(tmp_path, "jobs"):
        raise ValueError
    with only_one(tmp_path, "jobs"):
        pass


def test_lake_that_is_not_there(tmp_path):
    """A folder that is missing is named."""
    with pytest.raises(LakeUnwritable, match="no lock can be taken"), only_one(tmp_path / "none", "jobs"):
        pass
