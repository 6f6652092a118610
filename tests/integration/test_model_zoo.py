# SPDX-License-Identifier: Apache-2.0
"""The checks that MONAI's model zoo makes of a bundle, and its habits, on derived bundles."""

import json
import re
import shutil
import zipfile
from functools import partial

import pytest
import torch
from monai.bundle import ckpt_export, load, push_to_hf_hub, verify_metadata, verify_net_in_out
from monai.data import load_net_with_metadata

from .conftest import ROOT
from .hub_server import hub_server

SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
TEXTS = (
    *("version", "monai_version", "pytorch_version", "numpy_version", "name", "task", "description", "authors"),
    *("copyright", "data_source", "data_type", "image_classes", "label_classes", "pred_classes", "intended_use"),
)
CHANNELS = {"type", "format", "num_channels", "spatial_shape", "dtype", "value_range", "is_patch_data", "channel_def"}
MEGABYTE = 2**20


def of_type(kind, *keys):
    return {key: {"type": kind} for key in keys}


def metadata_schema():
    """What the schema of ``metadata.json`` asks, in our own words, as the network may not be there to download it."""
    tensor = {
        "type": "object",
        "properties": {
            **of_type("string", "type", "format", "dtype"),
            **of_type("integer", "num_channels"),
            **of_type("boolean", "is_patch_data"),
            **of_type("object", "channel_def"),
            "spatial_shape": {"type": "array", "items": {"type": ["string", "integer"]}},
            "value_range": {"type": "array", "items": {"type": "number"}},
        },
        "required": ["type", "format", "num_channels", "spatial_shape", "dtype", "value_range"],
    }
    values = {"type": "object", "additionalProperties": {"anyOf": [tensor, {"type": ["number", "string", "boolean"]}]}}
    network = {
        "type": "object",
        "properties": dict.fromkeys(("inputs", "outputs", "post_processed_outputs"), values),
        "required": ["inputs", "outputs"],
    }
    texts = ("schema", *(key for key in TEXTS if key != "name"))
    objects = ("changelog", "required_packages_version", "eval_metrics", "supported_apps")
    must = ("schema", "version", "monai_version", "pytorch_version", "numpy_version", "required_packages_version")
    return {
        "$schema": "https://json-schema.org/draft/2019-09/schema",
        "type": "object",
        "properties": {
            **of_type("string", *texts),
            **of_type("object", *objects),
            "references": {"type": "array", "items": {"type": "string"}},
        },
        "patternProperties": {"^[_a-zA-Z0-9]+_data_format$": network},
        "required": [*must, "task", "description", "authors", "copyright", "network_data_format"],
    }


@pytest.fixture(scope="module", params=["released", "finished"])
def bundle(request, tmp_path_factory):
    """A copy of the bundle that the repository carries, and of one that a search has just left."""
    if request.param == "released":
        source = ROOT / "bundles" / "hippocampus_mri_ronas_segmentation"
    else:
        source = request.getfixturevalue("finished") / "ronas_segmentation"
    copy = tmp_path_factory.mktemp("zoo") / source.name
    shutil.copytree(source, copy)
    return copy


@pytest.fixture(scope="module")
def metadata(bundle):
    return json.loads((bundle / "configs" / "metadata.json").read_text())


def config(bundle, name="inference"):
    return str(bundle / "configs" / f"{name}.json")


def test_the_files_of_a_bundle_are_there_and_none_is_large(bundle):
    names = {str(path.relative_to(bundle)) for path in bundle.rglob("*") if path.is_file()}
    assert names >= {
        *("LICENSE", "docs/README.md", "docs/data_license.txt", "models/model.pt", "models/model.ts"),
        *(f"configs/{name}" for name in ("metadata.json", "inference.json", "train.json", "evaluate.json")),
        *("configs/logging.conf", "configs/multi_gpu_train.json"),
    }
    assert max((bundle / name).stat().st_size for name in names) < 100 * MEGABYTE


def test_the_metadata_has_what_the_schema_requires(bundle, metadata):
    assert metadata["schema"] == SCHEMA
    for key in TEXTS:
        assert isinstance(metadata[key], str), key
        assert metadata[key].strip(), key
    for key in ("version", "monai_version", "pytorch_version", "numpy_version"):
        assert re.fullmatch(r"\d+\.\d+\.\d+", metadata[key]), key
    assert set(metadata["required_packages_version"]) >= {"monai-ronas", "nibabel", "pytorch-ignite"}
    assert all(re.fullmatch(r"\d+\.\d+(\.\d+)?", text) for text in metadata["required_packages_version"].values())
    assert metadata["version"] in metadata["changelog"]
    assert all(isinstance(text, str) and text for text in metadata["references"])
    assert 0 < metadata["eval_metrics"]["mean_dice"] < 1
    assert metadata["name"] != bundle.name
    (image,) = metadata["network_data_format"]["inputs"].values()
    (pred,) = metadata["network_data_format"]["outputs"].values()
    for channels in (image, pred):
        assert set(channels) >= CHANNELS
        assert len(channels["channel_def"]) == channels["num_channels"]
        assert len(channels["spatial_shape"]) == 3


