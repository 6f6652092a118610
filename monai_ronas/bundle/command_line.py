# SPDX-License-Identifier: Apache-2.0
"""What a person has typed behind ``python -m monai.bundle run``."""

from __future__ import annotations

import difflib
import inspect
import re
import sys
from collections.abc import Sequence
from itertools import zip_longest
from typing import cast

from fire.parser import DefaultParseValue
from monai.bundle import ConfigParser, create_workflow, run
from monai.bundle.utils import DEFAULT_MLFLOW_SETTINGS, MERGE_KEY

_PLACES = ("bundle_root", "cache_dir", "ckpt_dir", "dataset_dir", "export_dir", "output_dir", "splits_file")


def refuse_misread_words(words: Sequence[str] | None = None) -> None:
    """Refuse names of folders and files that the command line takes for something else.

    It reads every value as Python where it can: ``2024`` as a number, ``a,b`` as two words, ``Task#1`` as ``Task``.

    Args:
        words: the command. Default: that of this process, where it is a ``python -m monai.bundle`` command.

    Raises:
        ValueError: with the first such name and how to write it.
    """
    for name, word in _given(words).items():
        if name in _PLACES:
            read = DefaultParseValue(word)
            quoted = len(word) > 1 and word[0] == word[-1] and word[0] in "'\""
            if read is not None and read != word and not quoted:
                raise ValueError(f"--{name} {word} would be read as {read!r}: write --{name} ./{word}")


def refuse_unknown_keys(words: Sequence[str] | None = None) -> None:
    """Refuse keys that the configuration does not have, which MONAI would add to it without a word.

    A key such as ``controller#loss#entropy_weight`` goes by its first part, ``+key`` by ``key``. Keys inside an
    ``args_file`` are not looked at.

    Args:
        words: the command. Default: that of this process, where it is a ``python -m monai.bundle`` command.

    Raises:
        ValueError: with the first such key and the nearest that there is.
    """
    given = _given(words)
    if "config_file" not in given:
        return
    known = set(ConfigParser.load_config_files(DefaultParseValue(given["config_file"])))
    known |= {*inspect.signature(run).parameters, *inspect.signature(create_workflow).parameters}
    if "tracking" in given:
        known |= set(cast(dict, DEFAULT_MLFLOW_SETTINGS["configs"]))
    for name in given:
        first = re.split("#|::", name.removeprefix(MERGE_KEY))[0]
        if first not in known:
            near = difflib.get_close_matches(first, sorted(known), n=1)
            hint = f"did you mean --{near[0]}?" if near else "the README lists the keys."
            raise ValueError(f"--{name} is no key of the configuration: {hint}")


def _given(words: Sequence[str] | None) -> dict[str, str]:
    """The keys of a command and what is written behind each; those of this process' command by default."""
    if words is None:
        words = sys.orig_argv if "monai.bundle" in sys.orig_argv else ()
    given = {}
    for word, behind in zip_longest(words, words[1:], fillvalue=""):
        if word.startswith("--"):
            name, sign, value = word[2:].partition("=")
            given[name.replace("-", "_")] = value if sign else behind
    return given
