# SPDX-License-Identifier: Apache-2.0
"""The cases that a derived bundle is judged by and trained on."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_ronas.data import Case, DatasetError, MSDDataset, read_msd
from monai_ronas.data.content import known_cases
from monai_ronas.data.groups import group_of
from monai_ronas.errors import SettingError

logger = logging.getLogger(__name__)
_USES = ("train", "reward", "test")
_SHOWN = 5


def evaluation_cases(
    dataset_dir: str | os.PathLike[str], split_file: str | os.PathLike[str], use: str = "unseen"
) -> CaseList:
    """Labelled cases of a data set that a bundle may be judged on.

    A case is one of the search's where its image is, whatever the file is called. A new image of a patient, as the
    search's ``group`` tells them, is as unseen as the patient's other images. How many are left out is logged.
    Cases whose files are missing or wrong are named and left out, which is a fault at the end: see
    :func:`tell_left_out`.

    Args:
        dataset_dir: folder of a data set, in any layout of :mod:`monai_ronas.data.layouts`.
        split_file: the bundle's ``data_split.json``, with the names of the cases by use, the digests of their images
            and ``group``; without digests, cases go by their names.
        use: ``"unseen"`` for all cases that neither training nor reward saw (the search's test fold, and any other
            case), ``"all"``, or a use of the split file.

    Returns:
        dictionaries with the paths ``image`` and ``label``, and what is wrong with cases left out.

    Raises:
        DatasetError: when no case is left, or a label has another value than in the bundle.
        SettingError: when ``use`` is unknown.
    """
    split = _read_split(split_file)
    allowed = ("unseen", "all", *(key for key in split if key not in ("digests", "labels", "group")))
    if use not in allowed:
        raise SettingError(f"evaluation_use must be one of {allowed}, received {use!r}.")
    name, cases, left_out = _told_apart(dataset_dir, split)
    seen = {c.case.name for c in cases if c.use in ("train", "reward")}
    if use == "unseen":
        kin = {c.case.name for c in cases if c.known is None} & seen
        _tell("show patients that training or reward saw, and are left out", kin)
    chosen = [
        c.case for c in cases if use == "all" or (c.case.name not in seen if use == "unseen" else c.known in split[use])
    ]
    logger.info("evaluation_use=%s: %d of the %d cases of %s", use, len(chosen), len(cases), name)
    if not chosen:
        seen_all = "training or reward saw all of them, so search with a fold, or give other data."
        why = _in_words(left_out) if left_out else seen_all
        raise DatasetError(f"'{dataset_dir}' holds no case for evaluation_use={use}: {why}")
    return CaseList((case.item() for case in chosen), left_out)


def training_cases(dataset_dir: str | os.PathLike[str], split_file: str | os.PathLike[str]) -> dict[str, CaseList]:
    """Labelled cases to train a bundle on and to validate it with.

    The search's training cases and all new ones are for training, its reward cases for validation; its test cases
    stay unseen. Where there is no reward case, every fifth of the new patients is for validation. A case is one of the
    search's where its image is, whatever the file is called; a new image of a patient, as the search's ``group`` tells
    them, has the use of the patient's other images. Cases whose files are missing or wrong are named and left out,
    which is a fault at the end: see :func:`tell_left_out`.

    Args:
        dataset_dir: folder of a data set, in any layout of :mod:`monai_ronas.data.layouts`.
        split_file: the bundle's ``data_split.json``; without digests in it, cases go by their names.

    Returns:
        lists of dictionaries with the paths ``image`` and ``label`` under ``train`` and ``validate``; that of ``train``
        tells what is wrong with cases left out.

    Raises:
        DatasetError: when there is not at least one case for each, or a label has another value than in the bundle.
    """
    split = _read_split(split_file)
    _, cases, left_out = _told_apart(dataset_dir, split)
    new = {c.case.name for c in cases if c.known is None}
    unseen = {c.case.name for c in cases if c.use == "test"}
    _tell("show patients of the search's test cases, and stay unseen as well", new & unseen)
    validate = [c.case for c in cases if c.use == "reward"]
    if not validate:
        patients = list(dict.fromkeys(c.patient for c in cases if c.use is None))
        validate = [c.case for c in cases if c.use is None and c.patient in patients[::5]]
    judges = {case.name for case in validate}
    train = [c.case for c in cases if c.case.name not in judges | unseen]
    if not train or not validate:
        raise DatasetError(
            f"'{dataset_dir}' has {len(train)} case(s) for training and {len(validate)} for validation, but both are "
            f"needed: {_in_words(left_out) if left_out else 'add cases.'}"
        )
    if set(split["reward"]) & set(split.get("final", ())) and judges - new:
        logger.warning(
            "the search's final training had the validation cases as well, so its weights are hard to beat on them; "
            "a search with --final_on_reward_cases false keeps them apart"
        )
    logger.info(
        "%d cases for training and %d for validation: %d of the search and %d new; %d test case(s) stay unseen",
        *(len(train), len(validate), len(cases) - len(new | unseen), len(new - unseen), len(unseen)),
    )
    return {
        "train": CaseList((case.item() for case in train), left_out),
        "validate": CaseList(case.item() for case in validate),
    }


class CaseList(list[Any]):
    """Paths of cases or volumes, or items of such paths.

    Args:
        cases: the cases or volumes.
        left_out: what is wrong with those that were left out, in words.
    """

    def __init__(self, cases: Iterable[Any], left_out: Iterable[str] = ()) -> None:
        super().__init__(cases)
        self.left_out = tuple(left_out)


def tell_left_out(cases: Sequence[Any]) -> None:
    """End a command that has done without some cases as a failure.

    Args:
        cases: of a :class:`CaseList`; of any other list nothing is known to be left out.

    Raises:
        DatasetError: where cases were left out, with what is wrong with the first of them.
    """
    left_out = getattr(cases, "left_out", ())
    if left_out:
        raise DatasetError(_in_words(left_out))


def _in_words(left_out: Sequence[str]) -> str:
    more = "; ..." if len(left_out) > _SHOWN else "."
    return f"{len(left_out)} case(s) were left out: {'; '.join(left_out[:_SHOWN])}{more}"


@dataclass(frozen=True)
class _Told:
    """A case, and what the search knows of it.

    Attributes:
        case: the case.
        known: the name that the search knew it by; None: it is new.
        patient: the group that its name tells; the name where there are no groups.
        use: that of the case in the search, or of other cases of its patient; None: there was none.
    """

    case: Case
    known: str | None
    patient: str
    use: str | None


def _told_apart(dataset_dir: str | os.PathLike[str], split: Mapping[str, Any]) -> tuple[str, list[_Told], list[str]]:
    """The name of a data set, its cases without those that the search left out for their faults, and other faults."""
    skipped: Sequence[str] = split.get("skipped", ())
    dataset = read_msd(dataset_dir, strict=False)
    _compare_labels(dataset, split.get("labels", {}))
    uses = {name for use in _USES for name in split[use]}
    digests: dict[str, str] = split.get("digests", {})
    digests = {name: digests[name] for name in sorted(digests, key=lambda name: name in uses)}  # of two, the one used
    known = known_cases(dataset.cases, digests) if digests else {c.name: c.name for c in dataset.cases}
    others = {c.name for c in dataset.cases if c.name not in known} & uses
    _tell("bear names of the search's but have other images, and count as new", others)
    unread = {name for name in skipped if name not in digests}  # of these the name alone is known
    kept = [c for c in dataset.cases if known.get(c.name) not in skipped and c.name not in unread]
    _tell("are left out, as the search could not read cases of these names", {c.name for c in dataset.cases} & unread)
    left_out = [f"'{name}': {problem}" for name, problem in dataset.faults if name not in skipped]
    for fault in left_out:
        logger.error("left out: %s", fault)
    names = {c.name: known[c.name] for c in kept if known.get(c.name) in uses}
    return dataset.name, _with_uses(kept, names, split), left_out


def _with_uses(cases: Sequence[Case], known: Mapping[str, str], split: Mapping[str, Any]) -> list[_Told]:
    """Cases with their uses; ``known`` has the search's name of those that it knew."""
    group: str | None = split.get("group")
    use_of = {name: use for use in _USES for name in split[use]}
    use_of_patient = {} if group is None else {group_of(name, group): use for name, use in use_of.items()}
    told = []
    for case in cases:
        name = known.get(case.name)
        patient = case.name if group is None else group_of(name or case.name, group)
        told.append(_Told(case, name, patient, use_of_patient.get(patient) if name is None else use_of[name]))
    return told


