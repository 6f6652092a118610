# SPDX-License-Identifier: Apache-2.0
"""Words about a derived bundle, from the search's own results."""

from __future__ import annotations

import math
from collections.abc import Sequence

from monai_ronas.bundle.metadata import INTENDED_USE, REFERENCES, plain
from monai_ronas.bundle.summary import (
    architecture_in_words,
    by_axis,
    cases_in_words,
    error_in_words,
    few_steps,
    not_all_tested,
    origin_of,
    parameter_count,
)
from monai_ronas.bundle.uncertainty import uncertainty_in_words
from monai_ronas.data import Fingerprint, Split, Study
from monai_ronas.data.formats import ENDINGS
from monai_ronas.networks.nets import RonasSuperNet
from monai_ronas.utils import SearchResult

_CONTENDERS = (
    "Contenders at the end of the search, each after its training in the race (seconds, or steps where there was no "
    "limit of\ntime): Dice on the reward cases, and the soft Dice that was expected of it with all the time that was "
    "left. One that\nwas not worth a turn has no figures.",
    "A finer or coarser one differs from the base network in the stride of its first stage, a wider or narrower one "
    "in its\nnumber of channels.",
    "",
    "| origin | id | trained | Dice | soft Dice, expected |",
    "|---|---|---|---|---|",
)


def bundle_readme(
    name: str,
    study: Study,
    network: RonasSuperNet,
    result: SearchResult,
    seconds: float,
    *,
    one_shot_voxels: int,
    test_time_flips: bool,
    augmented: bool = False,
    seen: bool = False,
) -> str:
    """``docs/README.md`` of a derived bundle; the arguments are those of :class:`BundleExporter`."""
    fingerprint, split = study.fingerprint, study.split
    words = "\n".join(f"- {word}" for word in architecture_in_words(network.space, result.architecture))
    labels = ", ".join(f"{v} {plain(t)}" for v, t in sorted(fingerprint.labels.items()) if v)
    divisor = tuple(network.derive(result.architecture).divisor)
    references = "\n\n".join(f"[{number}] {text}" for number, text in enumerate(REFERENCES, 1))
    return f"""# {plain(fingerprint.name)} segmentation

A segmentation network found by RONASMIS architecture search [1] with `monai_ronas`, as the MONAI bundle `{name}`.
It was trained by the search itself{_needs_more(result)}.

{INTENDED_USE}

## Data

{plain(fingerprint.name)}: {fingerprint.num_cases} cases, {plain(", ".join(fingerprint.modality))}; labels {labels}.
{len(split.train)} cases for training, {len(split.reward)} for the reward, {len(split.test)} for the test
(`docs/data_split.json`). Licence of the data: {plain(study.dataset.licence) or "not stated"}.{_final_cases(seen)}

### Preprocessing

{_preprocessing(fingerprint)}

## Model configuration

{words}
- origin: {origin_of(result)}{_kept(result)}
- training crops {_augmentation(augmented)}
- {parameter_count(network, result.architecture):,} parameters
- input channels {fingerprint.in_channels}
- output channels {fingerprint.out_channels}, background first

![encoder left, decoder right, skips in orange](network.png)

### Inference

{_inference(network, result, study, one_shot_voxels)}
{_flips(study.flip_axes, study.transposed_axes is not None, test_time_flips)}

### Uncertainty

{uncertainty_in_words(result)}

## Performance

### Dice

{_figures(result, split)}

### Cost

The search took {seconds / 60:.1f} minutes; the weights have had {result.steps} training steps.

### Contenders

{_contenders(result)}

## MONAI Bundle Commands

Segment volumes:

    python -m monai.bundle run --config_file configs/inference.json --bundle_root . \\
        --dataset_dir VOLUMES --output_dir OUT

With `--uncertainty true` it writes maps of the uncertainty and `uncertainty.csv` as well.

Evaluate on a data set in any of the layouts that the search reads:

    python -m monai.bundle run --config_file configs/evaluate.json --bundle_root . \\
        --dataset_dir DATA

Train on, with such a data set:

    python -m monai.bundle run --config_file configs/train.json --bundle_root . \\
        --dataset_dir DATA --epochs 10

Predictions have the format of their volumes, or that of `--output_ext`:
{_formats()}, or `.dcm` for DICOM SEG of DICOM series.
`segments` under `dicom_seg` in `configs/inference.json` says with which codes.

`models/model.ts` is the network as TorchScript and runs where `monai_ronas` is not installed; it wants volumes
preprocessed and padded as said above, every axis a multiple of {by_axis(divisor)}.

## References

{references}

## License

The bundle is under the Apache License, version 2.0 (`LICENSE`).{_data_licence(study)}
"""


def _preprocessing(fingerprint: Fingerprint) -> str:
    """What happens to a volume before the network, in a sentence each."""
    spacing = by_axis([f"{size:g}" for size in fingerprint.target_spacing])
    lines = [f"Volumes are turned to RAS and resampled to {spacing} mm."]
    if fingerprint.crop_foreground:
        lines.append("They are cropped to the box around their voxels above 0.")
    channels = fingerprint.normalization
    if all(channel["mode"] == "ct" for channel in channels):
        lower, upper = min(channel["lower"] for channel in channels), max(channel["upper"] for channel in channels)
        mean, deviation = (", ".join(f"{channel[key]:g}" for channel in channels) for key in ("mean", "std"))
        each = " (by channel)" if len(channels) > 1 else ""
        lines.append(
            f"Intensities are clipped to {lower:g} to {upper:g}; then {mean}{each} is subtracted, and they are divided "
            f"by {deviation}."
        )
    else:
        voxels = " over the voxels that are not 0" if fingerprint.crop_foreground else ""
        lines.append(f"Each channel then has mean 0 and standard deviation 1{voxels}.")
    return "\n".join(lines)


