# SPDX-License-Identifier: Apache-2.0
"""A DICOMweb store: Orthanc with its DICOMweb plugin."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import time
from pathlib import Path

import requests

from .label_server import free_port

ORTHANC = shutil.which("Orthanc")
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")  # where Debian and the Docker images have it
MISSING = None if ORTHANC and PLUGIN.exists() else "needs Orthanc and its DICOMweb plugin: install orthanc-dicomweb"
START_SECONDS = 60


class DicomStore:
    """An empty store, which answers this machine only; a context manager.

    Args:
        folder: where its files and its log go; made.

    Attributes:
        url: of its DICOMweb services.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._port = free_port()
        self._root = f"http://127.0.0.1:{self._port}"
        self.url = f"{self._root}/dicom-web"
        self._log = folder / "log"
        self._settings = folder / "orthanc.json"
        settings = {
            "StorageDirectory": str(folder / "files"),
            "IndexDirectory": str(folder / "files"),
            "Plugins": [str(PLUGIN)],
            "HttpPort": self._port,
            "RemoteAccessAllowed": False,
            "DicomServerEnabled": False,
        }
        self._settings.write_text(json.dumps(settings))

    def __enter__(self) -> DicomStore:
        with self._log.open("w") as log:
            self._process = subprocess.Popen([str(ORTHANC), str(self._settings)], stdout=log, stderr=log)
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            with contextlib.suppress(requests.ConnectionError):
                if requests.get(f"{self.url}/studies", timeout=10).ok:
                    return self
            time.sleep(0.1)
        self.__exit__()
        raise RuntimeError(f"Orthanc has ended or does not answer:\n{self._log.read_text()}")

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def add(self, series: Path) -> None:
        """Add the files of a series."""
        for path in sorted(series.iterdir()):
            requests.post(f"{self._root}/instances", data=path.read_bytes(), timeout=60).raise_for_status()

    def segmentations(self, folder: Path) -> list[Path]:
        """Write the DICOM SEG of the store into a folder."""
        query = {"Level": "Instance", "Query": {"Modality": "SEG"}}
        found = requests.post(f"{self._root}/tools/find", json=query, timeout=60)
        found.raise_for_status()
        paths = []
        for name in found.json():
            answer = requests.get(f"{self._root}/instances/{name}/file", timeout=60)
            answer.raise_for_status()
            paths.append(folder / f"{name}.dcm")
            paths[-1].write_bytes(answer.content)
        return paths