def _tell(what: str, names: Collection[str]) -> None:
    if names:
        more = ", ..." if len(names) > _SHOWN else ""
        logger.warning("%d case(s) %s: %s%s", len(names), what, ", ".join(sorted(names)[:_SHOWN]), more)


def _compare_labels(dataset: MSDDataset, labels: Mapping[str, str]) -> None:
    """Refuse a data set that gives a label of the bundle another value, and say where a value has another name.

    Raises:
        DatasetError: with the first such label.
    """
    known = {name.strip().casefold(): int(value) for value, name in labels.items()}
    for value, name in dataset.labels.items():
        other = known.get(name.strip().casefold(), value)
        if other != value:
            raise DatasetError(
                f"the label '{name}' is {value} in '{dataset.root}' and {other} in the bundle: renumber the labels of "
                "the data set."
            )
        of_bundle = labels.get(str(value), name)
        if value and of_bundle.strip().casefold() != name.strip().casefold():
            logger.warning("label %d is '%s' in '%s' and '%s' in the bundle", value, name, dataset.root, of_bundle)
    if str(dataset.ignore_label) in labels:
        raise DatasetError(
            f"{dataset.ignore_label} is to be ignored in '{dataset.root}' and '{labels[str(dataset.ignore_label)]}' in "
            "the bundle: renumber the labels of the data set."
        )


def _read_split(path: str | os.PathLike[str]) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return content