def _final_cases(seen: bool) -> str:
    return "\nThe final training had the reward cases as well." if seen else ""


def _contenders(result: SearchResult) -> str:
    """The table of the race, or that there was none."""
    if not any(c.get("curve", True) or c["trained"] is not None for c in result.candidates):
        return "There was no race: no turn was worth its time."
    rows = [
        f"| {c['origin']} | {c['id']} | {_number(c['trained'], '.4g')} | {_number(c['reward'], '.4f')} | "
        f"{_number(c['forecast'], '.4f')} |"
        for c in result.candidates
    ]
    return "\n".join([*_CONTENDERS, *rows])


def _data_licence(study: Study) -> str:
    return " That of the data is in `docs/data_license.txt`." if plain(study.dataset.licence) else ""


def _formats() -> str:
    return ", ".join(f"`{end}`" for end in ENDINGS)


def _figures(result: SearchResult, split: Split) -> str:
    chosen, test = result.score, result.test
    lines = [
        "Dice on the reward cases was not measured."
        if chosen is None
        else f"Mean foreground Dice on {len(result.case_names)} reward cases"
        + (f",\n{result.remark}" if result.remark else "")
        + f": {chosen.reward:.4f}{error_in_words(chosen)}.",
        "`configs/evaluate.json` measures it on the test cases, which neither training nor reward saw, into `eval/`."
        if split.test
        else "The search kept no test cases.",
    ]
    if test is not None:
        cases = cases_in_words(test).replace(" case", " test case", 1)
        lines[1] = (
            f"On the {cases}, which neither training nor reward saw: "
            f"{test.reward:.4f}{error_in_words(test)}, after preprocessing;\n"
            "`configs/evaluate.json` measures them on the images' own grid, by class and case, into `eval/`."
        )
        if not_all_tested(result):
            named = ", ".join(plain(name) for name in result.test_names)
            lines[1] += f"\n{not_all_tested(result)}: {named}."
    return "\n".join(lines)


def _needs_more(result: SearchResult) -> str:
    """Whether the weights are good as they are."""
    few = few_steps(result.steps)
    return f", but with {result.steps} steps{few}" if few else " and needs no retraining"


def _kept(result: SearchResult) -> str:
    if origin_of(result) != "base network":
        return ""
    raced = sum(c["reward"] is not None for c in result.candidates)
    return ", kept: " + ("no other promised more" if raced > 1 else "no other was worth the time of a turn beside it")


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _augmentation(augmented: bool) -> str:
    return "turned, scaled and changed in intensity, beside flips" if augmented else "not augmented but for flips"


def _flips(axes: Sequence[int], turned: bool, averaged: bool) -> str:
    if not axes:
        return "The network was trained without flips."
    text, runs = by_axis(axes, ","), 2 ** (len(axes) + turned)
    turns = f" --inferer#transposed_axes {'None' if averaged else f'[{text}]'}" if turned else ""
    if averaged:
        return (
            f"Probabilities are averaged over the {runs} flips {'and quarter turns ' if turned else ''}along the axes "
            f"{text}, with which the network was trained;\n"
            f"`--inferer#flips []{turns}` leaves that out and is about {runs} times faster."
        )
    return f"`--inferer#flips [{text}]{turns}` averages over what the training had, in {runs} times the time."


def _inference(network: RonasSuperNet, result: SearchResult, study: Study, one_shot_voxels: int) -> str:
    largest, patch = study.fingerprint.max_shape, network.space.patch(result.architecture)
    window = by_axis(patch)
    if one_shot_voxels == 0:
        lines = [
            f"Volumes are segmented in half-overlapping windows of {window}, the training patch, up to which smaller "
            "ones are padded with zeros.",
            "`--inferer#max_voxels 100000000` segments those of up to so many voxels in one shot.",
        ]
    else:
        mode = "in one shot" if math.prod(map(max, largest, patch)) <= one_shot_voxels else f"in windows of {window}"
        lines = [
            f"Volumes are padded with zeros at least to {window}, the training patch. Volumes of up to "
            f"{one_shot_voxels:,} voxels after padding fit the memory of the search's machine and are segmented in "
            f"one shot; larger ones in half-overlapping windows of {window}.",
            f"The largest volume of the data ({by_axis(largest)}) is segmented {mode}. "
            "`--inferer#max_voxels` changes the limit; 0: always windows.",
        ]
    return "\n".join(lines + _measured(result))


def _measured(result: SearchResult) -> list[str]:
    """What was chosen, one shot or windows, and why, with the Dice of each case."""
    choice = result.inference
    if choice is None:
        return []
    lines = ["", "One shot or windows, chosen at the end of the search:", plain(choice.reason)]
    if choice.cases:
        lines += ["", "| reward case | one shot | windows |", "|---|---|---|"]
        lines += [
            f"| {plain(name)} | {whole:.4f} | {windows:.4f} |"
            for name, whole, windows in zip(choice.cases, choice.one_shot, choice.in_windows, strict=True)
        ]
        if "the final training" in result.remark:
            lines += ["", "The final training has seen these cases: the difference counts, not the figures themselves."]
    return [*lines, ""]
