# SPDX-License-Identifier: Apache-2.0
"""The derived bundle through MONAI's ``ckpt_export`` and ``onnx_export``, compared with eager on a whole volume."""

import json
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
import torch

from monai_ronas.data import Fingerprint, build_preprocessing
from monai_ronas.networks.nets import RonasUNet

from .conftest import run_bundle

DYNAMIC = {0: "batch", 2: "height", 3: "width", 4: "depth"}


@pytest.fixture(scope="module", params=[("finished", "small_phantom"), ("searched", "real_data")], ids=lambda p: p[0])
def source(request):
    """Folder of a search that has ended, and its data: of the phantom, and real volumes."""
    return tuple(request.getfixturevalue(name) for name in request.param)


@pytest.fixture(scope="module")
def bundle(source):
    return source[0] / "ronas_segmentation"


@pytest.fixture(scope="module")
def eager(bundle):
    config = json.loads((bundle / "configs" / "inference.json").read_text())["network_def"]
    del config["_target_"]
    network = RonasUNet(**config).eval()
    network.load_state_dict(torch.load(bundle / "models" / "model.pt", weights_only=True))
    return network


@pytest.fixture(scope="module")
def volume(source):
    """A preprocessed test case, cropped to a multiple of every stride that the space has."""
    searched, data = source
    report = json.loads((searched / "dataset_report.json").read_text())
    fingerprint = Fingerprint.from_dict(report["fingerprint"])
    path = data / "imagesTr" / f"{report['split']['test'][0]}.nii.gz"
    image = build_preprocessing(fingerprint, keys=["image"])({"image": str(path)})["image"]
    return image[(None, slice(None), *(slice(size // 8 * 8) for size in image.shape[1:]))]


def export(bundle, command, path, *args):
    done = run_bundle(
        *(command, "--net_id", "network_def", "--filepath", str(path)),
        *("--ckpt_file", str(bundle / "models" / "model.pt")),
        *("--meta_file", str(bundle / "configs" / "metadata.json")),
        *("--config_file", str(bundle / "configs" / "inference.json"), *args),
    )
    assert done.returncode == 0, done.stderr
    assert path.exists()


def test_torchscript_gives_eagers_output_on_a_volume(bundle, eager, volume, tmp_path):
    export(bundle, "ckpt_export", tmp_path / "exported.ts")
    with torch.no_grad():
        expected = eager(volume)
        for path in (tmp_path / "exported.ts", bundle / "models" / "model.ts"):
            torch.testing.assert_close(torch.jit.load(path).eval()(volume), expected, rtol=1e-4, atol=1e-4)


def test_torchscript_runs_without_the_package(bundle, eager, volume, tmp_path):
    torch.save(volume, tmp_path / "volume.pt")
    script = (
        "import sys; sys.modules['monai_ronas'] = sys.modules['monai'] = None; import torch; "
        f"network = torch.jit.load({str(bundle / 'models' / 'model.ts')!r}).eval(); "
        f"torch.save(network(torch.load({str(tmp_path / 'volume.pt')!r})), {str(tmp_path / 'logits.pt')!r})"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with torch.no_grad():
        torch.testing.assert_close(torch.load(tmp_path / "logits.pt"), eager(volume), rtol=1e-4, atol=1e-4)


def test_onnx_gives_eagers_output_on_a_volume_of_any_size(bundle, eager, volume, tmp_path):
    axes = {"image": DYNAMIC, "pred": DYNAMIC}
    names = {"input_names": ["image"], "output_names": ["pred"], "dynamic_axes": axes}
    export(bundle, "onnx_export", tmp_path / "model.onnx", "--converter_kwargs", str(names))
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    for image in (volume, volume[..., :-8]):
        (logits,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
        with torch.no_grad():
            expected = eager(image)
        torch.testing.assert_close(torch.from_numpy(logits), expected, rtol=1e-3, atol=1e-3)
        assert np.array_equal(logits.argmax(1), expected.argmax(1).numpy())
