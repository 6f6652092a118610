# SPDX-License-Identifier: Apache-2.0
"""The edge between ``python -m monai.bundle run`` and the package: what was typed, and how errors are told."""

from __future__ import annotations

import atexit
import difflib
import errno
import inspect
import logging
import re
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import pairwise, zip_longest
from types import TracebackType
from typing import Any, cast

from monai.bundle import ConfigParser, create_workflow, run
from monai.bundle.utils import DEFAULT_MLFLOW_SETTINGS, MERGE_KEY

from monai_ronas.errors import SettingError, find_error
from monai_ronas.utils import RankError, Stopped, ignore_stop_signals, raise_if_stopped, stop_signals
from monai_ronas.utils.ranks import lost_rank

logger = logging.getLogger(__name__)
_until_the_end = ExitStack()  # of the process
_RETIRED = {"base_share", "shared_lr_factor", "trial_epochs", "trial_until"}  # keys of version 0.1
_PLACES = ("bundle_root", "cache_dir", "ckpt_dir", "dataset_dir", "export_dir", "output_dir", "splits_file")
_JSON_WORDS = {"true": True, "false": False, "null": None}
_INTERRUPTED = 130  # 128 + SIGINT, as shells count
_STOPPED = 75  # EX_TEMPFAIL of sysexits.h: to be tried again
_SURROUNDINGS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG),  # no room
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EIO),  # no way
}


def begin_command(*, resumes: bool = False) -> None:
    """Check the words of a ``python -m monai.bundle`` command, and have its errors told as sentences.

    The first of the steps under ``initialize``. An error of data or settings then ends the command with
    the sentence of :func:`sentence` and exit status 1, SIGTERM and SIGUSR1 with status 75 (see
    :func:`~monai_ronas.utils.stop_signals`), Ctrl-C with status 130; other errors keep their traceback. In any other
    process, such as a notebook or MONAI Label's server, nothing happens, and errors are exceptions.

    Args:
        resumes: the same command run again continues where this one has ended; said where that helps.

    Raises:
        SettingError: see :func:`refuse_unknown_keys` and :func:`refuse_misread_words`.
    """
    if not _command():
        return
    other = sys.excepthook
    again = "run the same command again" + (
        ": it continues from the last checkpoint, where there is one" if resumes else ""
    )

    def tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        ignore_stop_signals()  # torchrun, for one, sends SIGTERM to what is about to end
        if isinstance(error, KeyboardInterrupt):
            logger.warning("interrupted; %s", again)
            raise SystemExit(_INTERRUPTED)
        error = _underlying_stop(error)
        if isinstance(error, Stopped):
            how = ", saved; the same command goes on" if error.saved else f"; {again}"
            logger.warning("stopped by %s%s", error, how)
            raise SystemExit(_STOPPED)
        told = sentence(error, again=again)
        if told is None:
            other(kind, error, trace)
            return
        logger.debug("", exc_info=error)
        print(f"monai_ronas: {told}", file=sys.stderr)

    sys.excepthook = tell
    _until_the_end.enter_context(stop_signals())
    atexit.register(ignore_stop_signals)
    refuse_unknown_keys()
    refuse_misread_words()


def _underlying_stop(error: BaseException) -> BaseException:
    """The stop of which others, such as TorchScript's compiler, have made an error of their own; else the error."""
    if not isinstance(error, Stopped):
        try:
            raise_if_stopped()
        except Stopped as stop:
            logger.debug("", exc_info=error)
            return stop
    return error


def sentence(error: BaseException, *, again: str) -> str | None:
    """An error in a sentence.

    Args:
        error: the error, which MONAI or others may have wrapped in errors of their own.
        again: what to do once the surroundings are mended.

    Returns:
        The sentence of a :class:`~monai_ronas.errors.RonasError`, with what to do where another of many processes has
        ended; one for a disk that is full or cannot be written, and for a data loading process that was killed; None
        for an error of the program.

    Example:
        >>> sentence(PermissionError(errno.EACCES, "Permission denied", "/x"), again="run it again")
        "Permission denied in '/x': mend it and run it again."
    """
    found = find_error(error)
    cause: BaseException | None = error
    while found is None and cause is not None:
        found, cause = lost_rank(cause), cause.__cause__
    if isinstance(found, RankError):
        return f"{str(found).removesuffix('.')}; then {again}."
    if found is not None:
        return str(found)
    cause = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _SURROUNDINGS:
            place = f" in '{cause.filename}'" if cause.filename else ""
            return f"{cause.strerror}{place}: mend it and {again}."
        if isinstance(cause, RuntimeError) and "DataLoader worker" in str(cause) and "killed" in str(cause):
            return (
                "a data loading process was killed, often for want of memory or of room in /dev/shm: set the data "
                f"loader's num_workers to 0 and {again}."
            )
        cause = cause.__cause__
    return None