def test_monais_check_against_the_schema_passes(bundle, metadata, tmp_path):
    """MONAI takes a schema that is there in place of a download; a fault shows that it is used."""
    pytest.importorskip("jsonschema", reason="needs jsonschema: pip install monai-ronas[test]")
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps(metadata_schema()))
    verify_metadata(meta_file=config(bundle, "metadata"), filepath=str(schema))
    for key, wrong in (("version", 1), ("references", "a paper"), ("network_data_format", {"inputs": {}})):
        broken = tmp_path / f"{key}.json"
        broken.write_text(json.dumps({**metadata, key: wrong}))
        with pytest.raises(ValueError, match="Failed validating"):
            verify_metadata(meta_file=str(broken), filepath=str(schema))


def test_the_network_takes_and_gives_what_the_metadata_say(bundle):
    verify_net_in_out(
        net_id="network_def",
        meta_file=config(bundle, "metadata"),
        config_file=config(bundle),
        bundle_root=str(bundle),
        device="cpu",
    )


def test_the_checkpoint_is_exported_and_the_torchscript_loads(bundle, metadata, tmp_path):
    exported = tmp_path / "verify_model.ts"
    ckpt_export(
        net_id="network_def",
        filepath=str(exported),
        ckpt_file=str(bundle / "models" / "model.pt"),
        meta_file=config(bundle, "metadata"),
        config_file=config(bundle),
        bundle_root=str(bundle),
    )
    shape = [1, 1, *metadata["network_data_format"]["inputs"]["image"]["spatial_shape"]]
    image = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    given = torch.jit.load(bundle / "models" / "model.ts").eval()
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.load(exported).eval()(image), given(image), rtol=1e-4, atol=1e-4)


def test_the_torchscript_carries_metadata_and_configuration(bundle, metadata):
    files = ("inference.json",)
    _, told, others = load_net_with_metadata(str(bundle / "models" / "model.ts"), more_extra_files=files)
    assert told == metadata
    assert json.loads(others["inference.json"]) == json.loads((bundle / "configs" / "inference.json").read_text())
    network, same, _ = load(bundle.name, bundle_dir=str(bundle.parent), load_ts_module=True, source="github")
    assert isinstance(network, torch.jit.ScriptModule)
    assert same == metadata
    with zipfile.ZipFile(bundle / "models" / "model.ts") as archive:  # MONAI Deploy reads below the file's name
        assert json.loads(archive.read("model/extra/inference.json")) == json.loads(others["inference.json"])
        assert json.loads(archive.read("model/extra/metadata.json")) == metadata


def test_the_readme_has_the_sections_of_the_zoo(bundle, metadata):
    text = (bundle / "docs" / "README.md").read_text()
    title, *sections = re.findall(r"^#+ .*$", text, flags=re.MULTILINE)
    assert title == f"# {metadata['name']}"
    wanted = ["## Data", "### Preprocessing", "## Model configuration", "## Performance", "### Dice"]
    wanted += ["## MONAI Bundle Commands", "## References", "## License"]
    assert [section for section in sections if section in wanted] == wanted
    assert metadata["intended_use"] in text
    assert all(f"[{number}] {reference}" in text for number, reference in enumerate(metadata["references"], 1))
    assert f"{metadata['eval_metrics']['mean_dice']:.4f}" in text
    assert [name for name in re.findall(r"(?<![\w/])configs/\w+\.json", text) if not (bundle / name).exists()] == []


def test_it_is_pushed_to_the_hub_with_a_valid_card(bundle, tmp_path, monkeypatch):
    """By the hub's own client, which has the card checked before it sends the files, to a stand-in of the hub."""
    hub = pytest.importorskip("huggingface_hub", reason="needs huggingface_hub: pip install monai-ronas[test]")
    work = tmp_path / "work"
    shutil.copytree(bundle, work / bundle.name)
    expected = {str(path.relative_to(bundle)): path.read_bytes() for path in bundle.rglob("*") if path.is_file()}
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with hub_server() as server:
        monkeypatch.setattr(hub, "HfApi", partial(hub.HfApi, server.endpoint))
        push_to_hf_hub("someone/ronas", bundle.name, str(work), token="hf_none", version="0.1.0")
        (work / bundle.name / "docs" / "README.md").write_text("---\nlicense: mine\n---\n")
        with pytest.raises(ValueError, match="'license' must be one of the hub's, not mine"):
            hub.HfApi().upload_folder(repo_id="a/b", folder_path=work / bundle.name / "docs", token="hf_none")
    (repo,) = server.repos
    assert (repo["organization"], repo["name"]) == ("someone", "ronas")
    assert repo.get("private", repo.get("visibility") == "private")  # in the words of older and newer clients
    assert server.tokens == {"hf_none"}
    assert server.tags == ["0.1.0"]
    card = hub.ModelCard(server.files.pop("README.md").decode())
    assert server.cards[0] == card.data.to_dict()
    assert card.data.license == "apache-2.0"
    assert card.data.library_name == "monai"
    assert {"monai", "medical"} <= set(card.data.tags)
    assert card.text.strip() == expected["docs/README.md"].decode().strip()
    assert server.files == expected
