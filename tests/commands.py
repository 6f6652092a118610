# SPDX-License-Identifier: Apache-2.0
"""``python -m monai.bundle`` without waiting for its imports, which take longer than most commands of the tests.

Python's fork server has imported MONAI and this package once; each command is a process forked from it.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

IMPORTS = (
    *("monai.bundle", "monai_ronas.bundle", "monai_ronas.handlers", "monai_ronas.visualize"),
    *("matplotlib.backends.backend_agg", "pydicom", "torch._dynamo", "torch.utils.tensorboard"),  # on a search's way
)
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload([*IMPORTS, __name__])


def forked(*args: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The result of ``python -m monai.bundle ARGS``, as :func:`subprocess.run` gives it."""
    words = [sys.executable, "-m", "monai.bundle", *args]
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder, name) for name in ("out", "err")]
        process = _SERVER.Process(target=_command, args=(words, str(cwd), {**os.environ, **environment}, streams))
        process.start()
        process.join()
        return subprocess.CompletedProcess(words, process.exitcode or 0, *(stream.read_text() for stream in streams))


def _command(words: list[str], cwd: str, environment: dict[str, str], streams: list[Path]) -> None:
    for number, stream in enumerate(streams, 1):
        os.dup2(os.open(stream, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    as_main(words, cwd)


def as_main(words: list[str], cwd: str) -> None:
    """Be the command ``python -m monai.bundle ..``, whose words are given, in a process that has been forked.

    Raises:
        SystemExit: at its end, where that is not status 0.
    """
    np.random.seed()  # noqa: NPY002 - of its own, as in a new process
    sys.orig_argv, sys.argv = words, words[2:]
    sys.path[0] = cwd
    try:
        runpy.run_module(words[2], run_name="__main__", alter_sys=True)
    except SystemExit:
        raise
    except BaseException:
        sys.excepthook(*sys.exc_info())  # which may raise SystemExit
        raise SystemExit(1) from None