def refuse_misread_words(words: Sequence[str] | None = None) -> None:
    """Refuse words that the command line takes for something else.

    It reads every value as Python where it can, else as text. Of a folder's or file's name it makes a number of
    ``2024``, two words of ``a,b`` and ``Task`` of ``Task#1``. JSON's ``true``, ``false`` and ``null`` are text to it,
    and the text ``false`` counts as true: settings of ours take them as they are meant, arguments of components, such
    as ``loss#loss#batch``, do not.

    Args:
        words: the command. Default: that of this process, where it is a ``python -m monai.bundle`` command.

    Raises:
        SettingError: with the first such word and how to write it.

    Example:
        >>> refuse_misread_words(["--loss#loss#batch", "false"])
        Traceback (most recent call last):
        ...
        monai_ronas.errors.SettingError: --loss#loss#batch false would be read as the text 'false': write \
--loss#loss#batch False
    """
    for name, word in _given(words).items():
        if name in _PLACES:
            read = _as_read(word)
            quoted = len(word) > 1 and word[0] == word[-1] and word[0] in "'\""
            if read is not None and read != word and not quoted:
                raise SettingError(f"--{name} {word} would be read as {read!r}: write --{name} ./{word}")
        elif re.search("#|::", name) and word in _JSON_WORDS:
            raise SettingError(
                f"--{name} {word} would be read as the text {word!r}: write --{name} {_JSON_WORDS[word]}"
            )


def refuse_unknown_keys(words: Sequence[str] | None = None) -> None:
    """Refuse keys that the configuration does not have, which MONAI would add to it without a word.

    A key such as ``controller#loss#entropy_weight`` goes by its first part, ``+key`` by ``key``. Keys of version 0.1
    that have gone pass with a warning. Keys inside an ``args_file`` are not looked at.

    Args:
        words: the command. Default: that of this process, where it is a ``python -m monai.bundle`` command.

    Raises:
        SettingError: with the first such key and the nearest that there is.
    """
    given = _given(words)
    if "config_file" not in given:
        return
    known = set(ConfigParser.load_config_files(_as_read(given["config_file"])))
    known |= {*inspect.signature(run).parameters, *inspect.signature(create_workflow).parameters}
    if "tracking" in given:
        known |= set(cast(dict[str, Any], DEFAULT_MLFLOW_SETTINGS["configs"]))
    for name in given:
        first = re.split("#|::", name.removeprefix(MERGE_KEY))[0]
        if first in _RETIRED - known:
            logger.warning("--%s has no effect any more: the race decides how long the contenders train", name)
        elif first not in known:
            near = difflib.get_close_matches(first, sorted(known), n=1)
            hint = f"did you mean --{near[0]}?" if near else "the README lists the keys."
            raise SettingError(f"--{name} is not a key of the configuration: {hint}")


def _command() -> Sequence[str]:
    """The words of this process, where it is a ``python -m monai.bundle`` command, under ``torchrun`` too."""
    words = sys.orig_argv
    return words if ("-m", "monai.bundle") in pairwise(words) else ()


def _as_read(word: str) -> Any:
    """A word as MONAI's command line reads it."""
    from fire.parser import DefaultParseValue  # here, as only commands need it

    return DefaultParseValue(word)


def _given(words: Sequence[str] | None) -> dict[str, str]:
    """The keys of a command and what is written after each; those of this process' command by default."""
    if words is None:
        words = _command()
    given = {}
    for word, after in zip_longest(words, words[1:], fillvalue=""):
        if word.startswith("--"):
            name, sign, value = word[2:].partition("=")
            given[name.replace("-", "_")] = value if sign else after
    return given
