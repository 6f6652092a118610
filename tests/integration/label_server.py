# SPDX-License-Identifier: Apache-2.0
"""A MONAI Label server in a virtual environment of its own, driven over HTTP."""

from __future__ import annotations

import importlib.metadata
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import requests

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = (
    *("nibabel", "pytorch-ignite", "scikit-image", "tqdm", "psutil", "fire", "itk-io", "SimpleITK", "uvicorn"),
    *("fastapi", "pydantic-settings", "python-multipart", "schedule", "timeloop", "dicomweb-client", "google-auth"),
    *("pydicom<3", "girder-client", "expiring_dict", "cachetools", "watchdog", "pynrrd", "filelock", "passlib"),
    *("pyjwt", "shapely", "requests-toolbelt", "jsonschema<4"),
)
WITHOUT_DEPENDENCIES = ("monailabel==0.8.5", "pydicom-seg==0.4.1", "torchvision==0.15.2")


def make_environment(folder: Path) -> Path:
    """Make the server's virtual environment, with this package and the torch and MONAI that run here.

    Returns:
        its Python.
    """
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    same = [f"{name}=={importlib.metadata.version(name).split('+')[0]}" for name in ("torch", "monai")]
    for packages in (same[:1], [*same[1:], *REQUIREMENTS], ["--no-deps", *WITHOUT_DEPENDENCIES], ["-e", str(ROOT)]):
        subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True, capture_output=True, text=True)
    return python


class LabelServer:
    """A server on loopback with the ``monaibundle`` app and one bundle; a context manager.

    Args:
        python: Python of an environment with MONAI Label.
        folder: where the app, the sessions and the log go.
        studies: folder of the volumes, with labels under ``labels/final``.
        name: name of the model, whose bundle lies in ``<folder>/monaibundle/model/<name>``.
    """

    def __init__(self, python: Path, folder: Path, studies: Path, name: str) -> None:
        self.name = name
        self.log = folder / "server.log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        options = ("--conf", "models", name, "--conf", "zoo_source", "local", "--conf", "sam2", "false")
        self._command = (
            *(str(python), "-m", "monailabel.main", "start_server", "--app", str(folder / "monaibundle")),
            *("--studies", str(studies), *options, "--host", "127.0.0.1", "--port", str(port)),
        )
        self._environment = {
            **{k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
            "MONAI_LABEL_SESSION_PATH": str(folder / "sessions"),
            "CUDA_VISIBLE_DEVICES": "",
        }

    def __enter__(self) -> LabelServer:
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, env=self._environment, cwd=self.log.parent
            )
        for _ in range(600):
            if self._process.poll() is not None:
                raise RuntimeError(f"the server ended:\n{self.log.read_text()[-4000:]}")
            try:
                requests.get(f"{self.url}/info/", timeout=60).raise_for_status()
            except requests.ConnectionError:
                time.sleep(1)
            else:
                return self
        self.__exit__()
        raise RuntimeError(f"the server does not answer:\n{self.log.read_text()[-4000:]}")

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ask(self, method: str, path: str, **arguments) -> requests.Response:
        try:
            answer = requests.request(method, self.url + path, timeout=600, **arguments)
        except requests.ConnectionError as error:
            raise AssertionError(f"{path}: {error}\n{self.log.read_text()[-4000:]}") from error
        assert answer.status_code == 200, f"{path}: {answer.status_code}\n{self.log.read_text()[-4000:]}"
        return answer

    def info(self) -> dict:
        """What the server says of its models."""
        return self._ask("GET", "/info/").json()

    def infer(self, image: str, path: Path) -> Path:
        """Segment a study; the prediction is written to ``path``."""
        params = '{"device": "cpu", "result_extension": ".nii.gz", "result_dtype": "uint8"}'
        answer = self._ask("POST", f"/infer/{self.name}?image={image}&output=image", data={"params": params})
        path.write_bytes(answer.content)
        return path

    def train(self, **request) -> str:
        """Train until the server says that it has ended; returns how."""
        self._ask("POST", f"/train/{self.name}", json=request)
        while True:
            status = self._ask("GET", "/train/").json()["status"]
            if status in ("DONE", "ERROR"):
                return status
            time.sleep(1)

    def infer_unlabelled(self) -> None:
        """Segment every study without a label."""
        request = {"device": "cpu", "multi_gpu": False, "max_workers": 1, "label_tag": "original", "save_label": True}
        self._ask("POST", f"/batch/infer/{self.name}?images=unlabeled&run_sync=true", json=request)

    def label(self, image: str, path: Path) -> Path:
        """Fetch the label that batch inference has saved."""
        path.write_bytes(self._ask("GET", f"/datastore/label?label={image}&tag=original").content)
        return path
