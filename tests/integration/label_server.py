# SPDX-License-Identifier: Apache-2.0
"""A MONAI Label server with one bundle, driven over HTTP."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import requests

from .label_environment import ROOT

START_SECONDS = TRAIN_SECONDS = 600
ACTIVE_LEARNING = "from monai_ronas.bundle import add_uncertainty; add_uncertainty(MyApp)\n"  # as the README says
TO_NIFTI = (
    "import sys; from monailabel.datastore.utils.convert import dicom_to_nifti; print(dicom_to_nifti(sys.argv[1]))"
)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _search_path(python: Path) -> str:
    """The PATH with the programs of the server's environment, and of this one, before it."""
    return os.pathsep.join((str(python.parent), str(Path(sys.executable).parent), os.environ.get("PATH", "")))


def has_dcmqi(python: Path) -> bool:
    """Whether the server finds the program that writes DICOM SEG; with a DICOMweb store, it would download it."""
    return shutil.which("itkimage2segimage", path=_search_path(python)) is not None


class LabelServer:
    """A server on loopback with the ``monaibundle`` app and a copy of a bundle; a context manager.

    Args:
        python: Python of an environment with MONAI Label.
        folder: where the app, the sessions and the log go.
        studies: folder of the volumes, with labels under ``labels/final``; or the address of a DICOMweb store with MR.
        bundle: the bundle.
        name: what the copy of the bundle is called.
    """

    def __init__(self, python: Path, folder: Path, studies: Path | str, bundle: Path, name: str) -> None:
        app = folder / "monaibundle"
        self.name = name
        self.bundle = app / "model" / name
        self._python = python
        self._log = folder / "server.log"
        self._environment = {
            **os.environ,
            "PATH": _search_path(python),
            "MONAI_LABEL_SESSION_PATH": str(folder / "sessions"),
            "MONAI_LABEL_AUTO_UPDATE_SCORING": "false",  # the tests say when
            "MONAI_LABEL_DICOMWEB_CACHE_PATH": str(folder / "downloaded"),
            "MONAI_LABEL_DICOMWEB_SEARCH_FILTER": '{"Modality": "MR"}',
            "CUDA_VISIBLE_DEVICES": "",
            "PYTHONPATH": str(ROOT),  # this checkout, whichever the environment has
        }
        label = (str(python), "-m", "monailabel.main")
        subprocess.run(
            [*label, "apps", "--download", "--name", app.name, "--output", str(folder)],
            check=True,
            capture_output=True,
            env=self._environment,
        )
        with (app / "main.py").open("a", encoding="utf-8") as main:
            main.write(ACTIVE_LEARNING)
        shutil.copytree(bundle, self.bundle)
        options = ("--conf", "models", name, "--conf", "zoo_source", "local", "--conf", "sam2", "false")
        self._command = (
            *(*label, "start_server", "--app", str(app), "--studies", str(studies), *options),
            *("--host", "127.0.0.1"),
        )

    def __enter__(self) -> LabelServer:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        with self._log.open("w") as log:
            # a group of its own: training runs in a process that would outlive the server
            self._process = subprocess.Popen(
                [*self._command, "--port", str(port)],
                stdout=log,
                stderr=log,
                env=self._environment,
                cwd=self._log.parent,
                start_new_session=True,
            )
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        for how in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, how)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=20)

    def _wait(self) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            with contextlib.suppress(requests.ConnectionError):
                self.info()
                return
            time.sleep(0.5)
        raise RuntimeError(f"the server has ended or does not answer:\n{self.log()[-8000:]}")

    def log(self) -> str:
        """What the server has said so far."""
        return self._log.read_text(errors="replace")

    def _ask(self, method: str, path: str, **arguments) -> requests.Response:
        answer = requests.request(method, self.url + path, timeout=600, **arguments)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:500]}"
        return answer

    def info(self) -> dict:
        """What the server says of its models."""
        return self._ask("GET", "/info/").json()

    def infer(self, image: str, path: Path) -> Path:
        """Segment a study, or the volume of a path on the server's machine; the prediction is written to ``path``."""
        params = '{"device": "cpu", "result_extension": ".nii.gz", "result_dtype": "uint8"}'
        question = {"image": image, "output": "image"}
        answer = self._ask("POST", f"/infer/{self.name}", params=question, data={"params": params})
        path.write_bytes(answer.content)
        return path

    def run_python(self, *arguments: str) -> str:
        """Run Python of the server's environment; returns what it prints."""
        command = [str(self._python), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=self._environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def convert(self, series: Path) -> Path:
        """Make a NIfTI of a DICOM series, as the server does with those of a DICOM store."""
        return Path(self.run_python("-c", TO_NIFTI, str(series)).splitlines()[-1])

    def upload(self, path: Path, study: str) -> None:
        """Add a volume as a study."""
        with path.open("rb") as file:
            self._ask("PUT", f"/datastore/image?image={study}", files={"file": (path.name, file)})

    def save_label(self, image: str, path: Path, label_info: list[dict]) -> None:
        """Save a file as a study's final label, with what a viewer tells of each segment."""
        params = {"params": json.dumps({"label_info": label_info})}
        with path.open("rb") as file:
            question = f"/datastore/label?image={image}&tag=final"
            self._ask("PUT", question, data=params, files={"label": (path.name, file)})

    def studies(self) -> dict:
        """The studies with what the datastore knows of them, by name."""
        return self._ask("GET", "/datastore/?output=all").json()["objects"]

    def score(self) -> dict[str, int]:
        """Score the studies without a label by how unsure the network is of them."""
        path = f"/scoring/{self.name}_uncertainty?run_sync=true"
        return self._ask("POST", path, json={"device": "cpu"}).json()

    def next_study(self) -> str:
        """The study that the strategy offers."""
        return self._ask("POST", f"/activelearning/{self.name}_uncertainty", json={}).json()["id"]

    def train(self, **request) -> str:
        """Train until the server says that it has ended; returns how."""
        self._ask("POST", f"/train/{self.name}", json=request)
        end = time.monotonic() + TRAIN_SECONDS
        while time.monotonic() < end:
            status = self._ask("GET", "/train/").json()["status"]
            if status in ("DONE", "ERROR"):
                return status
            time.sleep(0.5)
        raise TimeoutError(f"training takes more than {TRAIN_SECONDS} s")

    def infer_unlabelled(self) -> None:
        """Segment every study without a label."""
        request = {"device": "cpu", "multi_gpu": False, "max_workers": 1, "label_tag": "original", "save_label": True}
        self._ask("POST", f"/batch/infer/{self.name}?images=unlabeled&run_sync=true", json=request)

    def label(self, image: str, path: Path) -> Path:
        """Fetch the label that batch inference has saved."""
        path.write_bytes(self._ask("GET", f"/datastore/label?label={image}&tag=original").content)
        return path

    def delete_label(self, image: str) -> None:
        """Delete a study's final label."""
        self._ask("DELETE", f"/datastore/label?id={image}&tag=final")
