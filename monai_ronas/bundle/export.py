# SPDX-License-Identifier: Apache-2.0
"""Writes the derived bundle."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from monai_ronas.bundle.check import check_bundle
from monai_ronas.bundle.configs import LOGGING_CONF, Derived
from monai_ronas.bundle.evaluate_config import evaluate_config
from monai_ronas.bundle.inference_config import inference_config
from monai_ronas.bundle.members import MEMBERS, write_members
from monai_ronas.bundle.metadata import metadata, plain
from monai_ronas.bundle.readme import bundle_readme
from monai_ronas.bundle.replacement import clear_up, new_beside, replace
from monai_ronas.bundle.summary import not_all_tested, summary_table
from monai_ronas.bundle.torchscript import write_torchscript
from monai_ronas.bundle.train_config import multi_gpu_train_config, train_config
from monai_ronas.data import Study
from monai_ronas.errors import SettingError
from monai_ronas.networks.nets import RonasSuperNet, RonasUNet
from monai_ronas.space import Architecture
from monai_ronas.utils import SearchResult, write_atomically
from monai_ronas.utils.ranks import is_main

_MARKS = ("configs/metadata.json", "models/model.pt", "docs/data_split.json")
_NOT_ALWAYS = ("docs/data_license.txt", f"models/{MEMBERS}")  # files of a bundle that another one need not have
LICENSE = Path(__file__).parent / "LICENSE.txt"


class BundleExporter:
    """Write a standard MONAI bundle of the network that a search found.

    The bundle is made in a temporary folder beside its place and moved there when it is whole and has passed
    :func:`~monai_ronas.bundle.check.check_bundle`. An older bundle there is replaced, in one step where the file system
    can; files of others in its folder and those below stay. What a killed process has left beside it is removed.

    Args:
        export_dir: the bundle's folder; its name is the bundle's name.
        study: the data of the search.
        network: the supernet.
        one_shot_voxels: voxels of the largest volume for inference in one shot, or what tells it of an architecture,
            unless the search's result says that
            windows are better.
        crops: tells the crops in a batch of an architecture.
        amp: the search trains in bfloat16.
        test_time_flips: the bundle averages its predictions over the flips of the training.
        augmented: the search augmented its training crops beyond flips.
        seen: the final training had the reward cases as well.
        result_gb: tells the memory in GiB for the predictions and sums of an architecture. Default: the bundle takes
            what is available where it runs.

    Raises:
        SettingError: when ``export_dir`` is a folder that is not a derived bundle.
    """

    def __init__(
        self,
        export_dir: str | Path,
        study: Study,
        network: RonasSuperNet,
        *,
        one_shot_voxels: int | Callable[[Architecture], int],
        crops: Callable[[Architecture], int],
        amp: bool,
        test_time_flips: bool = False,
        augmented: bool = False,
        seen: bool = False,
        result_gb: Callable[[Architecture], float] | None = None,
    ) -> None:
        self.export_dir = Path(export_dir)
        self.study = study
        self.network = network
        self.one_shot_voxels = one_shot_voxels
        self.crops = crops
        self.amp = amp
        self.test_time_flips = test_time_flips
        self.augmented = augmented
        self.seen = seen
        self.result_gb = result_gb
        if is_main():
            clear_up(self.export_dir)
        if self.export_dir.exists() and not all((self.export_dir / mark).exists() for mark in _MARKS):
            raise SettingError(
                f"export_dir '{self.export_dir}' exists and is not a derived bundle: give another folder."
            )

    def run(self, result: SearchResult, *, seconds: float) -> Path:
        """Write the bundle.

        Args:
            result: what the search found; the supernet holds its weights.
            seconds: what the search cost so far.

        Returns:
            the bundle's folder.

        Raises:
            RuntimeError: when the bundle does not pass its check; nothing is left.
        """
        work = new_beside(self.export_dir)
        try:
            self._write(work, result, seconds)
            check_bundle(work, self.network, result.architecture, self.study)
            work.chmod(0o755)
            replace(self.export_dir, work, ours=_NOT_ALWAYS)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return self.export_dir

    def summary(self, result: SearchResult, seconds: float, output_dir: str | os.PathLike[str] | None = None) -> str:
        """The table that ends a search.

        Args:
            result: what the search found.
            seconds: what the search cost.
            output_dir: folder of the search, whose report and history are told as well. Default: only the bundle is.
        """
        where = {"bundle": str(self.export_dir)}
        if output_dir is not None:
            folder = Path(output_dir)
            where |= {"report": str(folder / "search_report.html"), "history": str(folder / "history.jsonl")}
        return summary_table(self.network, result, seconds=seconds, where=where)

    def _write(self, root: Path, result: SearchResult, seconds: float) -> None:
        from monai_ronas.visualize import draw_network  # here, as a derived bundle needs no matplotlib

        fingerprint, architecture = self.study.fingerprint, result.architecture
        for folder in ("configs", "models", "docs"):
            (root / folder).mkdir()
        derived = self.network.derive(architecture).cpu().eval()
        kwargs = {**self.network.network_kwargs(architecture), "deep_supervision": False}
        trained = derived.state_dict()
        patch = self.network.space.patch(architecture)
        in_windows = result.inference is not None and result.inference.windows
        limit = self.one_shot_voxels if isinstance(self.one_shot_voxels, int) else self.one_shot_voxels(architecture)
        one_shot_voxels = 0 if in_windows else limit
        single = RonasUNet(**kwargs)
        single.load_state_dict({k: trained[k].contiguous() for k in single.state_dict()})
        write_atomically(root / "models" / "model.pt", lambda file: torch.save(single.state_dict(), file))
        write_members(root / "models", result.members)

        facts = Derived(
            kwargs,
            derived.divisor,
            patch,
            one_shot_voxels,
            fingerprint,
            batch_size=self.crops(architecture),
            amp=self.amp,
            flip_axes=self.study.flip_axes,
            test_time_flips=self.test_time_flips,
            transposed_axes=self.study.transposed_axes,
            result_gb=None if self.result_gb is None else self.result_gb(architecture),
            codes=self.study.dataset.codes,
            temperature=1.0 if result.temperature is None else result.temperature.temperature,
        )
        measured, reference = result.score, f"{len(result.case_names)} reward cases"
        if result.test is not None:
            all_of = f"of the {result.test_cases} " if not_all_tested(result) else ""
            found = sum(math.isfinite(value) for value in result.test.per_case)
            measured, reference = result.test, f"{found} {all_of}test cases"
        elif result.score is None:
            reference = "no cases yet: configs/evaluate.json measures it"
        elif result.remark:
            reference += f", {result.remark}"
        configs = {
            "inference": inference_config(facts),
            "evaluate": evaluate_config(facts),
            "train": train_config(facts),
            "multi_gpu_train": multi_gpu_train_config(),
            "metadata": metadata(
                fingerprint,
                patch,
                derived.divisor,
                licence=self.study.dataset.licence,
                dice=None if measured is None else measured.reward,
                reference=reference,
            ),
        }
        write_torchscript(
            root / "models" / "model.ts", single.eval(), metadata=configs["metadata"], inference=configs["inference"]
        )
        for name, content in configs.items():
            (root / "configs" / f"{name}.json").write_text(json.dumps(content, indent=4) + "\n", encoding="utf-8")
        (root / "configs" / "logging.conf").write_text(LOGGING_CONF, encoding="utf-8")
        split: dict[str, Any] = dict(self.study.split.to_dict())
        split["final"] = sorted(split["train"] + (split["reward"] if self.seen else []))
        split["labels"] = {str(value): label for value, label in self.study.fingerprint.labels.items()}
        split["group"] = self.study.group
        split["digests"] = dict(sorted(self.study.digests.items()))
        (root / "docs" / "data_split.json").write_text(json.dumps(split, indent=1) + "\n", encoding="utf-8")
        readme = bundle_readme(
            plain(self.export_dir.name),
            self.study,
            self.network,
            result,
            seconds,
            one_shot_voxels=one_shot_voxels,
            test_time_flips=self.test_time_flips,
            augmented=self.augmented,
            seen=self.seen,
        )
        (root / "docs" / "README.md").write_text(readme, encoding="utf-8")
        picture = draw_network(self.network.space, architecture, kwargs["channels"])
        picture.savefig(root / "docs" / "network.png", dpi=110)
        licence = plain(self.study.dataset.licence)
        if licence:
            (root / "docs" / "data_license.txt").write_text(f"{plain(fingerprint.name)}: {licence}\n", encoding="utf-8")
        shutil.copyfile(LICENSE, root / "LICENSE")
